"""Throughput rows follow from their stage times and counts; speed itself is not tested."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import subjects, throughput
from bench.subjects import PLAIN_CPU_FRAMES, Subject
from bench.throughput import COLUMNS, Plain, add_arguments, demo_clip, measure, measure_row, published_rows
from models.checkpoint import save
from models.fomm.config import FommConfig
from models.fomm.plain import PlainFomm, untrained_fomm
from models.lite.backbone import LiteBackbone
from models.lite.network import LiteNetwork
from shared.errors import RequestError

torch.set_num_threads(1)
SMALL = FommConfig(
    detector_blocks=2, detector_max_features=32, motion_blocks=2, motion_max_features=32,
    generator_expansion=8, generator_max_features=16, generator_bottleneck_blocks=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def lite() -> Subject:
    torch.manual_seed(0)
    return subjects.lite_subject(LiteBackbone(LiteNetwork()), frames=12, runs=1)


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(arguments)


def test_the_counts_are_within_the_budget(lite: Subject) -> None:
    assert 0.1e9 < lite.macs_detect <= 0.2e9
    assert 1.0e9 < lite.macs_render <= 1.5e9
    assert lite.parameters <= 5_000_000


def test_a_row_adds_up(lite: Subject) -> None:
    ahead = subjects.forecasting("vrnn", "cpu", seed=0)
    row, plain = measure_row(
        lite, ahead, demo_clip(12), "cpu", Plain(10.0, np.zeros((1, 256, 256, 3), np.uint8))
    )
    stages = sum(float(row[f"{stage}_ms"] or 0) for stage in ("detect", "forecast", "render"))
    seconds, tops = float(row["seconds_per_30"] or 0), float(row["tops"] or 0)
    assert stages == pytest.approx(1000 * seconds)
    assert row["fps"] == pytest.approx(30 / seconds)
    assert row["ratio_to_plain"] == pytest.approx(10 / seconds)
    assert row["max_pixel_error"] is None
    per_frame = lite.macs_detect / 2 + ahead.macs / 2 + lite.macs_render
    assert tops == pytest.approx(per_frame * 30 / 0.6e12)
    assert plain is not None
    assert plain.seconds == 10.0
    assert set(COLUMNS) <= set(row)


def test_half_of_the_frames_are_detected_and_all_are_rendered(lite: Subject) -> None:
    class Counting(LiteBackbone):
        detected = rendered = 0

        def detect(self, frames):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            self.detected += len(frames)
            return super().detect(frames)

        def render(self, keypoints):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            self.rendered += len(keypoints)
            return super().render(keypoints)

    facade = Counting(LiteNetwork())
    facade.set_source(demo_clip(1)[0])
    facade.warmup()
    before = facade.detected, facade.rendered
    counted = Subject("lite", "torch", "float32", facade, 0, 0, 0, trained=True, frames=24, runs=1)
    measure(counted, subjects.forecasting("hold", "cpu", 0), demo_clip(24))
    warm = facade.detected - before[0] - 12, facade.rendered - before[1] - 24
    assert warm == (1 + 1, 1)
    assert lite.frames == 12


def test_the_full_network_is_measured_as_published_and_as_it_serves() -> None:
    plain, fast = subjects.fomm_subjects(untrained_fomm(0, SMALL), "cpu", frames=36, runs=5)
    assert (plain.engine, plain.frames, plain.runs) == ("plain", PLAIN_CPU_FRAMES, 1)
    assert (fast.engine, fast.frames, fast.runs) == ("torch", 36, 5)
    # Encoding the source once is what a served frame saves.
    assert fast.macs_render < plain.macs_render
    clip = demo_clip(2)
    _, reference = measure_row(plain, subjects.forecasting("hold", "cpu", 0), clip, "cpu", None)
    assert reference is not None
    quick = Subject(**{**vars(fast), "frames": 2, "runs": 1})
    row, _ = measure_row(quick, subjects.forecasting("hold", "cpu", 0), clip, "cpu", reference)
    assert float(row["max_pixel_error"] or 0) <= 1 / 255
    assert row["ratio_to_plain"]


def test_random_weights_are_the_same_for_the_same_seed() -> None:
    assert PlainFomm(untrained_fomm(3, SMALL)).fingerprint == PlainFomm(untrained_fomm(3, SMALL)).fingerprint
    assert PlainFomm(untrained_fomm(3, SMALL)).fingerprint != PlainFomm(untrained_fomm(4, SMALL)).fingerprint


@pytest.mark.parametrize("name", ["vrnn", "gru-nf"])
def test_forecasting_costs_are_counted(name: str) -> None:
    assert subjects.forecasting(name, "cpu", 0).macs > 10_000


def test_the_papers_rows_are_quoted() -> None:
    row = published_rows()[0]
    assert row["seconds_per_30"] == pytest.approx(0.8176)
    assert row["fps"] == 36.69
    assert row["tops"] == pytest.approx(2.7194)
    assert row["source"] == "published"


def test_the_command_writes_its_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = LiteNetwork()
    save(tmp_path / "lite", network.state_dict(), {"model": "lite", "network": network.config.to_map()})
    path = tmp_path / "out.json"
    given = ("--backbone", "lite", "--checkpoint", str(tmp_path / "lite"), "--runs", "1", "--device", "cpu")
    assert throughput.run(options(*given, "--forecaster", "hold", "--json", str(path))) == 0
    stored = json.loads(path.read_text())
    assert [row["source"] for row in stored["rows"]] == ["measured", "published", "published", "published"]
    assert stored["meta"]["command"] == "throughput"
    assert stored["meta"]["frames"] == 36
    assert "| lite " in capsys.readouterr().out


@pytest.mark.parametrize(("given", "words"), [
    (("--runs", "0"), "Runs and threads"),
    (("--threads", "0"), "Runs and threads"),
    (("--checkpoint", "x"), "add --backbone"),
    (("--forecaster", "crystal ball"), "no forecaster"),
    (("--json", "/nowhere/at/all.json"), "no folder"),
])  # fmt: skip
def test_wrong_requests_are_refused_before_any_work(given: tuple[str, ...], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        throughput.run(options(*given))
