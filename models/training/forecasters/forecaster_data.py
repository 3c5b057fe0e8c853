"""Windows of keypoint tracks, drawn at random, and the statistics that standardise them."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from models.forecast.scaling import LIMIT, Scaling
from models.lite.named import MIRROR
from models.training.data.tracks import Tracks
from models.training.forecasters.forecaster_augment import augment
from shared.errors import RequestError

# Frames that free running is trained on; a network that says more at once sees more.
ROLLOUT = 12
SHORT = (3, 12)
LONG = (12, 36)
LONG_SHARE = 0.25

# A number that never moves still needs a spread to be divided by.
MIN_STD = 1e-3
MIN_STEP = 1e-4


class Windows:
    """Random windows of the clips of `tracks`, `future` frames of them to be forecast.

    Every clip counts by its length. RequestError where none is long enough.
    """

    def __init__(self, tracks: Tracks, future: int = ROLLOUT, augmented: bool = True) -> None:
        self._future = future
        self._augmented = augmented
        self._layout = tracks.layout
        self._mirror = MIRROR if tracks.sided else None
        clips = [clip.frames for clip in tracks.clips]
        self._frames = torch.from_numpy(np.concatenate(clips))
        # How many frames follow each one in its clip, itself included.
        self._left = torch.cat([torch.arange(len(clip), 0, -1) for clip in clips])
        longest = LONG[1] + future
        if int(self._left.max()) < longest:
            raise RequestError(f"no training track has {longest} frames: give longer clips")
        self._starts: dict[int, Tensor] = {}

    def draw(self, batch: int, generator: torch.Generator) -> tuple[Tensor, int]:
        """Return frames (batch, split + future, D) and `split`, how many of them a rollout has observed.

        Mostly short pasts (3 to 12 frames), as after a pause in a call, at times long ones (to 36).
        """
        least, most = LONG if float(torch.rand((), generator=generator)) < LONG_SHARE else SHORT
        split = int(torch.randint(least, most + 1, (), generator=generator))
        length = split + self._future
        if length not in self._starts:
            self._starts[length] = torch.nonzero(self._left >= length)[:, 0]
        starts = self._starts[length]
        chosen = starts[torch.randint(len(starts), (batch,), generator=generator)]
        frames = self._frames[chosen[:, None] + torch.arange(length)]
        if self._augmented:
            frames = augment(frames, generator, self._layout, self._mirror)
        return frames, split


def fit(scaling: Scaling, tracks: Tracks) -> None:
    """Set the statistics of `scaling` from `tracks`; cuts hardly count for the std of changes."""
    frames = np.concatenate([clip.frames for clip in tracks.clips]).astype(np.float64)
    changes = np.concatenate([np.diff(clip.frames, axis=0) for clip in tracks.clips]).astype(np.float64)
    bound = LIMIT * np.median(np.abs(changes), axis=0) / 0.6745 + MIN_STEP
    step = np.clip(changes, -bound, bound).std(axis=0)
    scaling.mean.copy_(torch.from_numpy(frames.mean(axis=0)))
    scaling.std.copy_(torch.from_numpy(frames.std(axis=0).clip(MIN_STD)))
    scaling.step.copy_(torch.from_numpy(step.clip(MIN_STEP)))


def digest(tracks: Tracks) -> str:
    """Return a short fingerprint of the frames of `tracks`."""
    total = hashlib.sha256(tracks.tracks_of.encode())
    for clip in tracks.clips:
        total.update(np.ascontiguousarray(clip.frames).tobytes())
    return total.hexdigest()[:16]
