"""The lite detector: all points in the whole picture, then eyes and mouth once more in patches of it.

A lid moves by a pixel or two of 256. The whole picture is therefore looked at coarsely, at 128x128, which
says where the face is, and small patches around its eyes and mouth finely, upright and at one size.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.lite.blocks import ConvBlock, PooledUNet, convolved
from models.lite.config import LiteConfig
from models.lite.geometry import axis, halved, product_2x2, warp
from models.lite.layout import COUNT
from models.lite.structures import Points

# Where the points of a typical upright face lie, from the middle between its eyes, in a picture 2 wide: the
# scale at which an upright face has identities for Jacobians. The torso (8) is no part of a face.
CANONICAL = (
    (-0.2111, -0.0063), (0.2111, -0.0063), (0.0, 0.2720), (-0.1678, 0.4615), (0.1678, 0.4615),
    (0.0, 0.5231), (0.0, -0.3444), (0.0, 0.4171), (0.0, 0.0), (0.0, 0.7763),
)  # fmt: skip
RIGHT_EYE, LEFT_EYE, TORSO = 0, 1, 8
MOUTH = (3, 4, 5, 7)
FACE = tuple(point for point in range(COUNT) if point != TORSO)
# Pixels of a patch, and how far it reaches from its middle in the units of `CANONICAL`: of a typical face it
# shows every pixel.
_EYE_SIZE, _EYE_REACH = 40, 0.16
_MOUTH_SIZE, _MOUTH_REACH = 56, 0.28
_HIDDEN = 128
# The side of the picture at 128x128, four pixels at a place.
_UNSHUFFLED = 64


class Detector(nn.Module):
    """Finds K points and their Jacobians in pictures (B, 3, 256, 256)."""

    def __init__(self, config: LiteConfig) -> None:
        super().__init__()
        self.whole = WholePicture(config)
        self.eyes = PatchPoints(config.patches, 1, _EYE_SIZE, _EYE_REACH, paired=True)
        self.mouth = PatchPoints(config.patches, len(MOUTH), _MOUTH_SIZE, _MOUTH_REACH)

    def forward(self, picture: Tensor) -> Points:
        """Return the points of `picture`: those of eyes and mouth as seen closely.

        Not the mean of both looks, which moves less than what is seen: on people not trained on, lids by two
        thirds of what they do, where patches have nine tenths.
        """
        return self.refine(picture, self.whole(picture))

    def refine(self, picture: Tensor, rough: Points, near: Tensor | None = None) -> Points:
        """Find eyes and mouth again in patches around where `near` (B, 10, 2), by default `rough`, has them.

        No gradient reaches the places of the patches.
        """
        value = rough.value.detach() if near is None else near
        frame = face_frame(value)
        eyes = value[:, : LEFT_EYE + 1]
        mouth = value[:, MOUTH[0] : MOUTH[0] + 1] + value[:, 4:5] + value[:, 5:6] + value[:, 7:8]
        mouth = mouth / len(MOUTH)
        # One network knows right eyes alone: it sees the left one in a mirror.
        of_eyes, eye_shapes = self.eyes(picture, eyes, torch.stack([frame, _mirrored(frame)], dim=1))
        eye_shapes = torch.cat([eye_shapes[:, :LEFT_EYE], _mirrored(eye_shapes[:, LEFT_EYE:])], dim=1)
        of_mouth, mouth_shapes = self.mouth(picture, mouth, frame[:, None])
        places = (RIGHT_EYE, LEFT_EYE, *MOUTH)
        return Points(
            _put(rough.value, torch.cat([of_eyes, of_mouth], dim=1), places),
            _put(rough.jacobian, torch.cat([eye_shapes, mouth_shapes], dim=1), places),
        )


def _mirrored(matrix: Tensor) -> Tensor:
    """Return matrices (..., 2, 2) that first turn x around."""
    return torch.cat([-matrix[..., :1], matrix[..., 1:]], dim=-1)


def _put(into: Tensor, rows: Tensor, places: tuple[int, ...]) -> Tensor:
    """Return `into` (B, K, ...) with `rows` at `places`."""
    given = {place: index for index, place in enumerate(places)}
    parts = [rows[:, given[k] : given[k] + 1] if k in given else into[:, k : k + 1] for k in range(COUNT)]
    return torch.cat(parts, dim=1)


def _face(value: Tensor) -> Tensor:
    """Return the places that belong to the face (B, 9, 2) of all (B, 10, 2)."""
    return torch.cat([value[:, :TORSO], value[:, TORSO + 1 :]], dim=1)


@cache
def _typical(device: torch.device) -> Tensor:
    """Return where a typical face's points lie (9, 2); kept, for no CUDA graph takes numbers from Python."""
    return torch.tensor([CANONICAL[point] for point in FACE], device=device)


def face_frame(value: Tensor) -> Tensor:
    """Return the similarity (B, 2, 2) that carries a typical upright face to points (B, 10, 2), in the mean.

    Least squares over the face's points (Umeyama, PAMI 1991, without its correction of the scale).
    """
    canonical = _typical(value.device).to(value.dtype)
    canonical = canonical - canonical.mean(0)
    points = _face(value)
    points = points - points.mean(1, keepdim=True)
    norm = 1 / canonical.square().sum()
    along = (points * canonical).sum((1, 2)) * norm
    turned = torch.stack([-canonical[:, 1], canonical[:, 0]], dim=-1)
    across = (points * turned).sum((1, 2)) * norm
    return torch.stack([along, -across, across, along], dim=-1).reshape(-1, 2, 2)


class WholePicture(nn.Module):
    """All points from the picture at 128x128, as expectations over softmax heatmaps, of 32x32 or 64x64.

    Those of 32x32 take half the time, and lost nothing where they learned to imitate larger ones. Trained by
    landmarks, at a quarter of the cost, noses and chins were off by 3.5 and 4.1 pixels, not 2.3 and 2.6.
    """

    def __init__(self, config: LiteConfig) -> None:
        super().__init__()
        self.temperature = config.temperature
        self.body = PooledUNet(12, config.detector, stride=_UNSHUFFLED // config.heat)
        self.heatmaps = nn.Conv2d(config.detector[0], COUNT, 3, padding=1)
        self.jacobians = nn.Conv2d(config.detector[0], 4 * COUNT, 1)
        nn.init.zeros_(self.jacobians.weight)
        with torch.no_grad():
            assert self.jacobians.bias is not None
            self.jacobians.bias.copy_(torch.eye(2).reshape(-1).repeat(COUNT))

    def forward(self, picture: Tensor) -> Points:
        """Return the points of pictures (B, 3, 256, 256)."""
        features = self.body(F.pixel_unshuffle(halved(picture), 2))
        assert self.heatmaps.bias is not None
        # In float32 even while training in bfloat16: the temperature makes ten of every rounding error.
        with torch.autocast(features.device.type, enabled=False) if self.training else nullcontext():
            heat = convolved(features.float(), self.heatmaps.weight, self.heatmaps.bias)
            return self._expected(heat[:, :COUNT], features.float())

    def _expected(self, logits: Tensor, features: Tensor) -> Points:
        """Return the points of heatmaps (B, K, S, S), from features (B, C, S, S)."""
        size = logits.shape[-1]
        weights = torch.softmax(logits.flatten(2) / self.temperature, dim=-1)
        square = weights.reshape(-1, COUNT, size, size)
        place = axis(size, weights)
        value = torch.stack([(square.sum(at) * place).sum(-1) for at in (2, 3)], dim=-1)
        # Layer and expectation, both linear, change places: ten points are left of 4096 pixels.
        pooled = torch.matmul(weights, features.flatten(2).transpose(1, 2))
        each = self.jacobians.weight.reshape(COUNT, 4, -1).float()
        jacobian = torch.matmul(each, pooled[..., None])[..., 0]
        assert self.jacobians.bias is not None
        jacobian = jacobian + self.jacobians.bias.float().reshape(COUNT, 4)
        return Points(value, jacobian.reshape(-1, COUNT, 2, 2))


class PatchPoints(nn.Module):
    """Points in an upright patch of size x size, relative to its middle and in its own frame.

    Where patches are `paired`, the points of each are told by both: eyes look the same way, and each knows
    better where with the other.
    """

    def __init__(
        self, channels: tuple[int, ...], count: int, size: int, reach: float, *, paired: bool = False
    ) -> None:
        super().__init__()
        a, b, c = channels
        self.count, self.size, self.reach, self.paired = count, size, reach, paired
        self.body = nn.Sequential(
            ConvBlock(12, a), ConvBlock(a, b, 2), ConvBlock(b, b), ConvBlock(b, c, 2), nn.Flatten(1)
        )
        self.hidden = nn.Sequential(nn.Linear(c * (size // 8) ** 2, _HIDDEN), nn.ReLU(inplace=True))
        self.numbers = nn.Linear(2 * _HIDDEN if paired else _HIDDEN, 6 * count)
        nn.init.zeros_(self.numbers.weight)
        with torch.no_grad():
            self.numbers.bias.copy_(torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0, 1.0]).repeat(count))

    def forward(self, picture: Tensor, middle: Tensor, frame: Tensor) -> tuple[Tensor, Tensor]:
        """Return value (B, P count, 2) and jacobian (B, P count, 2, 2) of P patches of each picture.

        A patch shows what lies within the reach, in units of `frame` (B, P, 2, 2), around `middle` (B, P, 2).
        A frame may be mirrored; so are its Jacobians then.
        """
        batch, patches = middle.shape[:2]
        size, reach = self.size, self.reach
        place = axis(size, picture) * reach
        x, y = place[None, :, None], place[:, None, None]
        flow = (frame[..., 0][:, :, None, None] * x + frame[..., 1][:, :, None, None] * y) + middle[
            :, :, None, None
        ]
        seen = warp(picture, flow.reshape(batch, patches * size, size, 2))
        seen = seen.reshape(batch, -1, patches, size, size).transpose(1, 2).flatten(0, 1)
        features = self.hidden(self.body(F.pixel_unshuffle(seen, 2)))
        if self.paired:
            each = features.reshape(batch, patches, _HIDDEN)
            other = torch.cat([each[:, 1:], each[:, :1]], dim=1)
            features = torch.cat([each, other], dim=-1).flatten(0, 1)
        # In float32 even while training in bfloat16: its steps near 1 are as large as what a lid moves.
        with torch.autocast(features.device.type, enabled=False) if self.training else nullcontext():
            found = self.numbers(features.float())
        found = found.reshape(batch, patches, self.count, 6)
        offset, shape = found[..., :2] * reach, found[..., 2:].reshape(batch, patches, self.count, 2, 2)
        across = frame[:, :, None]
        value = across[..., 0] * offset[..., :1] + across[..., 1] * offset[..., 1:] + middle[:, :, None]
        return value.flatten(1, 2), product_2x2(across, shape).flatten(1, 2)
