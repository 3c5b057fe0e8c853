"""Fragmented mp4 files as boxes (ISO/IEC 14496-12): where the last whole fragment ends."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

_HEADER = struct.Struct(">I4s")
_LARGE = struct.Struct(">Q")


def cut_to_whole_fragments(path: Path) -> None:
    """Remove a fragment that is not complete from the end of the file. Raises OSError."""
    with path.open("r+b") as file:
        file.truncate(_whole_bytes(file, os.fstat(file.fileno()).st_size))


def _whole_bytes(file: BinaryIO, size: int) -> int:
    """Return where the last media data that is whole ends, or the header before all fragments."""
    whole = offset = 0
    while offset + _HEADER.size <= size:
        file.seek(offset)
        length, kind = _HEADER.unpack(file.read(_HEADER.size))
        if length == 1:
            length = _LARGE.unpack(file.read(_LARGE.size).rjust(_LARGE.size, b"\0"))[0]
        if length < _HEADER.size or offset + length > size:
            break
        offset += length
        if kind in (b"moov", b"mdat"):
            whole = offset
    return whole
