"""Keypoints to bytes and back. A payload stands for itself: no packet needs another packet."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from shared.errors import PeerError, RequestError
from shared.keypoints import DIMENSIONS, Floats

MAX_MAGNITUDE = 1e3
"""Positions lie in [-1, 1] and Jacobians near it; anything past this is broken or hostile."""


class Codec(Protocol):
    """A wire profile. `tables` is the hash of the tables both sides must share, "" where there are none."""

    name: str
    tables: str

    def encode(self, frames: Floats) -> bytes:
        """Code consecutive frames (T, 60), finite, T >= 1."""
        ...

    def decode(self, payload: bytes, count: int) -> Floats:
        """Return a peer's frames (count, 60). Raise PeerError where the payload is not sound."""
        ...

    def max_frames(self, limit_bytes: int) -> int:
        """Say how many frames surely fit `limit_bytes`; 0 when not even one does."""
        ...


class PaperCodec:
    """Raw little-endian float32: 240 bytes a frame, as published; 57.6 kbps at 30 fps."""

    name = "paper"
    tables = ""
    frame_bytes = 4 * DIMENSIONS

    def encode(self, frames: Floats) -> bytes:
        """Code consecutive frames (T, 60). Raise ValueError on another shape."""
        if frames.ndim != 2 or frames.shape[1] != DIMENSIONS or len(frames) == 0:
            raise ValueError(f"frames have the shape {frames.shape}, not (T, {DIMENSIONS})")
        return np.ascontiguousarray(frames, dtype="<f4").tobytes()

    def decode(self, payload: bytes, count: int) -> Floats:
        """Return (count, 60). Raise PeerError on a wrong size, NaN, infinity or a number past 1e3."""
        if count < 1 or len(payload) != count * self.frame_bytes:
            raise PeerError(f"A payload of {len(payload)} bytes does not hold {count} frames.")
        frames = np.frombuffer(payload, dtype="<f4").astype(np.float32).reshape(count, DIMENSIONS)
        # NaN fails the comparison as well.
        if not bool(np.all(np.abs(frames) <= MAX_MAGNITUDE)):
            raise PeerError("A payload holds keypoints that are not plausible numbers.")
        return frames

    def max_frames(self, limit_bytes: int) -> int:
        """Say how many frames fit `limit_bytes`."""
        return max(0, limit_bytes) // self.frame_bytes


_CODECS: dict[str, type[PaperCodec]] = {PaperCodec.name: PaperCodec}


def codec_by_name(name: str) -> Codec:
    """Return the codec called `name`. Raise RequestError when there is none."""
    if name not in _CODECS:
        raise RequestError(f"There is no codec {name!r}; choose from: {', '.join(sorted(_CODECS))}.")
    return _CODECS[name]()
