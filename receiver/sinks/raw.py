"""Received pictures without loss, as a NumPy array file; measurements are made on these."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from shared.config import SIZE
from shared.errors import KeycastError, RequestError
from shared.keypoints import Pictures

_HEADER_BYTES = 128


class RawSink:
    """Writes (T, 256, 256, 3) uint8 RGB, one picture for each frame shown; `numpy.load` reads it at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._count = 0

    def open(self) -> None:
        """Create the file; RequestError where that is not possible."""
        try:
            self._file = self._path.open("wb")
            self._file.write(_header(0))
        except OSError as error:
            raise RequestError(f"Cannot write {self._path}: {error.strerror}; choose another --output.") from error

    def write(self, number: int, picture: Pictures) -> None:  # noqa: ARG002 - the frame's number is kept elsewhere
        """Append one picture; KeycastError when the disk is full."""
        if self._file is None:
            return
        try:
            self._file.write(picture.tobytes())
        except OSError as error:
            raise KeycastError(f"Writing {self._path} failed: {error.strerror}.") from error
        self._count += 1

    def close(self) -> None:
        """Write the final count and close."""
        file, self._file = self._file, None
        if file is None:
            return
        try:
            with file:
                file.seek(0)
                file.write(_header(self._count))
        except OSError as error:
            raise KeycastError(f"Writing {self._path} failed: {error.strerror}.") from error


def _header(count: int) -> bytes:
    """Return a version 1.0 .npy header of fixed length, so that it can be written again with the final count."""
    magic = b"\x93NUMPY\x01\x00" + (_HEADER_BYTES - 10).to_bytes(2, "little")
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({count}, {SIZE}, {SIZE}, 3), }}"
    return magic + text.ljust(_HEADER_BYTES - 11).encode() + b"\n"
