"""Throughput rows follow from their stage times and counts; speed itself is not tested."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.harness.media import write_mp4
from bench.throughput import subjects
from bench.throughput import throughput_command as throughput
from bench.throughput.paper import published_rows
from bench.throughput.subject import PLAIN_CPU_FRAMES, Subject
from bench.throughput.subjects import Memory
from bench.throughput.throughput_command import (
    COLUMNS,
    add_arguments,
    blocks_row,
    demo_clip,
    load,
    measure,
    singles_row,
)
from bench.throughput.timing import Latencies, Stages, Timed, batch_fps, rounds
from models.fomm.config import FommConfig
from models.fomm.plain import PlainFomm, untrained_fomm
from models.lite.backbone import LiteBackbone
from models.lite.network import LiteNetwork
from shared.errors import RequestError
from tests.tiny_lite import save_lite, untrained

pytestmark = pytest.mark.slow

torch.set_num_threads(1)
SMALL = FommConfig(
    detector_blocks=2, detector_max_features=32, motion_blocks=2, motion_max_features=32,
    generator_expansion=8, generator_max_features=16, generator_bottleneck_blocks=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def lite() -> Subject:
    torch.manual_seed(0)
    network = LiteNetwork().eval()
    return shortened(subjects.lite_subject(LiteBackbone.of(network), network, frames=12), latency_frames=3)


def shortened(subject: Subject, **changes: int) -> Subject:
    return replace(subject, **changes)


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(arguments)


def test_the_counts_are_within_the_budget(lite: Subject) -> None:
    assert 0.1e9 < lite.macs_detect <= 0.23e9
    assert 0.5e9 < lite.macs_render <= 1.0e9
    assert lite.parameters <= 5_000_000


def test_a_row_adds_up(lite: Subject) -> None:
    ahead, clip = subjects.forecasting("vrnn", "cpu", seed=0), demo_clip(12)
    loaded, plain = (load(lite, ahead, clip, Memory("cpu")) for _ in range(2))
    plain.timed.runs.append(Stages(2.0, 1.0, 7.0))
    measure([loaded], None, ahead, clip, 2)
    assert len(loaded.timed.runs) == 2
    row = blocks_row(loaded, plain, ahead, "cpu")
    stages = sum(float(row[f"{stage}_ms"] or 0) for stage in ("detect", "forecast", "render"))
    seconds, tops = float(row["seconds_per_30"] or 0), float(row["tops"] or 0)
    assert stages == pytest.approx(1000 * seconds)
    assert row["fps"] == pytest.approx(30 / seconds)
    assert row["ratio_to_plain"] == pytest.approx(10 / seconds)
    assert row["max_pixel_error"] is None
    assert row["peak_memory_mb"] is None
    per_frame = lite.macs_detect / 2 + ahead.macs / 2 + lite.macs_render
    assert tops == pytest.approx(per_frame * 30 / 0.6e12)


def test_single_frames_are_timed_one_by_one(lite: Subject) -> None:
    row = singles_row(lite, demo_clip(2), batch=None)
    assert row["latency_frames"] == 3
    for stage in ("detect", "render"):
        low, high = (float(row[f"{stage}_latency_p{p}_ms"] or 0) for p in (50, 95))
        assert 0 < low <= high
    assert "batch_fps" not in row
    assert float(singles_row(lite, demo_clip(2), batch=3)["batch_fps"] or 0) > 0
    assert batch_fps(lite, demo_clip(2), 3, repeats=1) > 0
    # Half of the frames are detected, all are rendered; one slow frame does not count.
    assert Latencies((4.0, 4.0, 100.0), (8.0, 8.0, 100.0)).fps() == pytest.approx(1000 / (4 / 2 + 8))


def test_medians_are_taken_stage_by_stage(lite: Subject) -> None:
    timed = Timed(lite, [Stages(1, 5, 9), Stages(2, 4, 8), Stages(60, 60, 60)])
    assert timed.stages() == Stages(2, 5, 9)


def test_all_run_in_turn_and_the_plain_pass_before_and_after_each(lite: Subject) -> None:
    ahead, clip = subjects.forecasting("hold", "cpu", 0), demo_clip(12)
    plain, first, second = (Timed(shortened(lite, frames=2)) for _ in range(3))
    order = []
    for step in rounds(plain, [first, second], ahead, clip, 2):
        counts = [len(timed.runs) for timed in (plain, first, second)]
        step()
        grown = [len(timed.runs) for timed in (plain, first, second)]
        order.append(next("pab"[i] for i in range(3) if grown[i] > counts[i]))
    assert "".join(order) == "papbpapbp"
    assert len(rounds(None, [first], ahead, clip, 3)) == 3
    assert len(rounds(plain, [], ahead, clip, 3)) == 3


def test_half_of_the_frames_are_detected_and_all_are_rendered() -> None:
    class Counting(LiteBackbone):
        detected = rendered = 0

        def detect(self, frames):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            self.detected += len(frames)
            return super().detect(frames)

        def render(self, source, keypoints):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            self.rendered += len(keypoints)
            return super().render(source, keypoints)

    facade = Counting.of(untrained())
    counted = Subject("lite", "torch", "float32", facade, 0, 0, 0, True, frames=24, latency_frames=1)
    ahead, clip = subjects.forecasting("hold", "cpu", 0), demo_clip(24)
    loaded = load(counted, ahead, clip, Memory("cpu"))
    before = facade.detected, facade.rendered
    measure([loaded], None, ahead, clip, 1)
    assert (facade.detected - before[0], facade.rendered - before[1]) == (12, 24)


def test_the_full_network_is_measured_as_published_and_as_it_serves() -> None:
    plain, fast = subjects.fomm_subjects(untrained_fomm(0, SMALL), "cpu", frames=36)
    assert (plain.engine, plain.frames, plain.precision) == ("plain", PLAIN_CPU_FRAMES, "float32")
    assert (fast.engine, fast.frames) == ("torch", 36)
    assert fast.parameters == plain.parameters
    # Encoding the source once, and adding up weights beforehand, is what a served frame saves.
    assert fast.macs_render < 0.7 * plain.macs_render
    assert fast.macs_detect < plain.macs_detect
    ahead, clip = subjects.forecasting("hold", "cpu", 0), demo_clip(2)
    both = [load(shortened(subject, frames=2), ahead, clip, Memory("cpu")) for subject in (plain, fast)]
    measure(both, both[0], ahead, clip, 1)
    assert [len(each.timed.runs) for each in both] == [2, 1]
    row = blocks_row(both[1], both[0], ahead, "cpu")
    assert 0 <= float(row["max_pixel_error"] or 0) <= 0.02
    assert row["ratio_to_plain"]
    wrong = replace(both[1], drawn=255 - both[1].drawn)
    assert float(blocks_row(wrong, both[0], ahead, "cpu")["max_pixel_error"] or 0) > 0.02


class FakeMemory:
    """Stands in for torch.cuda's counters; `hold` and `free` are what a network does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.peak = 0
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: self.now)
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: self.peak)
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: setattr(self, "peak", self.now))

    def hold(self, count: int) -> None:
        self.now += count
        self.peak = max(self.peak, self.now)

    def free(self, count: int) -> None:
        self.now -= count


def test_a_copy_that_was_only_counted_is_no_part_of_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeMemory(monkeypatch)
    gpu.hold(7_000_000)  # another subject's, which stays
    memory = Memory("cuda")
    gpu.hold(100_000_000)  # its weights
    gpu.hold(100_000_000)  # a copy, for counting operations
    gpu.free(100_000_000)
    memory.begin()
    gpu.hold(20_000_000)  # what a pass takes
    gpu.free(20_000_000)
    assert memory.peak_mb() == pytest.approx(120)
    assert Memory("cpu").peak_mb() is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_counts_its_memory() -> None:
    memory = Memory("cuda")
    block = torch.zeros(4_000_000, device="cuda")
    del block
    assert (memory.peak_mb() or 0) >= 16


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


def film(folder: Path) -> Path:
    """A clip of a block of 6 + 6 frames, in a folder of its own."""
    folder.mkdir()
    write_mp4(folder / "clip.mp4", demo_clip(12))
    return folder


def test_the_command_writes_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert subjects.LATENCY_FRAMES >= 30
    monkeypatch.setattr(subjects, "LATENCY_FRAMES", 8)
    save_lite(tmp_path / "lite", untrained())
    path = tmp_path / "out.json"
    given = (
        "--backbone",
        "lite",
        "--checkpoint",
        str(tmp_path / "lite"),
        "--runs",
        "1",
        "--device",
        "cpu",
        "--batch",
        "4",
        "--size",
        "384",
        "--clips",
        str(film(tmp_path / "clips")),
    )
    assert throughput.run(options(*given, "--forecaster", "hold", "--json", str(path))) == 0
    stored = json.loads(path.read_text())
    measured = [row for row in stored["rows"] if row["source"] == "measured"]
    assert len(stored["rows"]) == len(measured) + 3
    # The engine of a call, and torch beside it where that is another.
    assert {row["engine"] for row in measured} >= {"torch"}
    assert len(measured) == len({row["engine"] for row in measured})
    assert set(COLUMNS) - {"tops_detect_to_paper", "tops_render_to_paper"} <= set(measured[0])
    assert all(0 < row["mae"] < 1 and row["jedi"] is None and row["windows"] == 1 for row in measured)
    assert all(row["numbers"] == 60 and row["payload_kbps"] == 28.8 for row in measured)
    assert all(row["latency_frames"] == 8 and row["batch_fps"] > 0 for row in measured)
    # How much slower larger pictures are is for `bench throughput` itself to say.
    assert all(row["size"] == 384 and row["larger_ratio"] > 0 for row in measured)
    assert stored["meta"]["command"] == "throughput"
    assert stored["meta"]["frames"] == 36
    assert "| lite " in capsys.readouterr().out


@pytest.mark.parametrize(("given", "words"), [
    (("--runs", "0"), "--runs, --threads"),
    (("--threads", "0"), "--runs, --threads"),
    (("--batch", "0"), "--batch"),
    (("--checkpoint", "x"), "add --backbone"),
    (("--jepa", "x"), "add --clips"),
    (("--clips", "x", "--windows", "-1"), "--windows 0"),
    (("--weights", "/nowhere/at/all"), "There is no folder"),
    (("--json", "/nowhere/at/all.json"), "no folder"),
])  # fmt: skip
def test_wrong_requests_are_refused_before_any_work(given: tuple[str, ...], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        throughput.run(options(*given))
