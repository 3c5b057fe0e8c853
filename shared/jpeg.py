"""What a peer's JPEG would cost to decode, told by its markers (ITU-T T.81, annex B) before it is read.

Decoding takes a few milliseconds for 256x256 pixels, however many bytes they come from; scans without content
take 10 us each, and Pillow reads the segments before the first one at 5 us each. Both fit a file by the ten
thousand.
"""

from __future__ import annotations

from shared.errors import PeerError

_MARKER, _START, _SCAN = 0xFF, b"\xff\xd8", b"\xff\xda"
MOST_SEGMENTS = 64
"""Before the first scan; ordinary files have ten to twenty."""
MOST_SCANS = 3
"""A sequential picture has one, or one a colour."""


def check(data: bytes) -> None:
    """Raise PeerError unless `data` begins as a JPEG of few segments and scans."""
    at = 2
    for _ in range(MOST_SEGMENTS):
        if data[:2] != _START or at + 4 > len(data) or data[at] != _MARKER:
            raise PeerError("The source picture is not a readable JPEG.")
        if data[at : at + 2] == _SCAN:
            break
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    else:
        raise PeerError(f"The source picture has over {MOST_SEGMENTS} segments before its first scan.")
    # Within a scan 0xff is followed by 0, so this finds no content.
    scans = data.count(_SCAN, at)
    if scans > MOST_SCANS:
        raise PeerError(f"The source picture has {scans} scans; at most {MOST_SCANS} are read.")
