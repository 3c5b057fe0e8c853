"""Plays a call: each frame is decided on, drawn and handed to the sink at its moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, TypeVar

from receiver.jitter_buffer import JitterBuffer
from receiver.playout import Playout
from receiver.presentation import PresentationTimes, Processing
from receiver.renderer import Rendered, Renderer
from receiver.sinks import Screen
from receiver.summary import CallSummary, Shown
from shared.clock import Clock
from shared.concealment import Kind
from shared.constants import FPS
from shared.protocol.events import Ended, FramesArrived

SILENCE_SECONDS = 1.0
_NAP_SECONDS = 0.01
# Frames that are rendered and not shown yet. They make up for one that takes longer.
_AHEAD = 2
# The rest of a frame's time is for the sink.
_MAX_OFFSET_SECONDS = 0.8 / FPS
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class _Ready:
    """A rendered frame, when (wall clock, ms) its rendering began, and how many seconds that took."""

    number: int
    rendered: Rendered
    began_ms: int
    seconds: float


class Player:
    """Renders in `inference` and hands to `sink` in `output`, 30 frames per second, on the playout timeline.

    Give it what arrives; `run` begins with the first frames. `note` returns the text for a picture, and hears
    whether that has stood still for a second; every frame is reported to `summary`.
    """

    def __init__(
        self,
        *,
        playout: Playout,
        renderer: Renderer,
        sink: Screen,
        clock: Clock,
        inference: Executor,
        output: Executor,
        summary: CallSummary,
        note: Callable[[bool], str],
    ) -> None:
        self._buffer = JitterBuffer(summary.tally)
        self._playout = playout
        self._renderer = renderer
        self._sink = sink
        self._clock = clock
        self._inference = inference
        self._output = output
        self._summary = summary
        self._note = note
        self._playing = asyncio.Event()
        self._presentation = PresentationTimes(_MAX_OFFSET_SECONDS)
        self._processing = Processing()
        self._ready: asyncio.Queue[_Ready | None] = asyncio.Queue(_AHEAD)
        self._ended: Ended | None = None
        self._stop = False
        self._heard = 0.0

    @property
    def offset(self) -> float:
        """How many seconds after they are due frames are shown."""
        return self._presentation.offset

    def arrived(self, event: FramesArrived, now: float) -> None:
        """Take in frames that came at `now`."""
        self._heard = now
        self._playout.arrived(event.first, now)
        self._buffer.put(event.first, event.frames)
        self._buffer.put_copies(event.copies)
        self._playing.set()

    def end(self, ended: Ended) -> None:
        """The call has ended: where that was in order, what is still buffered is shown."""
        self._ended = ended
        self._playing.set()

    def stop(self) -> None:
        """Show nothing more."""
        self._stop = True

    async def started(self) -> bool:
        """Return once there are frames to show, or the call has ended without any (False)."""
        await self._playing.wait()
        return self._playout.started

    async def run(self) -> None:
        """Render and show one frame each 1/30 s, until the call has ended. Raises what the sink does."""
        if not await self.started():
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._present())
                await self._play()
                await self._ready.put(None)
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    def report(self) -> None:
        """Have the summary know the delays as they are now."""
        processing = self._playout.deciding + self._presentation.offset
        self._summary.delayed(1000 * self._playout.delay, 1000 * processing)

    async def _play(self) -> None:
        number = self._current() + 1
        while self._wants(number):
            self._playout.advance(self._clock.now())
            if not await self._may_begin(number):
                # Where the timeline has jumped back, the picture follows.
                number = min(number, self._current() + 1 + _AHEAD)
                continue
            await self._render(number)
            # Of those that can still be shown before the frame after them is due.
            soonest = self._playout.current(self._clock.now() + self._playout.deciding)
            self._summary.dropped += max(0, soonest - number - 1)
            number = max(number + 1, soonest)

    def _current(self) -> int:
        return self._playout.current(self._clock.now())

    def _wants(self, number: int) -> bool:
        if self._stop:
            return False
        return self._ended is None or (self._ended.ok and self._buffer.following(number - 1) is not None)

    async def _may_begin(self, number: int) -> bool:
        """Sleep until frame `number` may be rendered, but not long: the call may end, the timeline move.

        One that is here has not to wait for its moment, but is drawn no more than `_AHEAD` frames before it
        has to be.
        """
        early = self._playout.deciding
        if number in self._buffer:
            early = max(early, _AHEAD / FPS)
        moment, nap = self._playout.due(number) - early, self._clock.now() + _NAP_SECONDS
        await self._clock.sleep_until(min(moment, nap))
        return moment <= nap

    async def _render(self, number: int) -> None:
        began, start = self._clock.wall_ms(), self._clock.now()
        frames, ahead = self._buffer.take(number), self._buffer.following(number)
        rendered: Rendered | None = await _in(self._inference, self._renderer.render, number, frames, ahead)
        if rendered is not None:
            now = self._clock.now()
            self._presentation.ready(now - self._playout.due(number))
            await self._ready.put(_Ready(number, rendered, began, now - start))

    async def _present(self) -> None:
        """Show what has been rendered, each frame at its moment, while the next ones are rendered."""
        while (ready := await self._ready.get()) is not None:
            if not self._stop:
                await self._show(ready)

    async def _show(self, ready: _Ready) -> None:
        number, kind = ready.number, ready.rendered.kind
        due = self._playout.due(number)
        # No longer than a frame can have been begun too early: the timeline may have jumped.
        latest = self._clock.now() + (_AHEAD + 1) / FPS + self._playout.deciding
        await self._clock.sleep_until(min(due + self._presentation.offset, latest))
        start = self._clock.now()
        still = kind is Kind.HELD and start - self._heard > SILENCE_SECONDS
        await _in(self._output, self._sink.write, number, ready.rendered.picture, self._note(still))
        now = self._clock.now()
        self._processing.took(ready.seconds + now - start)
        self._playout.processing(self._processing.seconds)
        late = now - due - self._presentation.offset
        self._summary.shown(Shown(number, kind, late, ready.began_ms, self._clock.wall_ms(), now))


async def _in(executor: Executor, work: Callable[..., Result], *arguments: Any) -> Result:  # noqa: ANN401
    return await asyncio.get_running_loop().run_in_executor(executor, work, *arguments)
