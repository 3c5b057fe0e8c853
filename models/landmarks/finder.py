"""Landmarks in pictures and along clips: a head, then its mesh, then the next frame from there."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.landmarks.crops import Box
from models.landmarks.mesh import Mesh, MeshNetworks
from models.landmarks.points import COUNT
from shared.keypoints import Floats, Pictures
from shared.media.heads import Head, HeadFinder

_SURE = 0.5
"""From which score on the mesh is believed, as MediaPipe does."""
_REFINEMENTS = 4
_STAYS = 0.03
"""A face is looked for again where its box moved by more than this share of its size, so many times."""
# A head is a face from brow to chin: its box reaches less far up than the mesh, and is smaller.
_HEAD_SCALE, _HEAD_RISE = 1.9, 0.1
# What boxes measure, in heads, on real faces: 1.5 to 1.7, and a little below.
_SMALLEST, _LARGEST, _NEAR = 1.15, 2.3, 0.45
# Where clips of talking heads have theirs, of the picture: tried where no head is found.
_USUAL = 0.75


@dataclass(frozen=True, eq=False)
class Found:
    """A face's landmarks (175, 3) in [-1, 1] of the picture, the depth in the same unit; `box` is near it."""

    points: Floats
    box: Box


class LandmarkFinder:
    """Finds the kept landmarks of the largest face, with the networks in the folder `models`.

    `heads` says where to begin. RequestError for a folder without the networks. Not thread-safe.
    """

    def __init__(self, models: Path, heads: HeadFinder) -> None:
        self._networks = MeshNetworks(models)
        self._heads = heads

    def follow(self, pictures: Iterable[Pictures]) -> Floats:
        """Return the landmarks (T, 175, 2) of consecutive pictures; see `Follower`."""
        return Follower(self)(pictures)

    def in_place(self, pictures: Iterable[Pictures]) -> Floats:
        """Return the landmarks (T, 175, 2) of pictures whose face stays where it is in the first of them.

        Following a face has a motion of its own, half a pixel on some; here all are looked at in one box.
        """
        first, *others = pictures
        found = self.find(first)
        if found is None:
            return np.full((1 + len(others), COUNT, 2), np.nan, np.float32)
        points = [
            self._landmarks(picture, self._networks.mesh(picture, found.box)) for picture in (first, *others)
        ]
        return np.stack(points)[..., :2]

    def find(self, picture: Pictures, near: Box | None = None) -> Found | None:
        """Return the face in `picture` (H, W, 3), uint8 RGB, at best the one `near` a box; None without."""
        heads = self._heads(picture)
        if near is not None:
            found = self._at(picture, near)
            # The mesh is as sure of a small face that it sees in the lower half of a large one.
            if found is not None and (not heads or any(_fits(found.box, head) for head in heads)):
                return found
            heads = sorted(heads, key=lambda head: math.hypot(head.x - near.x, head.y - near.y))
        else:
            heads = sorted(heads, key=lambda head: -head.size)
        boxes = [*map(_around, heads), _usual(picture)]
        return next((found for box in boxes if (found := self._at(picture, box)) is not None), None)

    def _at(self, picture: Pictures, box: Box) -> Found | None:
        """Return the face near `box`, looked for again where it was found until it stays there."""
        mesh = self._networks.mesh(picture, box)
        for _ in range(_REFINEMENTS):
            if mesh.seen.moved(mesh.box) < _STAYS:
                break
            mesh = self._networks.mesh(picture, mesh.box)
        if mesh.score < _SURE:
            return None
        return Found(self._landmarks(picture, mesh), mesh.box)

    def _landmarks(self, picture: Pictures, mesh: Mesh) -> Floats:
        height, width = picture.shape[:2]
        points = self._networks.landmarks(picture, mesh)
        places: Floats = (points * [2 / width, 2 / height, 2 / width] - [1, 1, 0]).astype(np.float32)
        return places


class Follower:
    """One face along a clip: looked for where it was last, and anew where it is not."""

    def __init__(self, finder: LandmarkFinder) -> None:
        self._finder = finder
        self._near: Box | None = None

    def __call__(self, pictures: Iterable[Pictures]) -> Floats:
        """Return the landmarks (T, 175, 2) of the next pictures (H, W, 3), uint8 RGB; NaN without a face."""
        found = [self._next(picture) for picture in pictures]
        return np.stack(found) if found else np.empty((0, COUNT, 2), np.float32)

    def _next(self, picture: Pictures) -> Floats:
        found = self._finder.find(picture, self._near)
        self._near = None if found is None else found.box
        return np.full((COUNT, 2), np.nan, np.float32) if found is None else found.points[:, :2]


def _around(head: Head) -> Box:
    return Box(head.x, head.y - _HEAD_RISE * head.size, _HEAD_SCALE * head.size)


def _fits(box: Box, head: Head) -> bool:
    """Say whether a face in `box` may be that of `head`: about as large, and about there."""
    apart = math.hypot(head.x - box.x, head.y - box.y)
    return _SMALLEST < box.side / head.size < _LARGEST and apart < _NEAR * head.size


def _usual(picture: Pictures) -> Box:
    height, width = picture.shape[:2]
    return Box(width / 2, height / 2, _USUAL * min(height, width))
