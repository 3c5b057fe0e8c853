"""The sound of a call at the sender: coded in 60 ms packets, each sent as soon as it is complete."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from sender.reconnecting import ResumingCall
from sender.sound import SoundSource
from shared.clock import Clock
from shared.media.opus import RATE, SAMPLES, OpusEncoder, Sound
from shared.media.voice_packet import BLOCK_SECONDS, MAX_LOAD, SAMPLES_PER_FRAME
from shared.protocol.sender_session import SenderSession

VOICE_KBPS = 18.0
"""Of Opus while somebody speaks, at most; over the pauses of speech it is about three quarters of that."""
REFUSED = "The receiver does not accept sound; the call continues without it."
_MAX_LAG = 8
_FADE = RATE // 100


@dataclass(frozen=True)
class _Origin:
    """Block 0 begins with the source's sample `first`, at `at` (monotonic seconds)."""

    first: int
    at: float


class Voice:
    """Sends what `source` has to say. `executor` is single-threaded and owns source and encoder.

    Frame n and sample 1600 n are the same moment, so the receiver needs no clock to keep them together.
    `notify` is given a sentence where the receiver takes no sound.
    """

    def __init__(
        self,
        source: SoundSource,
        encoder: OpusEncoder,
        clock: Clock,
        executor: Executor,
        notify: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._source = source
        self._encoder = encoder
        self._clock = clock
        self._executor = executor
        self._notify = notify
        self._origin: _Origin | None = None
        self._begun = asyncio.Event()
        self._loss = 0
        self._spoken = 0
        self._carried = b""
        self._due = 0.0
        self._opened, self._closed = -math.inf, math.inf
        self._was_open = False

    @property
    def muted(self) -> bool:
        """Whether nothing of the source is sent."""
        return self._closed < math.inf

    def mute(self, muted: bool) -> None:
        """Send silence instead of what is said from now on, or the source again; in whole blocks.

        The source is read on meanwhile. After a block that fades, nothing leaves.
        """
        if muted and not self.muted:
            self._closed = self._clock.now()
        elif self.muted and not muted:
            self._opened, self._closed = self._clock.now(), math.inf

    def begin(self, start: float, base: int) -> None:
        """Count from frame `base` on, where frame 0 of the video was at `start` (monotonic seconds)."""
        first = base * SAMPLES_PER_FRAME
        if self._origin is None:
            self._source.begin(start)
        self._origin = _Origin(first, start + first / RATE)
        self._begun.set()

    def expect_loss(self, percent: int) -> None:
        """Be prepared to lose so many packets in a hundred."""
        self._loss = percent

    @property
    def leaves(self) -> float | None:
        """When the next packet leaves that has room (monotonic s); None in a pause, or if it is full."""
        # In a pause Opus says now and then, in one packet, what kind of silence it is.
        return self._due if self._spoken > 1 and not self._carried else None

    def carry(self, keypoints: bytes) -> bool:
        """Take a keypoint packet along in the packet that `leaves`; False where it cannot.

        Should the next block turn out to be a pause, it leaves alone.
        """
        if self.leaves is None or len(keypoints) > MAX_LOAD:
            return False
        self._carried = keypoints
        return True

    async def run(self, call: ResumingCall, session: SenderSession) -> None:
        """Send block after block, for ever. Raises KeycastError where the source fails."""
        await self._begun.wait()
        if session.refuses_voice:
            self._notify(REFUSED)
        origin, number = self._origin, -1
        while True:
            if origin is not self._origin:
                origin, number = self._origin, -1
            assert origin is not None
            number = self._after(origin, number)
            self._due = origin.at + self._end(number) / RATE + self._source.lag
            await self._clock.sleep_until(self._due)
            payload = b""
            if origin is self._origin and call.streaming and session.takes_voice:
                payload = await self._coded(origin, number)
            self._send(call, session, number, payload if origin is self._origin else b"")

    def _send(self, call: ResumingCall, session: SenderSession, number: int, payload: bytes) -> None:
        """Send block `number`, where it is no pause, and what it takes along in any case."""
        load, self._carried = self._carried, b""
        self._spoken = self._spoken + 1 if payload and call.streaming else 0
        if self._spoken:
            call.connection.send_voice(session.voice(number, payload, load))
        elif load and call.streaming:
            call.connection.send_kp(load)

    def _end(self, number: int) -> int:
        """Return how many samples the block needs to be there. A decoder is late by what the encoder is."""
        return (number + 1) * SAMPLES + self._encoder.delay

    def _after(self, origin: _Origin, number: int) -> int:
        """Return the block after `number`, or where time has gone on without it, the present one."""
        present = int((self._clock.now() - origin.at) * RATE) // SAMPLES
        return number + 1 if present - number <= _MAX_LAG and number >= 0 else max(present, number + 1)

    async def _coded(self, origin: _Origin, number: int) -> bytes:
        # Read ahead by the encoder's delay: what the decoder gives out then is in its place.
        ahead = number * SAMPLES + self._encoder.delay
        begins = origin.at + ahead / RATE
        is_open = self._opened <= begins and begins + BLOCK_SECONDS <= self._closed

        def work() -> bytes:
            self._encoder.expect_loss(self._loss)
            was_open = self._was_open
            sound = self._gated(self._source.read(origin.first + ahead, SAMPLES), is_open)
            # Nothing at all, not even what kind of silence it is.
            return self._encoder.encode(sound) if was_open or is_open else b""

        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def _gated(self, sound: Sound, is_open: bool) -> Sound:
        """Return `sound`, or silence where it is not open; what changes does so without a click."""
        was_open, self._was_open = self._was_open, is_open
        if was_open and is_open:
            return sound
        gate = np.full(len(sound), float(is_open))
        gate[:_FADE] = np.linspace(was_open, is_open, _FADE)
        return np.asarray(sound * gate, np.int16)
