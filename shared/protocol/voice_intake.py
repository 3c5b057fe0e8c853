"""Intake of sound packets at the receiver: checked, counted, and no more than it can use."""

from __future__ import annotations

from shared.errors import PeerError
from shared.media.voice_packet import BLOCK_SECONDS, VoicePacket
from shared.protocol.arrivals import MODULUS, SequenceTracker
from shared.protocol.events import VoiceArrived
from shared.protocol.limits import RateLimit
from shared.protocol.tally import VoiceTally
from shared.runtime.logs import logger

log = logger("session")
MAX_BAD = 200
PER_SECOND, AT_ONCE = 40.0, 100.0
"""A sender sends 17 per second; what a stalled path lets go at once is more."""
FLOOD_SECONDS = 5.0
MAX_AWAY = round(60 / BLOCK_SECONDS)
"""Blocks that sound may be away from where time has got to."""


class VoiceIntake:
    """Reads sound packets, counted in `tally`. Bad ones are dropped, as if lost, until they are too many."""

    def __init__(self, tally: VoiceTally) -> None:
        self._tally = tally
        self._limit = RateLimit(PER_SECOND, AT_ONCE)
        self._newest_count = 0
        self._arrivals = SequenceTracker()
        self._before = (0, 0)

    def restart(self) -> None:
        """Over a new connection, packets are counted from 0 again."""
        self._before = (self._tally.expected, self._tally.received)
        self._arrivals, self._newest_count = SequenceTracker(), 0

    def take(self, data: bytes, now: float, near: float | None) -> tuple[VoiceArrived | None, bytes]:
        """Return what `data`, which arrived at `now` (seconds), holds; None where it is dropped.

        And the keypoint packet that has travelled along, b"" for none.

        `near` is the number of the block whose moment it is; None: no sound is wanted.
        Raise PeerError where the sender floods, or sends broken packets again and again.
        """
        if not self._limit.allows(now):
            self._tally.flood += 1
            if self._tally.flood == 1:
                log.debug("receiver: sound packets come too fast; those over the limit are dropped")
            if self._limit.seconds_over(now) > FLOOD_SECONDS:
                raise PeerError("The sender floods the call with sound packets.")
            return None, b""
        if near is None:
            self._tally.unasked += 1
            return None, b""
        try:
            return self._read(data, round(near))
        except PeerError as error:
            self._tally.bad += 1
            if self._tally.bad == 1:
                log.debug("receiver: a sound packet is broken: %s", error)
            if self._tally.bad > MAX_BAD:
                raise PeerError(f"The sender sent over {MAX_BAD} broken sound packets.") from error
            return None, b""

    def _read(self, data: bytes, near: int) -> tuple[VoiceArrived | None, bytes]:
        packet = VoicePacket.parse(data, near + MAX_AWAY, self._newest_count)
        self._newest_count = max(self._newest_count, packet.count)
        self._arrivals.came(packet.count % MODULUS)
        expected, received = self._before
        self._tally.expected = expected + self._arrivals.expected
        self._tally.received = received + self._arrivals.received
        # Or too early: where a clock stood still, pictures soon tell (see `FrameClock`).
        if abs(packet.number - near) > MAX_AWAY:
            self._tally.late += 1
            return None, packet.keypoints
        self._tally.packets += 1
        self._tally.bytes += len(packet.payload)
        return VoiceArrived(packet.number, packet.payload), packet.keypoints
