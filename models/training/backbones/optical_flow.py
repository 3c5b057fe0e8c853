"""Motion of clothes and hair by optical flow: landmarks give that of faces alone.

Dense inverse search (Kroeger et al., ECCV 2016), by OpenCV, on grey pictures of 128x128, there and back: what
does not come back to where it began, or looks different there, is not known.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from models.lite.geometry import inverse_2x2, pixel_grid, product_2x2
from models.lite.network import GRID, Points
from shared.keypoints import Floats, Pictures

_SIZE = 128
# How far from its beginning a pixel may come back, in pixels of 128.
_ASTRAY = 1.0
# How different a pixel may look where it comes from, in levels of 255: inside of an opening mouth all do.
_ALIKE = 20
# Steps from pixel to pixel, in levels of [0, 1], from which on a place counts in full; flat ones say little.
_TEXTURE, _FLAT = 0.1, 0.05
# Farther off than this, in half pictures, a flow is wrong, one way or the other.
_FARTHEST = 0.3
# Below the chin, the part of the picture that is taken to move with the torso, in heights of the face from
# the eyes to the chin: from how far below on, and how far to each side.
_BELOW, _ASIDE = 0.1, 1.6
# Places of 64x64 that must be known in it.
_FEWEST = 40
# Of the fit: how often weights are found anew, from how many medians on a place counts half, and at least how
# far off that is, in half pictures.
_ROUNDS, _OUTLIER, _MIN_SPREAD = 5, 1.5, 0.01
# How much a torso that says little of turning and stretching is held back from both.
_STIFF = 0.01


class Seen(NamedTuple):
    """The flow from driving pictures to their sources (B, 64, 64, 2), how far to trust it (B, 64, 64)."""

    flow: Tensor
    trust: Tensor


@torch.no_grad()
def seen_flow(source: Tensor, driving: Tensor) -> Seen:
    """Return where each place of `driving` lies in `source` (both (B, 3, H, H), in [0, 1], on the CPU)."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    pairs = zip(_grey(source), _grey(driving), strict=True)
    found = [_followed(dis, to, at) for to, at in pairs]
    shift = torch.from_numpy(np.stack([flow for flow, _ in found])) * (2 / _SIZE)
    known = torch.from_numpy(np.stack([sure for _, sure in found]))
    flow = pixel_grid(_SIZE, _SIZE, shift) + shift
    known &= (flow.abs() < 1).all(-1)
    half = _SIZE // GRID
    coarse = F.avg_pool2d(flow.permute(0, 3, 1, 2), half).permute(0, 2, 3, 1)
    trust = -F.max_pool2d(-known.float()[:, None], half)[:, 0]
    return Seen(coarse, trust * _texture(driving))


def _grey(pictures: Tensor) -> Pictures:
    small = F.avg_pool2d(pictures.float(), pictures.shape[-1] // _SIZE).mean(1)
    return np.asarray((255 * small).clamp(0, 255).byte().numpy())


def _followed(dis: cv2.DISOpticalFlow, to: Pictures, at: Pictures) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return how far each pixel of `at` is from its place in `to` (S, S, 2), and if that is so (S, S)."""
    # What they hold is where it starts.
    there, back = (np.zeros((_SIZE, _SIZE, 2), np.float32) for _ in range(2))
    dis.calc(at, to, there)
    dis.calc(to, at, back)
    x, y = np.meshgrid(np.arange(_SIZE, dtype=np.float32), np.arange(_SIZE, dtype=np.float32))
    x, y = x + there[..., 0], y + there[..., 1]
    returned = cv2.remap(back, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    astray = np.linalg.norm(there + returned, axis=-1)
    seen = cv2.remap(to, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return there, (astray < _ASTRAY) & (cv2.absdiff(seen, at) < _ALIKE)


def _texture(pictures: Tensor) -> Tensor:
    """Return how much there is to follow at each place of pictures (B, 3, H, H): (B, 64, 64) up to 1."""
    grey = F.avg_pool2d(pictures.float(), pictures.shape[-1] // GRID).mean(1)
    across = F.pad(grey.diff(dim=2).abs(), (0, 1))
    down = F.pad(grey.diff(dim=1).abs(), (0, 0, 0, 1))
    return (torch.maximum(across, down) / _TEXTURE).clamp(_FLAT, 1)


def seen_loss(flow: Tensor, seen: Seen) -> Tensor:
    """Return how far a flow (B, 64, 64, 2) is from what is seen, in x and y, on average."""
    off = (flow - seen.flow).abs().clamp(max=_FARTHEST).sum(-1)
    return (off * seen.trust).sum() / seen.trust.sum().clamp(min=1)


class BodyMotion(NamedTuple):
    """What carries a torso of driving pictures to its source's: z to matrix z + shift; known or not (B,)."""

    matrix: Tensor
    shift: Tensor
    known: Tensor


@torch.no_grad()
def body_motion(seen: Seen, chin: Tensor, height: Tensor, faces: Tensor) -> BodyMotion:
    """Return the affine motion of what is below faces: least squares, with outliers reweighted (Cauchy).

    `chin` (B, 2) is where driving pictures have it, `height` (B,) how high their faces are from the eyes to
    it; `faces` (B,) says where both are known.
    """
    place = pixel_grid(GRID, GRID, seen.flow)
    offset = place - chin[:, None, None]
    reach = height[:, None, None]
    inside = (offset[..., 1] > _BELOW * reach) & (offset[..., 0].abs() < _ASIDE * reach)
    counts = (seen.trust * inside).flatten(1)
    known = faces & ((counts > 0).sum(1) >= _FEWEST)
    total = counts.sum(1, keepdim=True).clamp(min=1e-3)
    where = place.reshape(1, -1, 2)
    middle = (where * counts[..., None]).sum(1) / total
    there = torch.cat([where - middle[:, None], torch.ones_like(counts)[..., None]], dim=-1)
    moved = (seen.flow - place).flatten(1, 2)
    stiff = _STIFF * total[..., None] * torch.diag(torch.tensor([1.0, 1.0, 1e-3]))
    weights = counts
    for _ in range(_ROUNDS):
        weighed = there * weights[..., None]
        fit = torch.linalg.solve(weighed.transpose(1, 2) @ there + stiff, weighed.transpose(1, 2) @ moved)
        off = (moved - there @ fit).norm(dim=-1)
        median = torch.where(counts > 0, off, torch.nan).nanmedian(dim=1, keepdim=True).values
        spread = (_OUTLIER * median.nan_to_num()).clamp(min=_MIN_SPREAD)
        weights = counts / (1 + (off / spread).square())
    matrix = torch.eye(2) + fit[:, :2].transpose(1, 2)
    shift = fit[:, 2] + middle - (matrix * middle[:, None]).sum(-1)
    return BodyMotion(matrix, shift, known)


def torso_loss(source: Points, driving: Points, motion: BodyMotion) -> tuple[Tensor, Tensor]:
    """Return how far the torso of driving pictures, carried back, is from the source's: place and Jacobian.

    Points are (B,) and (B, 2): one of each picture. FOMM's equivariance (Siarohin et al., NeurIPS 2019,
    section 3.3) by motions that were seen, not made.
    """
    value = (motion.matrix * driving.value[:, None]).sum(-1) + motion.shift
    jacobian = product_2x2(inverse_2x2(source.jacobian), product_2x2(motion.matrix, driving.jacobian))
    off = (source.value - value).abs().mean(-1) * motion.known
    turned = (jacobian - torch.eye(2)).abs().clamp(max=1).mean((1, 2)) * motion.known
    count = motion.known.sum().clamp(min=1)
    return off.sum() / count, turned.sum() / count
