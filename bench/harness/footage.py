"""Footage: the first seconds of a clip, as a call takes it in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.harness.clip_set import Clip, ClipError
from sender.capture import open_source
from shared.constants import FPS
from shared.errors import KeycastError
from shared.keypoints import Pictures


@dataclass(frozen=True, eq=False)
class Footage:
    """A stretch of a clip: its different `frames`, and which of them each 1/30 s of a call shows.

    `shown` rises from 0 and is as long as the stretch, in 1/30 s.
    """

    frames: Sequence[Pictures]
    shown: Sequence[int]

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.shown) / FPS

    @property
    def fps(self) -> float:
        """Different frames per second: the clip's own rate, at most 30."""
        return len(self.frames) / self.seconds


def film(clip: Clip, seconds: float) -> Footage:
    """Return the first `seconds` of `clip` as a call takes it in. Raises ClipError where it is not sound."""
    frames: list[Pictures] = []
    shown: list[int] = []
    try:
        source = open_source(str(clip.file.absolute()))
        try:
            while len(shown) < round(seconds * FPS) and (now := source.frame(len(shown))) is not None:
                # Where the clip has fewer than 30 per second, a source repeats the very picture, not a copy.
                if not frames or now is not frames[-1]:
                    frames.append(now)
                shown.append(len(frames) - 1)
        finally:
            source.close()
    except KeycastError as error:
        raise ClipError(str(error)) from error
    if len(frames) < 2:
        raise ClipError(f"{clip} has fewer than two frames.")
    return Footage(frames, shown)
