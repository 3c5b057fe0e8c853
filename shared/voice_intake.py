"""What a receiver takes of the sound packets that come: checked, counted, and no more than it can use."""

from __future__ import annotations

from shared.errors import PeerError
from shared.events import VoiceArrived
from shared.limits import RateLimit
from shared.voice import BLOCK_SECONDS, VoicePacket

MAX_BAD = 200
PER_SECOND, AT_ONCE = 40.0, 100.0
"""A sender sends 17 a second; what a stalled path lets go at once is more."""
FLOOD_SECONDS = 5.0
MAX_AWAY = round(60 / BLOCK_SECONDS)
"""Blocks that sound may be away from the newest picture and sound."""


class VoiceIntake:
    """Reads sound packets. Bad ones are dropped, as if lost, until they are too many."""

    def __init__(self) -> None:
        self._limit = RateLimit(PER_SECOND, AT_ONCE)
        self._newest = 0
        self._first_count: int | None = None
        self._newest_count = 0
        self._here = 0
        self._before = (0, 0)
        self.bytes = 0
        self.bad = 0
        self.flood = 0
        self.unasked = 0

    @property
    def packets(self) -> int:
        """How many came that could be read."""
        return self._before[0] + self._here

    @property
    def lost(self) -> int:
        """How many were sent between the first and the last that came, and did not come themselves."""
        return self._before[1] + self._lost_here()

    def restart(self) -> None:
        """Over a new connection, packets are counted from 0 again."""
        self._before = (self.packets, self.lost)
        self._first_count, self._newest_count, self._here = None, 0, 0

    def take(self, data: bytes, now: float, near: float | None) -> VoiceArrived | None:
        """Return what `data`, which arrived at `now` (seconds), holds; None where it is dropped.

        `near` is the number of the block that belongs to the newest picture; None: no sound is wanted.
        Raise PeerError where the sender floods, or sends broken packets again and again.
        """
        if not self._limit.allows(now):
            self.flood += 1
            if self._limit.seconds_over(now) > FLOOD_SECONDS:
                raise PeerError("The sender floods the call with sound packets.")
            return None
        if near is None:
            self.unasked += 1
            return None
        try:
            return self._read(data, round(near))
        except PeerError as error:
            self.bad += 1
            if self.bad > MAX_BAD:
                raise PeerError(f"The sender sent over {MAX_BAD} broken sound packets.") from error
            return None

    def _read(self, data: bytes, near: int) -> VoiceArrived:
        near = max(self._newest, near)
        packet = VoicePacket.parse(data, near, self._newest_count)
        if abs(packet.number - near) > MAX_AWAY:
            raise PeerError(f"A sound packet jumps to block {packet.number}.")
        self._newest = packet.number
        if self._first_count is None:
            self._first_count = self._newest_count = packet.count
        self._first_count = min(self._first_count, packet.count)
        self._newest_count = max(self._newest_count, packet.count)
        self._here += 1
        self.bytes += len(packet.payload)
        return VoiceArrived(packet.number, packet.payload)

    def _lost_here(self) -> int:
        if self._first_count is None:
            return 0
        # Duplicates are counted as they come.
        return max(self._newest_count - self._first_count + 1 - self._here, 0)
