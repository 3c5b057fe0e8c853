"""Audio playout: plays the sound of a call in time with its pictures."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Protocol

from receiver.audio_jitter_buffer import MAX_WAITING, AudioJitterBuffer
from receiver.playout import Playout
from shared.clock import Clock
from shared.media.opus import RATE, SAMPLES, Sound
from shared.media.voice_packet import BLOCK_SECONDS, SAMPLES_PER_FRAME
from shared.protocol.events import VoiceArrived
from shared.protocol.tally import VoiceTally

PIECE = 960
"""Samples handed to the sinks at once: 20 ms."""
_NAP_SECONDS = 0.01
_LOST_SECONDS = 0.25
_RECENT = 64
_LOSS = 0.03


class Speaker(Protocol):
    """Output of sound: `receiver.sinks.Sinks`, for one."""

    @property
    def lead(self) -> float:
        """Seconds before it is heard that sound is wanted."""
        ...

    def expect_sound(self) -> None:
        """Make ready for sound, which may take seconds."""
        ...

    def hear(self, first: int, sound: Sound, heard_at: float) -> None:
        """Take samples from `first` on, ascending, to be heard at `heard_at` (monotonic seconds)."""
        ...


class AudioPlayout:
    """Decodes what arrives and hands it on, 20 ms after 20 ms, on the timeline of the pictures.

    `speaker` gets it its `lead` before it is to be heard. That moment slides with the timeline; a sink that
    plays in real time makes up for it. Decoding, and all that the speaker does, runs in `executor`, which is
    single-threaded. `tally` knows how many blocks were sent, and how many came; those that are missing are
    counted in it.
    """

    def __init__(
        self,
        playout: Playout,
        clock: Clock,
        speaker: Speaker,
        executor: Executor,
        tally: VoiceTally | None = None,
    ) -> None:
        self._playout = playout
        self._clock = clock
        self._speaker = speaker
        self._executor = executor
        self._arrived: deque[tuple[int, bytes]] = deque()
        self._recent: deque[tuple[int, int]] = deque(maxlen=_RECENT)
        self._tally = tally or VoiceTally()
        self._track = AudioJitterBuffer(self._tally)

    def arrived(self, event: VoiceArrived) -> None:
        """Take a block in."""
        if len(self._arrived) < MAX_WAITING:
            self._arrived.append((event.number, event.payload))
        self._recent.append((self._tally.expected, self._tally.received))
        # Where some are lost, the next one, which carries a copy, has to be here as well.
        waits = BLOCK_SECONDS if self._lossy() else 0.0
        first = event.number * SAMPLES / SAMPLES_PER_FRAME
        self._playout.sound_arrived(first, self._clock.now() + self._speaker.lead + waits)

    async def prepare(self) -> None:
        """Have the speaker make ready."""
        await self._do(self._speaker.expect_sound)

    async def settled(self) -> None:
        """Return once the speaker gets nothing more of what was under way; `run` has to have ended."""
        await self._do(lambda: None)

    async def run(self, offset: Callable[[], float]) -> None:
        """Hand sound on for ever, `offset` seconds after it is due. The timeline must have started."""
        position = self._present(offset())
        while True:
            now = self._clock.now()
            lead = self._speaker.lead
            if abs(self._heard_at(position, offset()) - lead - now) > _LOST_SECONDS:
                # The machine slept, or the timeline jumped; or sample 0 is not due for long.
                position = self._present(offset())
            heard_at = self._heard_at(position, offset())
            wait = heard_at - lead - now
            if wait <= 0:
                await self._do(self._hand_on, position, heard_at)
                position += PIECE
            # At each turn, also to catch up: everything else waits in the same loop.
            await self._clock.sleep_until(now + min(max(wait, 0.0), _NAP_SECONDS))

    def _hand_on(self, position: int, heard_at: float) -> None:
        while self._arrived:
            self._track.put(*self._arrived.popleft())
        self._speaker.hear(position, self._track.read(position, PIECE), heard_at)

    async def _do(self, work: Callable[..., None], *arguments: object) -> None:
        await asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)

    def _heard_at(self, position: int, offset: float) -> float:
        return self._playout.due(position / SAMPLES_PER_FRAME) + offset

    def _present(self, offset: float) -> int:
        """Return the sample to hand on now."""
        into = self._clock.now() + self._speaker.lead - offset - self._playout.due(0)
        return max(round(into * RATE), 0)

    def _lossy(self) -> bool:
        expected = self._recent[-1][0] - self._recent[0][0]
        lost = expected - (self._recent[-1][1] - self._recent[0][1])
        return expected > 0 and lost / expected > _LOSS
