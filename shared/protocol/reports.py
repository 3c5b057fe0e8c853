"""Receiver reports, in full and in short: plain numbers, little-endian.

A report, which may be sent twice per second, has 25 bytes:

    byte  0      0x52, which begins no map
    bytes 1-4    keypoint messages received
    bytes 5-8    highest frame number received
    bytes 9-10   delay above the least seen, ms
    bytes 11-12  jitter, ms
    bytes 13-24  frames observed, forecast, held, four bytes each

A short one has 15, and says of its counts what is left of them modulo 65536, or 2**24:

    byte  0      0x53
    bytes 1-2    keypoint messages received
    bytes 3-5    highest frame number received
    bytes 6-7    delay above the least seen, ms
    byte  8      jitter, ms; 255 is 255 or more
    bytes 9-14   frames observed, forecast, held, two bytes each
"""

from __future__ import annotations

import struct
from dataclasses import astuple, dataclass

from shared.errors import PeerError

REPORT_TAG, BRIEF_TAG = 0x52, 0x53
_REPORT = struct.Struct("<BIIHHIII")
_BRIEF = struct.Struct("<BHHBHBHHH")


@dataclass(frozen=True)
class Report:
    """Report of what the receiver has seen; counts up to 2**32 - 1, times up to 65535 ms.

    Frames are counted since the call began, messages since the connection did. `packets` counts the keypoint
    messages that came; how many were sent up to frame `highest` (0 where none has come) the sender knows.
    `delay_ms` is how much longer than the quickest the last ones took at least, `jitter_ms` the interarrival
    jitter of RFC 3550 (6.4.1). Neither needs clocks that agree.
    """

    packets: int = 0
    highest: int = 0
    delay_ms: int = 0
    jitter_ms: int = 0
    frames_observed: int = 0
    frames_forecast: int = 0
    frames_held: int = 0


@dataclass(frozen=True)
class Brief:
    """A report in 15 bytes: its counts modulo 65536, but `highest` modulo 2**24, and `jitter_ms` up to 255.

    What it says in full follows from any report of the last minutes: see `after`.
    """

    packets: int = 0
    highest: int = 0
    delay_ms: int = 0
    jitter_ms: int = 0
    frames_observed: int = 0
    frames_forecast: int = 0
    frames_held: int = 0

    @classmethod
    def of(cls, report: Report) -> Brief:
        """Return `report`, shortened."""
        modulo = {name: getattr(report, name) % modulus for name, modulus in _MODULI.items()}
        return cls(delay_ms=report.delay_ms, jitter_ms=min(report.jitter_ms, _MAX_JITTER_MS), **modulo)

    def after(self, last: Report) -> Report:
        """Return what this says: of the counts that it may stand for, those next to the ones of `last`."""
        whole = {}
        for name, modulus in _MODULI.items():
            before = getattr(last, name)
            step = (getattr(self, name) - before + modulus // 2) % modulus - modulus // 2
            whole[name] = before + step + (modulus if before + step < 0 else 0)
        return Report(delay_ms=self.delay_ms, jitter_ms=self.jitter_ms, **whole)


_MODULI = {
    "packets": 1 << 16, "highest": 1 << 24,
    "frames_observed": 1 << 16, "frames_forecast": 1 << 16, "frames_held": 1 << 16,
}  # fmt: skip
_MAX_JITTER_MS = 255


def pack_report(report: Report) -> bytes:
    """Return the bytes of `report`; ValueError where a number is out of its range."""
    try:
        return _REPORT.pack(REPORT_TAG, *astuple(report))
    except struct.error as error:
        raise ValueError(f"A report holds a number out of its range: {report}.") from error


def parse_report(data: bytes) -> Report:
    """Read a report; PeerError where there are more bytes than one has, or fewer."""
    if len(data) != _REPORT.size:
        raise PeerError(f"A report has {len(data)} bytes, not {_REPORT.size}.")
    _, *numbers = _REPORT.unpack(data)
    return Report(*numbers)


def pack_brief(brief: Brief) -> bytes:
    """Return the bytes of a short report; ValueError where a number is out of its range."""
    packets, highest, *rest = astuple(brief)
    try:
        return _BRIEF.pack(BRIEF_TAG, packets, highest & 0xFFFF, highest >> 16, *rest)
    except struct.error as error:
        raise ValueError(f"A report holds a number out of its range: {brief}.") from error


def parse_brief(data: bytes) -> Brief:
    """Read a short report; PeerError where there are more bytes than one has, or fewer."""
    if len(data) != _BRIEF.size:
        raise PeerError(f"A short report has {len(data)} bytes, not {_BRIEF.size}.")
    _, packets, low, high, *rest = _BRIEF.unpack(data)
    return Brief(packets, low | high << 16, *rest)
