"""Received pictures without loss, as a NumPy array file; measurements are made on these."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from shared.errors import KeycastError
from shared.keypoints import Pictures
from shared.media.squares import scaled
from shared.runtime.output_files import check_writable

_HEADER_BYTES = 128


class RawSink:
    """Writes (T, H, W, 3) uint8 RGB, one picture a frame shown; `numpy.load` reads it at any time.

    The file is made with the first frame, and has its size: those of later calls are scaled to it. A call
    that never began leaves an older file alone.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._count = self._side = 0

    def open(self) -> None:
        """Raise RequestError unless the file can be written."""
        check_writable(self._path)

    def write(self, number: int, picture: Pictures) -> None:  # noqa: ARG002 - the frame's number is kept elsewhere
        """Append one picture; KeycastError when the disk is full."""
        try:
            if self._file is None:
                self._file = self._path.open("wb")
                self._file.write(_header(0, picture))
                self._side = len(picture)
            picture = scaled(picture, self._side)
            self._file.write(picture.tobytes())
            self._count += 1
            # Seeking flushes, so the count is never ahead of the pictures, even when the program is killed.
            self._file.seek(0)
            self._file.write(_header(self._count, picture))
            self._file.seek(0, os.SEEK_END)
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is None:
            return
        try:
            file.close()
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> KeycastError:
        return KeycastError(f"Writing {self._path} failed: {error.strerror}.")


def _header(count: int, picture: Pictures) -> bytes:
    """Return a version 1.0 .npy header of fixed length: it is written again as the count grows."""
    magic = b"\x93NUMPY\x01\x00" + (_HEADER_BYTES - 10).to_bytes(2, "little")
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {(count, *picture.shape)}, }}"
    return magic + text.ljust(_HEADER_BYTES - 11).encode() + b"\n"
