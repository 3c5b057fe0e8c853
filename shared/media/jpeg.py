"""Decoding cost of a peer's JPEG, estimated from its markers (ITU-T T.81, annex B) before it is read.

Decoding takes a few milliseconds for 256x256 pixels, however many bytes they come from; scans without content
take 10 us each, and Pillow reads the segments before the first one at 5 us each, and each field of what a
camera says in them (Exif) at 10 us. All of these fit a file by the ten thousand.
"""

from __future__ import annotations

from shared.errors import PeerError

_MARKER, _START, _SCAN = 0xFF, b"\xff\xd8", b"\xff\xda"
# Frames (sequential and progressive, Huffman), their tables, restarts, applications' own, and comments. Of
# others Pillow, libjpeg and this module need not agree on where they end.
_KNOWN = frozenset((0xC0, 0xC1, 0xC2, 0xC4, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE))
MAX_SEGMENTS, MAX_BYTES = 64, 4096
"""Before the first scan; a file of ours has ten, of 600 bytes."""
MAX_SCANS = 3
"""A sequential picture has one, or one a colour."""
_UNREADABLE = "The source picture is not a readable JPEG."


def check(data: bytes) -> None:
    """Raise PeerError unless `data` begins as a JPEG of few and short segments, and has few scans."""
    if data[:2] != _START:
        raise PeerError(_UNREADABLE)
    at, segments = 2, 0
    while data[at : at + 2] != _SCAN:
        at, segments = _after(data, at), segments + 1
        if segments > MAX_SEGMENTS or at > MAX_BYTES:
            raise PeerError(
                f"The source picture has over {MAX_SEGMENTS} segments, or {MAX_BYTES} bytes, before its "
                "first scan."
            )
    # Within a scan 0xff is followed by 0, so this finds no content.
    scans = data.count(_SCAN, at)
    if scans > MAX_SCANS:
        raise PeerError(f"The source picture has {scans} scans; at most {MAX_SCANS} are read.")


def _after(data: bytes, at: int) -> int:
    """Return where the segment at `at` ends. Raise PeerError where there is none that is known."""
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    if at + 4 > len(data) or data[at] != _MARKER or data[at + 1] not in _KNOWN or length < 2:
        raise PeerError(_UNREADABLE)
    return at + 2 + length
