"""Repeatable weights and pictures for published networks: what the figures in `tests/data` were made with.

No public checkpoint is at hand. Every tensor is filled from its name alone, so that activations keep a
natural range and keypoints move from picture to picture; the fixed anti-alias kernels stay as computed.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from models.fomm.blocks import AntiAliasInterpolation2d

DATA = Path(__file__).parent / "data"
Shapes = Mapping[str, Mapping[str, Sequence[int]]]
Arrays = dict[str, np.ndarray]


def figures(name: str) -> tuple[Shapes, Arrays]:
    """The published names and shapes of each network of `name`, and what they return."""
    folder = DATA / f"{name}_parity"
    shapes: Shapes = json.loads((folder / "state-dict-shapes.json").read_text())
    return shapes, dict(np.load(folder / "reference-0.npz"))


def picture(seed: int) -> np.ndarray:
    """Six plane waves a channel: float32 (3, 256, 256) in [0, 1]."""
    rng = np.random.RandomState(seed)
    y, x = np.mgrid[0:256, 0:256] / 255.0
    waves = np.zeros((3, 256, 256))
    for channel in range(3):
        for _ in range(6):
            fx, fy, phase = rng.uniform(0.5, 6), rng.uniform(0.5, 6), rng.uniform(0, 6.28)
            waves[channel] += np.sin(6.28 * (fx * x + fy * y) + phase)
    return ((waves - waves.min()) / (waves.max() - waves.min())).astype(np.float32)


def fill(network: nn.Module, weights: Arrays) -> None:
    """Give `network`, which was built on the meta device, these tensors, and the fixed anti-alias kernel."""
    tensors = {name: torch.from_numpy(array) for name, array in weights.items()}
    if "down.weight" in network.state_dict():
        tensors["down.weight"] = AntiAliasInterpolation2d(3, 0.25).weight
    network.load_state_dict(tensors, assign=True)


_TPS_GAIN = {
    "fg_encoder.conv1.weight": 5,
    "bg_encoder.conv1.weight": 5,
    "fg_encoder.fc.weight": 1.5,
    "bg_encoder.fc.weight": 0.02,
    "decoder.9.weight": 0.2,
}


def tps_weights(shapes: Mapping[str, Sequence[int]]) -> Arrays:
    """The tensors of one network of the Thin-Plate-Spline model."""
    return {name: _tps(name, shape) for name, shape in shapes.items() if name != "down.weight"}


def _tps(name: str, shape: Sequence[int]) -> np.ndarray:
    rng, plain = _plain(name, shape)
    if plain is not None:
        return plain
    noise = rng.standard_normal(shape)
    if name.endswith("running_mean"):
        values = 0.1 * noise
    elif name == "fg_encoder.fc.bias":  # each group of five on a wide cross: splines of good condition
        values = np.tile([-1, -1, -1, 1, 1, -1, 1, 1, 0, 0], shape[0] // 10) + 0.4 * noise
    elif name == "bg_encoder.fc.bias":  # near the identity
        values = np.array([1, 0, 0, 0, 1, 0]) + 0.05 * noise
    elif name.endswith("bias"):
        values = 0.05 * noise
    elif len(shape) == 1:  # a norm's weight, small where it closes a residual branch
        values = (0.5 if name.endswith("bn2.weight") else 1) * (1 + 0.1 * noise)
    else:
        if "_encoder." in name:
            noise -= _mean(noise)
        values = np.sqrt(2.0 / np.prod(shape[1:])) * _TPS_GAIN.get(name, 1) * noise
    return values.astype(np.float32)


# Of the keypoint detector and the pose estimator each filter sums to zero: what all pictures share drops out.
_NTH_ZERO_SUM = ("predictor.", "kp.", "conv", "block", "fc_")
_NTH_GAIN = {
    "predictor.down_blocks.down0.conv.weight": 5,
    "kp.weight": 3,
    "conv1.weight": 5,
    "fc_yaw.weight": 8,
    "fc_pitch.weight": 8,
    "fc_roll.weight": 8,
    "fc_t.weight": 0.4,
    "fc_exp.weight": 0.2,
    "dense_motion_network.mask.weight": 0.6,
    "dense_motion_network.occlusion.weight": 0.4,
    "final.weight": 0.4,
    "decoder.conv_img.weight": 0.15,
}


def nth_weights(shapes: Mapping[str, Sequence[int]]) -> Arrays:
    """The tensors of a network of the talking head; right vectors of spectral norms follow the left ones."""
    vectors = [name for name in shapes if name.endswith("weight_v")]
    plain = [name for name in shapes if name != "down.weight" and name not in vectors]
    tensors = {name: _nth(name, shapes[name]) for name in plain}
    for name in vectors:
        weight, left = (tensors[name[:-1] + end].astype(np.float64) for end in ("orig", "u"))
        right = left @ weight.reshape(len(left), -1)
        tensors[name] = (right / np.linalg.norm(right)).astype(np.float32)
    return tensors


def _nth(name: str, shape: Sequence[int]) -> np.ndarray:
    rng, plain = _plain(name, shape)
    if plain is not None:
        return plain
    noise = rng.standard_normal(shape)
    if name.endswith("running_mean"):
        values = 0.1 * noise
    elif name.endswith("weight_u"):
        values = noise / np.linalg.norm(noise)
    elif name.endswith("bias"):
        values = 0.05 * noise
    elif len(shape) == 1:  # a norm's weight, small where it closes a residual branch
        values = (0.5 if name.endswith(".norm3.weight") else 1) * (1 + 0.1 * noise)
    else:
        if name.startswith(_NTH_ZERO_SUM):
            noise -= _mean(noise)
        closing = name.startswith("resblocks") and name.endswith("conv2.weight")
        gain = 0.5 if closing else _NTH_GAIN.get(name, 1)
        values = np.sqrt(2.0 / np.prod(shape[1:])) * gain * noise
    return values.astype(np.float32)


def _plain(name: str, shape: Sequence[int]) -> tuple[np.random.RandomState, np.ndarray | None]:
    rng = np.random.RandomState(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return rng, np.zeros(shape, np.int64)
    if name.endswith("running_var"):
        return rng, rng.uniform(0.5, 1.5, shape).astype(np.float32)
    return rng, None


def _mean(noise: np.ndarray) -> np.ndarray:
    mean: np.ndarray = noise.mean(axis=tuple(range(1, noise.ndim)), keepdims=True)
    return mean
