"""Tables of the coded profile: a quantizer and probability tables, one file next to a backbone's weights.

Both ends of a call must hold the same ones; their hash stands in the hello.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from shared.codec.entropy import MASS, CdfTables, Writer
from shared.codec.quantization import TransformQuantizer
from shared.codec.temporal import SLOPE_BITS, slopes
from shared.errors import RequestError

MAX_BYTES = 1 << 20
LEVELS = 6
"""Liveliness levels of a frame: each one's numbers are usually twice as large as those of the one before."""
SCALES_A_LEVEL = 4
SCALES_A_QUALITY = SCALES_A_LEVEL // 2
TILT_BITS = 4
_SCALES = ("first", "course", "tilt", "change")


@dataclass(frozen=True, eq=False)
class CodecTables:
    """Everything a codec needs, as whole numbers, and what the picture makes of an error.

    Scales are those at quality 0: `first` (D,) of a packet's mean over time, were it of one frame; `course`
    (D,) of its further coefficients (see `shared.codec.temporal`) at level 0, where `tilt` (D,) is how much
    larger slow ones are than quick ones, in sixteenths of what they are in a random walk; `change` (D,) of a
    change from frame to frame at level 0. `levels` (LEVELS + 1, LEVELS) is how likely a level is after
    another (the last row: at the start). `sensitivity` (D, D) float32, symmetric, is the mean squared error
    of the picture (in [0, 1]) per squared error of the keypoints: the one number here that no decoding rests
    on.
    `tracks_of` is the fingerprint of the detector whose keypoints they are for.
    """

    quantizer: TransformQuantizer
    cdfs: CdfTables
    first: npt.NDArray[np.int16]
    course: npt.NDArray[np.int16]
    tilt: npt.NDArray[np.int16]
    change: npt.NDArray[np.int16]
    levels: npt.NDArray[np.uint16]
    sensitivity: npt.NDArray[np.float32]
    tracks_of: str

    def __post_init__(self) -> None:
        """Raise ValueError where they do not fit each other."""
        for name in _SCALES:
            array = getattr(self, name)
            if array.shape != (self.dimensions,) or array.dtype != np.int16:
                raise ValueError(f"{name} is {array.dtype} {array.shape}")
        if self.levels.shape != (LEVELS + 1, LEVELS) or self.levels.dtype != np.uint16:
            raise ValueError(f"levels is {self.levels.dtype} {self.levels.shape}")
        if not self.levels.all() or (self.levels.sum(1, dtype=np.int64) != MASS).any():
            raise ValueError("the levels do not add up")
        shape = (self.dimensions, self.dimensions)
        if self.sensitivity.shape != shape or not np.isfinite(self.sensitivity).all():
            raise ValueError(f"the sensitivity is no {shape} matrix of numbers")

    def block_scales(self, count: int) -> npt.NDArray[np.int64]:
        """Return the scales (count, D) of a block's coefficients at quality and level 0."""
        slope = SCALES_A_LEVEL * slopes(count)
        first = self.first.astype(np.int64) + (slope[0] >> SLOPE_BITS)
        further = self.course + (self.tilt * slope[1:, None] >> (SLOPE_BITS + TILT_BITS))
        return np.concatenate([first[None], further])

    @property
    def dimensions(self) -> int:
        """D, how many numbers a frame has."""
        return self.quantizer.dimensions

    @cached_property
    def hash(self) -> str:
        """Return the first 16 hex digits of SHA-256 over all that decoding rests on.

        That is the tables, and the bytes that the installed entropy coder makes of them: two sides whose
        coders differ refuse each other in the hello, where they would read nonsense. It takes some 3 ms.
        """
        digest = hashlib.sha256(self._every_symbol())
        for name, array in sorted(self._arrays().items()):
            if name != "sensitivity":
                little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"))
                digest.update(f"{name} {array.dtype.str[1:]} {array.shape}\0".encode() + little.tobytes())
        return digest.hexdigest()[:16]

    def _every_symbol(self) -> bytes:
        """Return the code of each number of each table, escapes included, and of each level."""
        writer, cdfs = Writer(), self.cdfs
        numbers = np.arange(-cdfs.width - 1, cdfs.width + 2)
        for scale in range(cdfs.scales):
            writer.numbers(numbers, np.full(len(numbers), scale), cdfs)
        for likely in self.levels.astype(np.float32):
            for level in range(LEVELS):
                writer.chosen(level, likely)
        return writer.bytes()

    def save(self, path: Path) -> None:
        """Write them to `path`. Raise RequestError where that fails."""
        try:
            path.write_bytes(save(self._arrays(), {"tracks_of": self.tracks_of}))
        except (OSError, SafetensorError) as error:
            raise RequestError(f"Cannot write {path} ({error}); choose another place.") from error

    @classmethod
    def load(cls, path: Path) -> CodecTables:
        """Read what `save` wrote. Raise RequestError where it is missing, damaged or something else."""
        try:
            _check_size(path)
            with safe_open(path, framework="np") as file:
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
                tracks_of = (file.metadata() or {}).get("tracks_of", "")
            named = {name: arrays[name] for name in (*_SCALES, "levels", "sensitivity")}
            quantizer = TransformQuantizer(arrays["matrix"], arrays["mean"])
            return cls(quantizer, CdfTables(arrays["counts"]), **named, tracks_of=tracks_of)
        except KeyError as error:
            raise RequestError(
                f"The codec tables {path} are of another version: they have no {error}; make them again with "
                "python -m models.training codec, or use --preset paper."
            ) from error
        except (OSError, SafetensorError, ValueError) as error:
            raise RequestError(
                f"The codec tables {path} cannot be used ({error}); use intact ones, or --preset paper."
            ) from error

    def _arrays(self) -> dict[str, np.ndarray]:
        return {
            "matrix": self.quantizer.matrix, "mean": self.quantizer.mean, "counts": self.cdfs.counts,
            **{name: getattr(self, name) for name in _SCALES}, "levels": self.levels,
            "sensitivity": self.sensitivity,
        }  # fmt: skip


def _check_size(path: Path) -> None:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{size} bytes are too many")
