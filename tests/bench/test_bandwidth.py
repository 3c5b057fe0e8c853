"""`bench bandwidth`: real calls counted, policies simulated, figures beside what was published."""

import json
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.__main__ import main
from bench.bandwidth import policies
from bench.bandwidth.bandwidth_chart import chart
from bench.bandwidth.bandwidth_command import _galleries, add_arguments, shortfalls
from bench.harness.clip_set import Clip
from bench.harness.landmark_measures import open_landmarks
from bench.harness.media import write_mp4
from bench.harness.published import rows as published_rows
from bench.harness.report import Row
from bench.quality import gallery_command
from models.build import load_tables
from sender.demo import DemoSource
from sender.presets import Sending
from shared.codec.tables import CodecTables
from shared.interfaces import Backbone

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("lite_loaded_once")]

pytest.importorskip("skimage", reason="SSIM needs the measuring extra")
pytest.importorskip("matplotlib", reason="plots need the measuring extra")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of the portrait that the project draws."""
    source = DemoSource()
    pictures = [source.frame(number) for number in range(60)]
    folder = tmp_path_factory.mktemp("clips")
    write_mp4(folder / "demo.mp4", [np.asarray(picture) for picture in pictures])
    return folder / "demo.mp4"


@pytest.fixture(scope="module")
def tables(shipped_lite: Backbone) -> CodecTables:
    loaded = load_tables(shipped_lite, None)
    assert loaded is not None
    return loaded


def test_calls_are_counted_and_stand_beside_what_was_published(clip: Path, tmp_path: Path) -> None:
    line = ["bandwidth", "--source", str(clip), "--presets", "saver,paper", "--policies", "alternate"]
    assert main([*line, "--gallery", "1", "--forecaster", "hold", "--report", str(tmp_path), "--debug"]) == 0
    written = json.loads((tmp_path / "bandwidth.json").read_text())
    measured = {row["preset"]: row for row in written["rows"] if row["source"] == "measured"}
    saver, paper = measured["saver"], measured["paper"]
    # A machine under load may ship fewer frames, never more.
    assert 0.2 * 28.8 < paper["payload_kbps"] <= 28.8 + 1e-6
    assert 0 < saver["payload_kbps"] < 2.5
    assert 1 < saver["messages_per_second"] < 8
    for row in (saver, paper):
        assert (
            row["payload_kbps"] < row["wire_up_steady_kbps"] < row["wire_up_60s_kbps"] < row["wire_up_kbps"]
        )
        assert row["wire_both_60s_kbps"] == pytest.approx(row["wire_up_60s_kbps"] + row["wire_down_60s_kbps"])
        assert row["pictures_sent"] == 1
    # The same source picture, the same set-up: what differs is how keypoints are sent.
    assert saver["wire_up_steady_kbps"] < 0.3 * paper["wire_up_steady_kbps"]
    published = [row for row in written["rows"] if row["source"] == "published"]
    assert [row["savings_payload"] for row in published if row["payload_kbps"] == 28.8] == [
        pytest.approx(17.36, abs=0.01)
    ]
    text = (tmp_path / "bandwidth.md").read_text()
    assert "Thin-Plate Spline Motion Model" in text
    assert "of raw float32 keypoints'" in text
    with Image.open(tmp_path / "bandwidth.png") as picture:
        assert picture.format == "PNG"


def test_a_call_that_a_slow_machine_thins_out_is_told_of(shipped_lite: Backbone) -> None:
    whole: Row = {"preset": "paper", "policy": "alternate 6-6", "payload_kbps": 28.8}
    others: list[Row] = [{**whole, "preset": "saver", "payload_kbps": 2.0}, {**whole, "policy": "adaptive"}]
    assert shortfalls([whole, *others], shipped_lite) == []
    (said,) = shortfalls([{**whole, "payload_kbps": 7.2}], shipped_lite)
    assert said.startswith("lite paper 6-6: 25% of the frames due were sent, which are 28.8 kbps in full")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--presets", "tiny"], "There is no preset 'tiny'; choose from saver, balanced, paper."),
        (["--policies", "never"], "There is no policy 'never'; choose from alternate, adaptive."),
        (["--source", "none.mp4"], "There is no none.mp4"),
        (["--loop"], "say how long to call with --seconds"),
        (["--landmarks", "none"], "no face_landmark.tflite in none"),
    ],
)
def test_a_wrong_request_is_told_before_any_call(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bandwidth", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_source_pictures_are_compared_at_the_rate_of_a_call(
    clip: Path, shipped_lite: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("SECONDS", 2), ("FRAMES", 2), ("PEOPLE", 1), ("SIZES", (1, 2))):
        monkeypatch.setattr(gallery_command, name, value)
    parser = ArgumentParser()
    add_arguments(parser)
    rows = _galleries(parser.parse_args(["--clips", str(clip.parent)]), shipped_lite)
    assert [row["pictures"] for row in rows] == [1, 2]


def test_policies_are_compared_over_clips(
    clip: Path, shipped_lite: Backbone, tables: CodecTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies, "SCHEDULES", ("6-0", "6-6", "6-24"))
    monkeypatch.setattr(policies, "DRIFTS", (0.02, 0.1))
    done = policies.measure(shipped_lite, tables, [Clip(clip, "ann")], 1.0)
    rows = policies.summarise(done.results)
    by = {(row["preset"], row["policy"], row["setting"]): row for row in rows}
    assert len(by) == 1 + len(policies.SCHEDULES) + len(policies.DRIFTS)
    rates = [by["saver", "alternate", name]["wire_up_kbps"] for name in policies.SCHEDULES]
    assert rates == sorted(rates, reverse=True)
    drifts = max(policies.DRIFTS), min(policies.DRIFTS)
    loose, tight = (by["saver", "adaptive", f"{drift:g}"] for drift in drifts)
    assert loose["wire_up_kbps"] < 0.7 * tight["wire_up_kbps"]
    assert loose["mae"] > tight["mae"]
    assert any("of raw float32 at 6-6" in line for line in policies.lines(rows))
    assert policies.chart(rows)[:4] == b"\x89PNG"


def test_policies_are_told_apart_by_what_a_mouth_does(
    clip: Path,
    shipped_lite: Backbone,
    tables: CodecTables,
    mesh_networks: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(policies, "settings", lambda: [Sending("paper"), Sending("saver", "adaptive")])
    landmarks = open_landmarks([mesh_networks])
    done = policies.measure(shipped_lite, tables, [Clip(clip, "ann")] * 2, 0.6, landmarks)
    raw, adaptive = policies.summarise(done.results)
    for row in (raw, adaptive):
        # Of 18 frames, every seventh, of two clips.
        assert row["landmark_frames"] == 2 * 3
        assert 0 < row["landmark_error"] < 0.5
        assert -1 <= row["lips_correlation"] <= 1
    clips = [one.rows[0] for one in done.results]
    # The same clip twice has the slope of one.
    assert raw["lips_slope"] == pytest.approx(clips[0]["lips_covariance"] / clips[0]["lips_variance"])


def test_at_which_rate_adaptive_looks_as_good_is_interpolated() -> None:
    def row(policy: str, setting: str, mae: float, rate: float, preset: str = "saver") -> Row:
        return {"preset": preset, "policy": policy, "setting": setting, "mae": mae, "wire_up_kbps": rate}

    rows = [
        row(policies.RAW, "6-6", 0.05, 40.0, "paper"), row("alternate", "6-6", 0.055, 3.5),
        row("adaptive", "0.02", 0.05, 4.0), row("adaptive", "0.04", 0.06, 2.0),
    ]  # fmt: skip
    assert "at the MAE of alternate 6-6, adaptive takes 3.00 kbps up, alternate 3.50" in policies.lines(rows)


def test_the_chart_takes_rows_without_all_rates() -> None:
    assert chart(published_rows())[:4] == b"\x89PNG"
