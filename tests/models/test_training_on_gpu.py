"""Training on a GPU, as far as a machine without one can tell: what waits, is kept, is chosen."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from models.fomm.config import FommConfig
from models.fomm.model import Fomm
from models.lite.network import LiteNetwork
from models.training import run as runs
from models.training.backbones import backbone_command as backbone
from models.training.backbones import backbone_loop
from models.training.backbones.backbone_loop import Job, RunProgress
from models.training.backbones.backbone_run import LOOK_EVERY, Run
from models.training.backbones.discriminator import MultiScaleDiscriminator
from models.training.backbones.fomm import FommObjective, convolve_in_bf16
from models.training.backbones.fomm_losses import AdversarialLoss, PyramidDistance
from models.training.backbones.lite import ONLY, LiteObjective, random_window
from models.training.backbones.recipes import FommRecipe, LiteRecipe
from models.training.forecasters import forecaster_command as forecaster
from models.training.run import Elapsed, any_process, max_over_processes, processes, training_device
from shared.errors import KeycastError, RequestError
from shared.keypoints import Floats
from tests.drawn_face import face
from tests.gpu_stand_in import waits
from tests.tiny_lite import TINY, untrained

pytestmark = pytest.mark.slow

torch.set_num_threads(1)
CPU, GPU = torch.device("cpu"), torch.device("cuda")
CANONICAL = np.pad(0.6 * face(), ((0, 0), (0, 1)))
SMALL = FommConfig(
    image_size=64, detector_expansion=4, detector_blocks=2, motion_expansion=4, motion_blocks=2,
    generator_expansion=4, generator_down_blocks=1, generator_bottleneck_blocks=1,
)  # fmt: skip
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


def options(*line: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    backbone.add_arguments(parser)
    return parser.parse_args(["--clips", "clips", *line])


def begun(network: LiteNetwork | None = None) -> Run[LiteNetwork]:
    network = network or untrained().train()
    return Run.of(network, torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True))


def batch(count: int = 1, drivings: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    source = torch.zeros(count, 3, 256, 256, dtype=torch.uint8)
    faces = torch.zeros(count, 1 + drivings, 175, 2)
    return source, torch.full((count, drivings, 3, 256, 256), 9, dtype=torch.uint8), faces


# What waits for a GPU.


def test_the_stand_in_notices_what_a_gpu_is_waited_for() -> None:
    number = torch.ones(3, device="meta")
    for wait in (
        lambda: number[[0, 1]], lambda: number[torch.tensor([0, 1])], lambda: torch.ones(3).to("meta"),
        lambda: torch.tensor([1.0], device="meta"), number.nonzero,
    ):  # fmt: skip
        with waits() as seen:
            try:
                wait()
            except NotImplementedError:
                assert seen
        assert seen
    with waits() as seen, pytest.raises(RuntimeError, match="item"):
        float(number.sum())
    assert seen == ["_local_scalar_dense"]
    with waits() as seen:
        (number * 2 + torch.arange(3, device="meta"))[1:].sum()
    assert not seen


@pytest.mark.parametrize("canonical", [CANONICAL, None])
@pytest.mark.parametrize("only", [None, *ONLY])
def test_a_step_of_the_lite_network_waits_for_nothing(canonical: Floats | None, only: str | None) -> None:
    if only == "patches" and canonical is None:
        pytest.skip("they are learned by landmarks")
    # More scales of the detector's U-Net would only be more of the same.
    network = untrained(config=replace(TINY, detector=(8, 8))).train()
    teacher = untrained(config=replace(TINY, detector=(8, 8))).detector if only == "whole" else None
    objective = LiteObjective(network, None, canonical, only=only, teacher=teacher).to("meta")
    pictures = torch.rand(2, 3, 256, 256, device="meta")
    driving = torch.rand(2, 2, 3, 256, 256, device="meta")
    faces = torch.rand(2, 3, 175, 2, device="meta")
    for seen_before in (False, True):
        with waits() as seen:
            losses = objective(pictures, driving, random_window(torch.Generator()), faces)
            if seen_before:
                torch.stack(list(losses.values())).sum().backward()
        # What is kept on the GPU is brought there once.
        assert not (seen_before and seen), seen


def test_a_step_of_the_full_network_waits_for_nothing() -> None:
    network, critic = Fomm(SMALL).train(), MultiScaleDiscriminator(10)
    objective = FommObjective(network, PyramidDistance(64, None), AdversarialLoss(critic), bf16=False)
    objective.to("meta")
    pictures = torch.rand(2, 3, 64, 64, device="meta")
    for seen_before in (False, True):
        with waits() as seen:
            torch.stack(list(objective(pictures, pictures[:, None]).values())).sum().backward()
        assert not (seen_before and seen), seen


def steps(run: Run[LiteNetwork], count: int, scale: Callable[[int], float] = lambda _: 1.0) -> list[str]:
    """Take steps, of which step n has a gradient times `scale(n)`; return what they waited for."""
    weight = next(run.network.parameters())
    waited: list[str] = []
    for number in range(count):

        def objective(*_: object, number: int = number) -> dict[str, Tensor]:
            return {"loss": weight.sum() * scale(number), "other": weight.square().sum()}

        with waits("cpu") as seen:
            run.advance(objective, batch(), None, bf16=False)
        waited += seen
    return waited


def test_an_optimiser_step_is_looked_at_once_in_twenty() -> None:
    run = begun()
    assert steps(run, LOOK_EVERY - 1) == []
    assert steps(run, 1) == ["_local_scalar_dense"]
    assert steps(run, LOOK_EVERY - 1) == []


def test_a_bad_step_moves_no_weight_and_a_row_of_them_ends_the_run_by_the_next_look() -> None:
    run = begun()
    before = [parameter.clone() for parameter in run.network.parameters()]
    steps(run, 3, lambda _: math.nan)
    assert all(map(torch.equal, before, run.network.parameters()))
    steps(run, 1)
    assert not torch.equal(before[0], next(run.network.parameters()))
    # A good one between them, so that the first look finds too few in a row.
    steps(run, LOOK_EVERY - 4, lambda _: math.inf)
    with pytest.raises(KeycastError, match="diverged"):
        steps(run, LOOK_EVERY, lambda _: math.nan)


def test_a_run_needs_a_fused_optimiser_and_makes_an_older_runs_one() -> None:
    network = untrained()
    with pytest.raises(ValueError, match="fused=True"):
        Run.of(network, torch.optim.AdamW(network.parameters()))
    older, run = torch.optim.AdamW(network.parameters()), begun(network)
    network.detector.whole.heatmaps.weight.sum().backward()  # type: ignore[no-untyped-call]
    older.step()
    state = run.state()
    del state["seconds"]
    run.resume({**state, "optimiser": older.state_dict()})
    assert run.seconds == 0
    assert all(group["fused"] for group in run.optimiser.param_groups)
    moved = [p.clone() for p in network.parameters()]
    steps(run, 1, lambda _: math.nan)
    assert all(map(torch.equal, moved, network.parameters()))


# What is kept.


def test_a_gpus_random_numbers_go_on_too(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(7)
    monkeypatch.setattr(Run, "device", GPU)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: {GPU: generator}[device].get_state())
    monkeypatch.setattr(
        torch.cuda, "set_rng_state", lambda state, device: {GPU: generator}[device].set_state(state)
    )
    run = begun()
    state = run.state()
    expected = torch.rand(3, generator=generator)
    begun().resume(state)
    torch.testing.assert_close(torch.rand(3, generator=generator), expected, rtol=0, atol=0)
    # A run that began on a CPU has none, and goes on all the same.
    del state["random_gpu"]
    begun().resume(state)


def test_in_bfloat16_heatmaps_and_their_jacobians_stay_exact() -> None:
    network = Fomm(SMALL)
    convolve_in_bf16(network)
    halved = {name for name, part in network.named_modules() if type(part).__name__ == "_Bf16Conv2d"}
    exact = {name for name, part in network.named_modules() if type(part) is nn.Conv2d}
    assert exact == {"kp_detector.kp", "kp_detector.jacobian"}
    assert "kp_detector.predictor.encoder.down_blocks.0.conv" in halved


# What holds by default.


def test_a_gpu_has_larger_batches_a_higher_rate_and_as_many_steps_to_warm_up() -> None:
    lite = options()
    recipe = backbone._recipe(lite, TINY, GPU)
    assert isinstance(recipe, LiteRecipe)
    assert (lite.batch, lite.rate, recipe.length(7, GPU)) == (128, 1.2e-3, 1_000_000)
    lite.pictures = 1_000_000
    # 200 steps of 128, where 19 would be over before the rate has risen.
    assert recipe.factor(200 * 128 / 1e6) == pytest.approx(1)
    assert recipe.factor(100 * 128 / 1e6) == pytest.approx(0.5, abs=0.01)
    lite.pictures = 1000
    assert recipe.factor(0.05) == pytest.approx(1)
    given = options("--batch", "7", "--rate", "1e-4")
    backbone._recipe(given, TINY, GPU)
    assert (given.batch, given.rate) == (7, 1e-4)
    full = options("--model", "fomm")
    assert isinstance(backbone._recipe(full, SMALL, GPU), FommRecipe)
    assert (full.batch, full.rate) == (20, 2e-4)


def test_a_forecaster_of_a_calls_size_trains_on_the_cpu_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        forecaster, "choose_device", {"auto": "cuda", "cuda": "cuda", "cpu": "cpu"}.__getitem__
    )
    for config, name, expected in (
        ("call", "auto", "cpu"), ("paper", "auto", "cuda"), ("call", "cuda", "cuda"), ("paper", "cpu", "cpu"),
    ):  # fmt: skip
        assert forecaster._device(argparse.Namespace(config=config, device=name)).type == expected


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine with two GPUs."""
    monkeypatch.setattr(runs, "choose_device", lambda _: "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    before = torch.backends.cudnn.benchmark
    yield
    torch.backends.cudnn.benchmark = before


@pytest.mark.usefixtures("cards")
def test_each_process_has_a_gpu_and_one_too_many_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert training_device("auto") == torch.device("cuda", 0)
    assert torch.backends.cudnn.benchmark
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert training_device("auto") == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(RequestError, match=r"more processes than GPUs \(2\); .*--nproc-per-node 2"):
        training_device("auto")


def test_processes_wait_for_each_other_for_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr(
        dist, "init_process_group", lambda backend, **more: asked.update(more, backend=backend)
    )
    monkeypatch.setattr(dist, "get_rank", lambda: 0)
    monkeypatch.setattr(dist, "get_world_size", lambda: 1)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: None)
    with processes(CPU) as place:
        assert place == (0, 1)
    assert asked["backend"] == "gloo"
    assert asked["timeout"] >= timedelta(hours=6)


class Recorded:
    """Stands in for pairs that a GPU draws."""

    def __init__(self, pairs: Any, sources: int, device: torch.device) -> None:
        self.told = (pairs.drivings, sources, device)

    def __iter__(self) -> Iterator[Any]:
        yield self.told


@pytest.mark.parametrize("room", [True, False])
def test_a_gpu_draws_its_pairs_where_it_has_room(
    room: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from models.training.data.frames import Clip

    made: dict[str, Any] = {}

    def loader(_pairs: Any, sources: int, **more: Any) -> list[int]:
        made.update(more, sources=sources)
        return [1]

    monkeypatch.setattr(backbone, "fits", lambda *_: room)
    monkeypatch.setattr(backbone, "DevicePairs", Recorded)
    monkeypatch.setattr(backbone, "DataLoader", loader)
    given = options()
    recipe = backbone._recipe(given, TINY, GPU)
    batches = backbone._batches(Job(given, recipe, GPU, 0, 1, []), [Clip("a", [b"", b""])], 0)
    if room:
        assert next(batches) == (2, 64, GPU)  # type: ignore[comparison-overlap]
    else:
        assert next(batches) == 1  # type: ignore[comparison-overlap]
        assert (made["sources"], made["pin_memory"]) == (64, True)
        assert made["num_workers"] > 0
        assert "no room for all frames" in caplog.text


# A run that is limited by the clock.


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_a_run_by_the_clock_counts_what_it_took_before(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(runs, "time", clock)
    given = options("--minutes", "2")
    run = begun()
    run.seconds = 30.0
    progress = RunProgress(run, Job(given, backbone._recipe(given, TINY, CPU), CPU, 0, 1, []))
    assert not progress.is_stopped([])
    assert progress.done == pytest.approx(0.25)
    clock.now += 30
    assert progress.done == pytest.approx(0.25)
    assert not progress.is_stopped([])
    assert progress.done == pytest.approx(0.5)
    assert progress.elapsed() == pytest.approx(60)
    assert progress.is_stopped([2])
    assert Elapsed()() == 0


def test_processes_on_gpus_ask_each_other_now_and_then_at_the_same_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[float] = []

    def all_reduce(value: Tensor, **_: object) -> None:
        asked.append(float(value))
        value.fill_(90.0 if len(asked) == 1 else 0.0)

    monkeypatch.setattr(dist, "all_reduce", all_reduce)
    monkeypatch.setattr(
        backbone_loop, "max_over_processes", lambda here, size, _: max_over_processes(here, size, CPU)
    )
    monkeypatch.setattr(backbone_loop, "any_process", lambda here, size, _: any_process(here, size, CPU))
    given = options("--minutes", "2")
    run = begun()
    progress = RunProgress(run, Job(given, backbone._recipe(given, TINY, GPU), GPU, 0, 2, []))
    assert not progress.is_stopped([])
    # The slowest one's clock is everybody's.
    assert progress.done == pytest.approx(0.75)
    for run.step in range(1, LOOK_EVERY):
        assert not progress.is_stopped([2])
    assert len(asked) == 2
    run.step = LOOK_EVERY
    progress.is_stopped([2])
    assert asked[-1] == 1
    assert max_over_processes(3.0, 1, CPU) == 3.0


def test_a_length_is_pictures_or_minutes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options("--minutes", "2", "--pictures", "5")
    assert "not allowed with" in capsys.readouterr().err


def test_a_run_by_the_clock_leaves_weights_whenever_it_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Eight steps, of which each takes ten seconds of a clock of ours."""
    clock = Clock()
    monkeypatch.setattr(runs, "time", clock)
    monkeypatch.setattr(backbone_loop, "SAVE_SECONDS", -1.0)
    saved, rates = [], []
    monkeypatch.setattr(LiteRecipe, "save", lambda _, folder, run: saved.append((folder.name, run.step)))
    given = options("--minutes", "1.3", "--output", str(tmp_path), "--every", "1000", "--batch", "2")
    run = begun()

    def advance(run: Run[LiteNetwork], *_: object) -> dict[str, Tensor]:
        clock.now += 10
        run.step += 1
        rates.append(run.optimiser.param_groups[0]["lr"])
        return {"loss": torch.tensor(0.5)}

    monkeypatch.setattr(Run, "advance", advance)
    job = Job(given, backbone._recipe(given, TINY, CPU), CPU, 0, 1, [])
    run.step = LOOK_EVERY - 8
    assert not backbone_loop.train_on(run, nn.Identity(), iter([batch()] * 20), job, [])
    assert saved == [("weights", LOOK_EVERY - 8 + n) for n in range(1, 9)]
    # A cosine by the clock: warm, then down to nearly nothing.
    assert rates[0] < 1e-5 < rates[1]
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[-1] < 0.06 * rates[1]
    assert "16 pictures in 1.3 of 1.3 minutes" in capsys.readouterr().out


# On a GPU.


@gpu
@pytest.mark.parametrize("bf16", [False, True])
def test_a_gpu_trains_without_being_waited_for(bf16: bool) -> None:
    network = LiteNetwork(TINY).to(GPU, memory_format=torch.channels_last)  # type: ignore[call-overload]
    run = begun(network)
    objective = LiteObjective(network, None, CANONICAL).to(GPU)
    given = tuple(part.to(GPU) for part in batch(2, 2))
    losses = run.advance(objective, given, None, bf16)  # type: ignore[arg-type]
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        losses = run.advance(objective, given, random_window(torch.Generator()), bf16)  # type: ignore[arg-type]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(math.isfinite(value) for value in torch.stack(list(losses.values())).tolist())
    state = run.state()
    expected = torch.rand(3, device=GPU)
    run.resume(state)
    torch.testing.assert_close(torch.rand(3, device=GPU), expected)


@gpu
def test_the_full_network_trains_in_bfloat16_with_norms_of_all_processes() -> None:
    network = nn.SyncBatchNorm.convert_sync_batchnorm(Fomm(SMALL)).to(GPU)  # type: ignore[no-untyped-call]
    convolve_in_bf16(network)
    objective = FommObjective(network.train(), PyramidDistance(64, None), None, bf16=True).to(GPU)
    pictures = torch.rand(2, 3, 64, 64, device=GPU)
    torch.stack(list(objective(pictures, pictures[:, None]).values())).sum().backward()
    assert all(p.grad is not None for p in network.parameters())
