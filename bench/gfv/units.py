"""H.264 in byte streams: units between start codes, and supplemental messages in the units for them.

No three bytes within a unit may look like a start code, so a 3 is put behind any two zeros that a byte up to
3 would follow ("emulation prevention").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bench.gfv.bits import BitstreamError

START = b"\x00\x00\x00\x01"
SEI, IDR, SLICE = 6, 5, 1
_LIKE_A_START = re.compile(rb"\x00\x00(?=[\x00-\x03])")
_END = 0x80


def split(data: bytes) -> list[bytes]:
    """Return the units of a byte stream (Annex B), each from its header byte on."""
    return [unit for part in data.split(b"\x00\x00\x01")[1:] if (unit := part.rstrip(b"\x00"))]


def kind(unit: bytes) -> int:
    """Return the type of a unit, such as `SEI`."""
    return unit[0] & 0x1F


def joined(units: Sequence[bytes]) -> bytes:
    """Return `units` as a byte stream."""
    return b"".join(START + unit for unit in units)


def guarded(data: bytes) -> bytes:
    """Return `data` with emulation prevention."""
    return _LIKE_A_START.sub(b"\x00\x00\x03", data)


def plain(data: bytes) -> bytes:
    """Return what `guarded` was given."""
    return data.replace(b"\x00\x00\x03", b"\x00\x00")


def message_unit(payload_type: int, payloads: Sequence[bytes]) -> bytes:
    """Return one unit with a message of `payload_type` for each of `payloads`."""
    messages = b"".join(_number(payload_type) + _number(len(data)) + data for data in payloads)
    return bytes([SEI]) + guarded(messages + bytes([_END]))


def messages(unit: bytes, payload_type: int) -> Iterator[bytes]:
    """Give the payloads of the messages of `payload_type` in a unit of type `SEI`.

    Raises BitstreamError where a message is longer than the unit.
    """
    data = plain(unit[1:])
    at, end = 0, len(data) - data.endswith(bytes([_END]))
    while at < end:
        found, at = _take_number(data, at)
        size, at = _take_number(data, at)
        if size > end - at:
            raise BitstreamError("a supplemental message is longer than what it stands in")
        if found == payload_type:
            yield data[at : at + size]
        at += size


def _number(value: int) -> bytes:
    return b"\xff" * (value // 255) + bytes([value % 255])


def _take_number(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at `at`, bytes of 255 and a smaller one added up, and where it ends."""
    value = 0
    for end in range(at, len(data)):
        value += data[end]
        if data[end] != 0xFF:
            return value, end + 1
    raise BitstreamError("a supplemental message ends within its header")
