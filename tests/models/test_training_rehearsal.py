"""Trying out a machine: checks that differ, fail and find no time; a rehearsal from first to last line."""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from models.fomm.config import FommConfig
from models.fomm.plain import untrained_fomm
from models.lite.backbone import LiteBackbone
from models.training.__main__ import main
from models.training.backbones import recipes
from models.training.backbones.backbone_run import Run
from models.training.rehearsal import machine_checks, verify_command
from models.training.rehearsal import rehearse_command as rehearse
from models.training.rehearsal.machine_checks import DiffersError, Figures, Machine
from models.training.rehearsal.verify_command import checked
from shared.keypoints import Pictures
from tests.tiny_lite import TINY, unsettled

pytestmark = pytest.mark.slow

SMALL = FommConfig(
    detector_blocks=2, detector_max_features=32, motion_blocks=2, motion_max_features=32,
    generator_expansion=8, generator_max_features=16, generator_bottleneck_blocks=1,
)  # fmt: skip


def fine(_: Machine) -> Figures:
    return {"error": 0.000125}


def broken(_: Machine) -> Figures:
    raise RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED\nmore")


def test_a_check_that_fails_keeps_no_other_from_being_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "v.json"
    seen: list[list[str]] = []

    def looking(_: Machine) -> Figures:
        seen.append(list(json.loads(file.read_text())))
        return {}

    assert checked(Machine("cpu"), (broken, looking, fine), 100, file) == 1
    # What is known stands in the file while the next one runs.
    assert seen == [["broken"]]
    found = json.loads(file.read_text())
    assert found["broken"] == {"ok": False, "why": "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"}
    assert (found["fine"]["ok"], found["fine"]["error"]) == (True, 0.000125)
    assert capsys.readouterr().out.splitlines() == [
        "broken: FAILED: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
        "looking: ok: ",
        "fine: ok: error 0.000125",
    ]
    assert checked(Machine("cpu"), (fine,), 100, None) == 0


def test_checks_for_which_there_is_no_time_are_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    moments = iter([0.0, 1.0, 1.0, 5.0, 11.0])
    monkeypatch.setattr(verify_command, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    assert checked(Machine("cpu"), (fine, broken), 10, tmp_path / "v.json") == 0
    found = json.loads((tmp_path / "v.json").read_text())
    assert [result["ok"] for result in found.values()] == [True, None]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks and pictures that take no time; on "cpu" the shipped one is as on the device."""
    random = np.random.default_rng(0)
    pictures: Pictures = random.integers(0, 256, (2, 256, 256, 3), np.uint8)
    monkeypatch.setattr(Machine, "pictures", pictures)
    monkeypatch.setattr(LiteBackbone, "load", lambda *_: LiteBackbone.of(unsettled(1)))
    monkeypatch.setattr(machine_checks, "untrained_fomm", lambda: untrained_fomm(0, SMALL))
    monkeypatch.setattr(machine_checks, "_CPU_SINGLES", 2)


@pytest.mark.usefixtures("small")
def test_networks_that_compute_alike_pass() -> None:
    machine = Machine("cpu")
    same = machine_checks.same_as_cpu(machine)
    assert (same["keypoint_error"], same["pixel_error_levels"]) == (0, 0)
    assert machine_checks.singles_are_batches(machine)["recorded"] is False
    assert machine_checks.full_network(machine)["pixel_error"] <= 0.1
    speed = machine_checks.lite_speed(machine)
    assert set(speed) == {"stream_fps", "detect_p50_ms", "detect_p95_ms", "render_p50_ms", "render_p95_ms"}
    assert machine_checks.facts(machine) == {"device": "cpu"}


@pytest.mark.usefixtures("small")
def test_a_network_that_computes_otherwise_does_not() -> None:
    machine = Machine("cpu")
    machine.lite = LiteBackbone.of(unsettled(2))  # type: ignore[misc]
    with pytest.raises(DiffersError, match=r"^its keypoints are not a CPU's \(keypoint_error 0\.\d+"):
        machine_checks.same_as_cpu(machine)
    engine: Any = machine.lite._engine
    draw = engine._draw
    engine._draw = lambda source, rows: draw(source, rows) * (0.5 if len(rows) > 1 else 1)
    with pytest.raises(DiffersError, match="single frames are not those of a batch"):
        machine_checks.singles_are_batches(machine)


def test_what_is_no_number_is_infinitely_off() -> None:
    assert machine_checks._apart(np.array([0.0, np.nan]), np.zeros(2)) == np.inf
    assert machine_checks._apart(np.array([1, 250], np.uint8), np.array([2, 252], np.uint8)) == 2


def test_the_shipped_forecasters_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    class Found:
        def detect(self, pictures: Pictures) -> np.ndarray:
            return np.random.default_rng(0).normal(0, 0.3, (len(pictures), 60)).astype(np.float32)

    monkeypatch.setattr(Machine, "pictures", np.zeros((6, 256, 256, 3), np.uint8))
    monkeypatch.setattr(Machine, "lite", Found())
    figures = machine_checks.forecasts(Machine("cpu"))
    assert {"vrnn_error", "gru-nf_error", "linear_error"} <= set(figures)


def test_training_steps_are_timed_in_sizes_of_batch_and_one_may_find_no_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    advance, taken = Run.advance, list[int]()

    def advanced(run: Run[Any], objective: Any, batch: Any, *more: Any) -> Any:
        taken.append(len(batch[0]))
        if len(batch[0]) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        losses = advance(run, objective, batch, *more)
        # With landmarks, as it is trained in earnest.
        assert {"rough_value", "flow", "loop"} <= set(losses)
        return losses

    monkeypatch.setattr(Run, "advance", advanced)
    monkeypatch.setattr(recipes, "LiteConfig", lambda: TINY)
    monkeypatch.setattr(machine_checks, "_CPU_BATCHES", (2, 4))
    monkeypatch.setattr(machine_checks, "_CPU_STEPS", 1)
    figures = machine_checks.training_steps(Machine("cpu"))
    assert taken == [1, 1, 1, 2]
    assert figures["batch_2_pictures_per_s"] > 0  # type: ignore[operator]
    assert figures["batch_4_pictures_per_s"] == "out of memory"
    assert not caplog.messages


# The command.


class Child:
    """Stands in for the process that verifies."""

    def __init__(self, code: int, ends: bool = True) -> None:
        self.code, self.ends, self.killed = code, ends, False
        self.waited: list[float | None] = []

    def wait(self, timeout: float | None = None) -> int:
        self.waited.append(timeout)
        if not self.ends and not self.killed:
            raise subprocess.TimeoutExpired("verify", timeout or 0)
        return self.code

    def poll(self) -> int | None:
        return self.code if self.ends or self.killed else None

    def kill(self) -> None:
        self.killed = True


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[argparse.Namespace]:
    """What would be trained, instead of training."""
    runs: list[argparse.Namespace] = []
    monkeypatch.setattr(rehearse.backbone_command, "train", lambda options: runs.append(options) or 0)
    return runs


def child(monkeypatch: pytest.MonkeyPatch, made: Child) -> list[list[str]]:
    lines: list[list[str]] = []
    monkeypatch.setattr(subprocess, "Popen", lambda line, **_: lines.append(line) or made)
    return lines


def command(output: Path, *more: str) -> list[str]:
    return ["rehearse", "--device", "cpu", "--output", str(output), "--cache", str(output / "cache"), *more]


def test_a_rehearsal_draws_verifies_and_trains_for_what_is_left(
    tmp_path: Path, trained: list[argparse.Namespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = child(monkeypatch, Child(0))
    monkeypatch.setattr(rehearse, "_FRAMES_OF_DRAWN", 3)
    monkeypatch.setattr(rehearse.drawn, "_FACES", 4)
    assert main(command(tmp_path / "r", "--minutes", "60", "--people", "2", "--batch", "8")) == 0
    assert lines[0][1:8] == ["-m", "models.training", "verify", "--device", "cpu", "--seconds", "1080"]
    (run,) = trained
    assert 0 < run.minutes < 60 * 0.94
    assert (run.clips, run.validate) == ([tmp_path / "r" / "drawn"], [tmp_path / "r" / "others"])
    assert run.landmarks == run.clips
    assert (run.batch, run.rate, run.model, run.pictures, run.device) == (8, None, "lite", None, "cpu")
    # Everything is drawn and decoded before the clock of the training begins.
    assert len(list((tmp_path / "r" / "drawn").glob("*.mp4"))) == 2
    assert len(list((tmp_path / "r" / "cache").glob("*.npy"))) == 2


@pytest.mark.parametrize("made", [Child(1), Child(0, ends=False)])
def test_checks_that_fail_or_do_not_end_cost_no_training(
    made: Child,
    tmp_path: Path,
    trained: list[argparse.Namespace],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(rehearse, "fill_cache", lambda *_: None)
    child(monkeypatch, made)
    (tmp_path / "clips").mkdir()
    assert main(command(tmp_path / "r", "--minutes", "2", "--clips", str(tmp_path / "clips"))) == 1
    assert len(trained) == 1
    assert "not all checks have passed" in capsys.readouterr().out
    assert made.killed is not made.ends
    assert made.waited[0] is not None
    assert made.waited[0] <= 60 * 2 * 0.6


def test_only_training_needs_no_checks(
    tmp_path: Path, trained: list[argparse.Namespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> Callable[[], None]:
        raise AssertionError

    monkeypatch.setattr(subprocess, "Popen", refused)
    monkeypatch.setattr(rehearse, "fill_cache", lambda *_: None)
    (tmp_path / "clips").mkdir()
    assert main(command(tmp_path / "r", "--skip-verify", "--clips", str(tmp_path / "clips"))) == 0
    assert trained[0].clips == [tmp_path / "clips"]


# On a GPU.


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_passes_every_check(tmp_path: Path) -> None:
    file = tmp_path / "v.json"
    assert checked(Machine("cuda"), machine_checks.CHECKS, 600, file) == 0, file.read_text()
    found = json.loads(file.read_text())
    assert all(result["ok"] for result in found.values())
    # Autocast, recordings and memory are all among it.
    assert found["singles_are_batches"]["recorded"]
    assert found["lite_speed"]["peak_memory_mb"] > 0
    assert found["training_steps"]["batch_12_pictures_per_s"] > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_bench_throughput_measures_a_gpu(tmp_path: Path) -> None:
    from bench.__main__ import main as bench

    file = tmp_path / "t.json"
    line = ["throughput", "--backbone", "lite", "--device", "cuda", "--runs", "1", "--json", str(file)]
    assert bench(line) == 0
    report = json.loads(file.read_text())
    assert report["meta"]["gpu"] == report["rows"][0]["device"]
    assert report["rows"][0]["peak_memory_mb"] > 0
