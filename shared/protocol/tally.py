"""Counters of one side of a call. Sessions and buffers count in it, reports read it; nobody counts twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class VoiceTally:
    """Sound packets of a call so far, sent by its sender or taken in by its receiver."""

    packets: int = 0
    bytes: int = 0
    """Of Opus."""
    expected: int = 0
    """How many were sent, up to the newest that came."""
    received: int = 0
    """How many of `expected` have come."""
    bad: int = 0
    flood: int = 0
    unasked: int = 0
    late: int = 0
    """After their moment, or far from it."""
    recovered: int = 0
    """Blocks that were missing, and of which the next one held a copy."""
    filled: int = 0
    """Blocks that were missing, and had to be guessed."""


@dataclass
class Tally:
    """Everything that one side of a call counts, over all of its connections, one after the other."""

    packets: int = 0
    """Keypoint packets that were sent, or taken in."""
    frames: int = 0
    payload_bytes: int = 0
    bad_packets: int = 0
    early_packets: int = 0
    flood_packets: int = 0
    late_frames: int = 0
    """After their moment, or of a clock that no longer counts."""
    copied_frames: int = 0
    """Stood in for by a coarse copy when they were due, or until they came."""
    refused_frames: int = 0
    """Too far from the frame that is due."""
    pictures: int = 0
    """Source pictures that the receiver has."""
    picture_bytes: int = 0
    picture_wire_bytes: int = 0
    """All IP bytes of `picture_bytes`."""
    picture_size: int = 0
    """The side of source pictures, in pixels."""
    bad_pictures: int = 0
    voice: VoiceTally = field(default_factory=VoiceTally)
    said: Counter[str] = field(default_factory=Counter)
    """Bytes for the other side of "pictures" and "reports", and of "keypoints" in sound packets."""
    heard: Counter[str] = field(default_factory=Counter)
    """Bytes from it, likewise."""
