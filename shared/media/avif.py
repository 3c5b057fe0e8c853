"""A square picture as one AV1 frame without its AVIF container: 275 bytes less, and a parser less to trust.

What goes over the wire is the AV1 bitstream (https://aomediacodec.github.io/av1-spec, sections 5.3 to 5.5):

    12 00           temporal delimiter
    0a n ...        sequence header: still picture, reduced header, its size, 8 bits, 4:2:0 or 4:4:4
    32 n ...        one frame, to the end

A reduced still picture header leaves a frame no size of its own (section 5.9.5), so what the sequence header
says is what a decoder allocates. The receiver builds the container, whose every byte but two lengths and the
subsampling is fixed; nothing of it is the peer's.
"""

from __future__ import annotations

import struct

from shared.errors import PeerError

_DELIMITER, _SEQUENCE, _FRAME = b"\x12\x00", 0x0A, 0x32
_LONGEST_SEQUENCE = 32
_PROFILES = {0: (b"MA1B", 0x00, 0x0C), 1: (b"MA1A", 0x20, 0x00)}
"""By AV1 profile, 4:2:0 and 4:4:4: the brand, and the second and third byte of the codec configuration."""
# BT.709 primaries, sRGB transfer, BT.601 matrix, full range: what Pillow writes.
_COLOUR = (1, 13, 6, 0x80)


def is_frame(data: bytes) -> bool:
    """Say whether `data` begins as a bare frame does; no JPEG does."""
    return data[:2] == _DELIMITER


def wrap(frame: bytes, size: int) -> bytes:
    """Return the AVIF file of a peer's bare frame. Raise PeerError unless it is a still picture so large."""
    brand, profile, subsampling = _PROFILES[_check(frame, size)]
    file_type = _box(b"ftyp", b"avif" + bytes(4) + b"avifmif1miaf" + brand)
    configuration = _box(b"av1C", bytes((0x81, profile, subsampling, 0)))
    # The frame's place depends on the length of what names it, which its value does not change.
    before = len(file_type) + len(_meta(configuration, size, 0, 0)) + 8
    return file_type + _meta(configuration, size, before, len(frame)) + _box(b"mdat", frame)


def unwrap(file: bytes, size: int) -> bytes:
    """Return the bare frame of an AVIF file of our own making, a picture `size` pixels square.

    Raise ValueError where it has no such form.
    """
    at = 0
    while at + 8 <= len(file):
        length, kind = struct.unpack_from(">I4s", file, at)
        if kind == b"mdat":
            frame = file[at + 8 : at + length]
            try:
                _check(frame, size)
            except PeerError as error:
                raise ValueError(f"the encoder made another kind of picture: {error}") from error
            return frame
        at += max(8, length)
    raise ValueError("the encoder made no media data")


def _check(frame: bytes, size: int) -> int:
    """Return the AV1 profile of a bare frame, 0 or 1; PeerError for anything but the form above."""
    if len(frame) < 4 or frame[:2] != _DELIMITER or frame[2] != _SEQUENCE or frame[3] > _LONGEST_SEQUENCE:
        raise PeerError("The source picture is not a single AV1 frame.")
    end = 4 + frame[3]
    profile = _sequence(frame[4:end], size)
    if frame[end : end + 1] != bytes((_FRAME,)):
        raise PeerError("The source picture is not a single AV1 frame.")
    length, start = _leb128(frame, end + 1)
    if length == 0 or start + length != len(frame):
        raise PeerError("The source picture's AV1 frame does not end where it says.")
    return profile


def _sequence(header: bytes, size: int) -> int:
    """Read a sequence header (section 5.5.1) and return its profile."""
    bits = _Bits(header)
    profile, still, reduced = bits.take(3), bits.take(1), bits.take(1)
    if profile not in _PROFILES or not (still and reduced):
        raise PeerError("The source picture is not an AV1 still picture of a main profile.")
    bits.take(5)  # level
    wide, high = bits.take(4) + 1, bits.take(4) + 1
    width, height = bits.take(wide) + 1, bits.take(high) + 1
    if (width, height) != (size, size):
        raise PeerError(f"The source picture is {width}x{height}, not {size}x{size}.")
    bits.take(6)  # coding tools
    deep = bits.take(1)
    grey = profile == 0 and bits.take(1)
    colour = tuple(bits.take(8) for _ in range(3)) if bits.take(1) else None
    if deep or grey or colour != _COLOUR[:3] or not bits.take(1):
        raise PeerError("The source picture is not plain RGB of 8 bits.")
    bits.take(1 if profile else 3)  # where chroma is sampled, and how it is quantised
    if bits.take(1):
        raise PeerError("The source picture comes with synthetic film grain.")
    return profile


class _Bits:
    """Reads numbers of bits, the highest first; PeerError past the end."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data), 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise PeerError("The source picture's AV1 header is cut short.")
        return self._value >> self._left & (1 << count) - 1


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at `at` (section 4.10.5) and where it ends."""
    value = 0
    for place, byte in enumerate(data[at : at + 4]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    raise PeerError("The source picture's AV1 frame does not say where it ends.")


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _full(kind: bytes, content: bytes, version: int = 0) -> bytes:
    return _box(kind, bytes((version, 0, 0, 0)) + content)


def _meta(configuration: bytes, size: int, offset: int, length: int) -> bytes:
    """Return the description of one item, `length` bytes from `offset` on (ISO/IEC 14496-12, 23008-12)."""
    properties = (
        _full(b"ispe", struct.pack(">II", size, size))
        + _full(b"pixi", bytes((3, 8, 8, 8)))
        + configuration
        + _box(b"colr", b"nclx" + struct.pack(">HHHB", *_COLOUR))
    )
    place = struct.pack(">BBHHHHII", 0x44, 0, 1, 1, 0, 1, offset, length)
    item = _full(b"infe", struct.pack(">HH4s", 1, 0, b"av01") + b"\0", 2)
    # Item 1 has all four properties; the codec's configuration is essential.
    has = struct.pack(">IHB", 1, 1, 4) + bytes((1, 2, 0x83, 4))
    return _full(
        b"meta",
        _full(b"hdlr", bytes(4) + b"pict" + bytes(13))
        + _full(b"pitm", struct.pack(">H", 1))
        + _full(b"iloc", place)
        + _full(b"iinf", struct.pack(">H", 1) + item)
        + _box(b"iprp", _box(b"ipco", properties) + _full(b"ipma", has)),
    )
