"""The paper's printed rates and savings, from the counts of numbers."""

from __future__ import annotations

import pytest

from bench.harness.published import MODELS, payload_kbps, rows, saving
from shared.codec.keypoint_codec import PaperCodec


def test_the_rates_are_those_printed() -> None:
    for model in MODELS:
        assert payload_kbps(model.numbers) == pytest.approx(model.printed_kbps)
        # 10.42 is printed as 10.40.
        assert saving(payload_kbps(model.numbers, duty=0.5)) == pytest.approx(model.printed_saving, abs=0.02)
    assert [payload_kbps(model.numbers, duty=0.5) for model in MODELS] == pytest.approx([28.8, 48.0, 24.48])


def test_ours_at_full_precision_is_the_papers() -> None:
    assert payload_kbps(MODELS[0].numbers) == pytest.approx(
        PaperCodec(MODELS[0].numbers).frame_bytes * 8 * 30 / 1000
    )


def test_there_is_a_row_for_all_frames_and_for_half_of_them() -> None:
    found = rows()
    assert len(found) == 6
    assert {row["source"] for row in found} == {"published"}
    half = found[1]
    assert (half["policy"], half["payload_kbps"]) == ("alternate 6-6", pytest.approx(28.8))
    assert round(float(str(half["savings_payload"])), 2) == 17.36
