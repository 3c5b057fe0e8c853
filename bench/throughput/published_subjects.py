"""The paper's two other backbones as `bench throughput` measures them: as published, and as they serve."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from bench.harness.metrics import operations, parameters
from bench.throughput.subject import LATENCY_FRAMES, PLAIN_CPU_FRAMES, Subject
from models.fomm.serving import Precision
from models.nth.backbone import NthBackbone
from models.nth.model import Nth, load_nth
from models.nth.plain import PlainNth, untrained_nth
from models.nth.pose import Pose
from models.nth.serving import serve as serve_nth
from models.tps.backbone import TpsBackbone
from models.tps.dense_motion import Motion
from models.tps.model import Tps, load_tps
from models.tps.plain import PlainTps, untrained_tps
from models.tps.serving import serve as serve_tps

Costs = tuple[int, int]
_SPADE = "the paper counted the original generator, and these weights are of SPADE's"


def tps_subjects(model: Tps, device: str, frames: int, trained: bool) -> Iterator[Subject]:
    """Describe the Thin-Plate-Spline model as published, then as it runs in a call."""
    measured = _frames(device, frames)
    plain = PlainTps(model, device)
    yield Subject(
        "tps", "plain", "float32", plain, parameters(model), *_tps_published(model), trained, *measured,
        parts={"the inpainting network": _tps_inpainting(model)},
        remark="the paper seems to leave the dense motion network out",
    )  # fmt: skip
    fast = TpsBackbone(model, device, "auto")
    costs = _tps_served(serve_tps(model, device, cast(Precision, fast.precision)))
    yield Subject("tps", "torch", fast.precision, fast, parameters(model), *costs, trained, *measured)


def nth_subjects(model: Nth, device: str, frames: int, trained: bool) -> Iterator[Subject]:
    """Describe the neural talking head as published, then as it runs in a call."""
    measured = _frames(device, frames)
    plain = PlainNth(model, device)
    yield Subject(
        "nth", "plain", "float32", plain, parameters(model), *_nth_published(model), trained, *measured,
        remark=_SPADE if model.config.spade else "",
    )  # fmt: skip
    fast = NthBackbone(model, device, "auto")
    costs = _nth_served(serve_nth(model, device, cast(Precision, fast.precision)))
    yield Subject("nth", "torch", fast.precision, fast, parameters(model), *costs, trained, *measured)


def load_or_untrained_tps(path: Path | None, seed: int) -> Tps:
    """Load a checkpoint, or build random weights where no path is given."""
    return untrained_tps(seed) if path is None else load_tps(path)


def load_or_untrained_nth(path: Path | None, seed: int) -> Nth:
    """Load a checkpoint, or build the original generator, which the paper counted, with random weights."""
    return untrained_nth(seed) if path is None else load_nth(path)


def _frames(device: str, frames: int) -> tuple[int, int]:
    """Return the frames to measure in blocks, and those to time singly: on a CPU one takes seconds."""
    return (PLAIN_CPU_FRAMES, PLAIN_CPU_FRAMES) if device == "cpu" else (frames, LATENCY_FRAMES)


def _tps_published(model: Tps) -> Costs:
    """Return the multiply-accumulates of a detection and of a frame, source and all."""
    picture, points = _zeros(model, model.config.image_size, (model.config.num_kp, 2))
    detect = operations(model, model.kp_detector, picture)
    return detect, operations(model, lambda x: model(picture, points, x).prediction, points)


def _tps_inpainting(model: Tps) -> int:
    """Return the multiply-accumulates of the network that paints, from source picture to frame, alone."""
    picture, points = _zeros(model, model.config.image_size, (model.config.num_kp, 2))
    network = model.inpainting_network
    with torch.no_grad():
        motion: Motion = model.dense_motion_network(
            model.dense_motion_network.encode_source(picture, points), points
        )
    return operations(
        network, lambda x: network.decode(x, network.encode_source(x), motion).prediction, picture
    )


def _tps_served(served: Tps) -> Costs:
    """Return the multiply-accumulates of a detection, and of a frame whose source was encoded before.

    The counter does not see packed weights, so it counts on a copy without.
    """
    picture, points = _zeros(served, served.config.image_size, (served.config.num_kp, 2))
    with torch.no_grad():
        state = served.encode_source(picture, points)
    detect = operations(served, served.kp_detector, picture)
    return detect, operations(served, lambda x: served.decode(state, x).prediction, points)


def _nth_published(model: Nth) -> Costs:
    """Return the multiply-accumulates of a head's pose and of a frame, source and all.

    The canonical keypoints are not among them: they are found once a source, by the published code too.
    """
    picture, points = _zeros(model, model.config.image_size, (model.config.num_kp, 3))
    draw = model.generator
    return _pose_cost(model, picture), operations(
        model, lambda x: draw(picture, points, x).prediction, points
    )


def _nth_served(served: Nth) -> Costs:
    """Return the multiply-accumulates of a head's pose, and of a frame whose source was encoded before."""
    picture, points = _zeros(served, served.config.image_size, (served.config.num_kp, 3))
    with torch.no_grad():
        state = served.generator.encode_source(picture, points)
    draw = served.generator.decode
    return _pose_cost(served, picture), operations(served, lambda x: draw(state, x).prediction, points)


def _pose_cost(model: Nth, picture: Tensor) -> int:
    def flat(pictures: Tensor) -> Tensor:
        pose: Pose = model.he_estimator(pictures)
        return pose.flat()

    return operations(model, flat, picture)


def _zeros(model: torch.nn.Module, side: int, points: tuple[int, int]) -> tuple[Tensor, Tensor]:
    device = next(model.parameters()).device
    return torch.zeros(1, 3, side, side, device=device), torch.zeros(1, *points, device=device)
