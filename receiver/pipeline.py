"""One call at the receiver: messages in, frames shown on time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, TypeVar

from receiver.hearing import Hearing
from receiver.jitter_buffer import JitterBuffer
from receiver.live import Snapshot
from receiver.pacing import Pacing
from receiver.playout import DECIDING_SECONDS, Playout
from receiver.reception import Reception
from receiver.renderer import Rendered, Renderer
from receiver.sinks import Screen
from receiver.sinks.window import WindowClosed
from receiver.summary import CallSummary, Shown
from shared import picture as pictures
from shared.clock import Clock
from shared.config import FPS
from shared.errors import PeerError
from shared.events import Agreed, Ended, Event, FramesArrived, PeerReady, SourcePicture, VoiceArrived
from shared.fill import Kind
from shared.interfaces import Channel, Connection
from shared.liveness import Liveness, Phase
from shared.messages import Hello
from shared.receiver_session import ReceiverSession

REPORT_SECONDS = 0.5
SILENCE_SECONDS = 1.0
HOLDING = "connection lost, holding"
WAITING = "no video, holding"
_TICK_SECONDS = 0.5
_NAP_SECONDS = 0.01
# Frames that are rendered and not shown yet. They make up for one that takes longer.
_AHEAD = 2
# The rest of a frame's time is for the sink.
_MOST_PACING_SECONDS = 0.8 / FPS
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class _Ready:
    """A rendered frame, and when (wall clock, ms) its rendering began."""

    number: int
    rendered: Rendered
    began_ms: int


class ReceiverCall:
    """Runs one call over `connection`, and those that `resume` gives it, until either side ends it.

    Without a connection, it is held for `hold` seconds: frames go on to be shown, forecast and then still.
    `inference` and `output` are single-threaded: one owns the networks, the other the sink. The event loop
    only moves messages, so a slow frame never delays a packet.
    """

    def __init__(
        self,
        *,
        connection: Connection,
        session: ReceiverSession,
        renderer: Renderer,
        sink: Screen,
        playout: Playout,
        clock: Clock,
        inference: Executor,
        output: Executor,
        hold: float = 0.0,
        hearing: Hearing | None = None,
    ) -> None:
        self._hearing = hearing
        self._connection = connection
        self._hold = hold
        self._liveness = Liveness(clock.now(), hold)
        self._resumed = asyncio.Event()
        self._session = session
        self._renderer = renderer
        self._sink = sink
        self._playout = playout
        self._clock = clock
        self._inference = inference
        self._output = output
        self._buffer = JitterBuffer()
        self._reception = Reception()
        self._taking = asyncio.Lock()
        self._playing = asyncio.Event()
        self._pacing = Pacing(_MOST_PACING_SECONDS)
        self._ready: asyncio.Queue[_Ready | None] = asyncio.Queue(_AHEAD)
        self._ended: Ended | None = None
        self._stop = False
        self._heard = 0.0
        self._receivers = {
            "kp": session.receive_kp, "ctl": session.receive_ctl, "voice": session.receive_voice,
        }  # fmt: skip
        self.hung_up = False
        self._group: asyncio.TaskGroup | None = None
        self.summary = CallSummary(FPS)
        self.summary.path = connection.path

    @property
    def streaming(self) -> bool:
        """True once keypoints were expected: the call was set up."""
        return self.summary.started

    @property
    def phase(self) -> Phase:
        """Whether the sender is there. A call that is not LIVELY gives way to another."""
        return self._liveness.tick(self._clock.now())

    def live(self) -> Snapshot:
        """Return the call's figures as of now; see `receiver.live.Live.snapshot`."""
        now = self._clock.now()
        self.summary.count(self._connection, self._session, now)
        return self.summary.live.snapshot(now)

    def matches(self, hello: Hello, connection: Connection) -> bool:
        """Say whether `hello` came from this call's sender, over a `connection` for `resume`."""
        return self._ended is None and self._session.matches(hello, connection.binding)

    def resume(self, connection: Connection) -> None:
        """Go on over `connection`, whose hello `matches`, in place of the one before."""
        before, self._connection = self._connection, connection
        self.summary.traffic.left(before)
        self.summary.path = connection.path
        self._session.rejoin(connection.binding)
        self._reception = Reception()
        self._liveness.linked(self._clock.now())
        self.summary.resumed = self._liveness.links - 1
        self._resumed.set()
        self._handle([])
        assert self._group is not None
        self._group.create_task(before.close())

    def give_way(self) -> None:
        """End a call whose sender is silent: another takes its place."""
        self._stop = True
        if self._ended is None:
            self._handle(self._session.lost("The sender was silent when another one called."))
            # Or the end would wait for a bye to arrive.
            assert self._group is not None
            self._group.create_task(self._connection.close())

    def end(self, reason: str) -> None:
        """End the call from this side, in order; to the sender, one that was never set up has failed."""
        self.hung_up = True
        self._handle(self._session.end(reason, ok=self.streaming))
        self._stop = True

    async def run(self, opening: bytes | None = None) -> Ended:
        """Run the call and return how it ended. Raises KeycastError where the sink failed.

        `opening` is a first control message that was taken from `connection` before.
        """
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                others = [
                    group.create_task(work)
                    for work in (self._receive(opening), self._watch(), self._report(), self._listen())
                ]
                await self._play()
                for task in others:
                    task.cancel()
        except ExceptionGroup as failures:
            self._handle(self._session.end("The receiver had to stop.", ok=False))
            raise failures.exceptions[0] from None
        finally:
            self.summary.usage.end()
            await self._connection.drained()
            await self._connection.close()
            sound = self._hearing.track if self._hearing is not None else None
            self.summary.close(self._connection, self._session, self._buffer, self._renderer.stages, sound)
        # What wakes and what stops the playing is the end of the call.
        assert self._ended is not None
        return self._ended

    async def _receive(self, opening: bytes | None) -> None:
        """Hear one connection after the other, until the call has ended."""
        if opening is not None:
            await self._hear("ctl", opening)
        while self._ended is None:
            connection = self._connection
            while connection is self._connection and (message := await connection.recv()) is not None:
                if connection is self._connection:
                    await self._hear(*message)
            if connection is not self._connection:
                continue
            if not self._hold or not self.streaming:
                self._handle(self._session.lost(connection.reason or "The sender is gone."))
            else:
                self._liveness.lost(self._clock.now())
                self._resumed.clear()
                await self._resumed.wait()

    async def _hear(self, channel: Channel, data: bytes) -> None:
        now = self._clock.now()
        self._liveness.heard(now)
        events = self._receivers[channel](data, now)
        self._handle(events)
        for event in events:
            if isinstance(event, SourcePicture):
                await self._on_picture(event)

    async def _on_picture(self, source: SourcePicture) -> None:
        if self.streaming:
            # Frames are shown from the others meanwhile, and no packet waits.
            assert self._group is not None
            self._group.create_task(self._take_picture(source))
        else:
            # Before the sender is told to go on: the first frame needs it.
            await self._take_picture(source)

    async def _take_picture(self, source: SourcePicture) -> None:
        """Put a picture into its slot, one at a time, and tell the session what came of it."""
        async with self._taking:
            if self._ended is not None:
                return
            try:
                await self._in(self._inference, self._set_source, source)
            except PeerError as error:
                events = self._session.picture_broken(source, str(error))
            else:
                events = self._session.picture_taken(source, self._clock.now())
        self._handle(events)

    def _set_source(self, source: SourcePicture) -> None:
        # Not on the event loop: to decode a picture that is made for it takes over 20 ms.
        self._renderer.set_source(pictures.decode(source.data, self._renderer.size), source.slot)

    def _handle(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, PeerReady):
                if not self.summary.started:
                    self.summary.usage.begin()
                self.summary.started = True
                self._liveness.linked(self._clock.now())
                if self._session.takes_voice:
                    self._sink.expect_sound()
            elif isinstance(event, Agreed):
                self.summary.live.agreed(event.terms)
            elif isinstance(event, FramesArrived):
                self._arrived(event)
            elif isinstance(event, VoiceArrived) and self._hearing is not None:
                self._hearing.arrived(event, self._session.voice)
            elif isinstance(event, Ended):
                self._ended = event
                self._playing.set()
        for message in self._session.outgoing():
            self._connection.send_ctl(message)

    def _arrived(self, event: FramesArrived) -> None:
        now = self._clock.now()
        self._heard = now
        self._playout.arrived(event.first, now)
        self._reception.arrived(event.first, len(event.frames), event.captured_ms, now)
        self._buffer.put(event.first, event.frames)
        self._buffer.put_copies(event.copies)
        self.summary.live.arrived(len(event.frames), now)
        self.summary.arrived(event.first, len(event.frames), event.timestamp_ms, self._clock.wall_ms())
        self._playing.set()

    async def _listen(self) -> None:
        """Let the call's sound be heard, once there are pictures."""
        await self._playing.wait()
        if self._hearing is not None and self._session.takes_voice and self._playout.started:
            await self._hearing.run(lambda: self._pacing.offset)

    async def _play(self) -> None:
        """Render and show one frame each 1/30 s; after the sender's bye, what is still buffered."""
        await self._playing.wait()
        if not self._playout.started:
            return
        assert self._group is not None
        presenting = self._group.create_task(self._present())
        number = self._current() + 1
        while self._wants(number):
            self._playout.advance(self._clock.now())
            if not await self._may_begin(number):
                # Where the timeline has jumped back, the picture follows.
                number = min(number, self._current() + 1 + _AHEAD)
                continue
            await self._render(number)
            self.summary.dropped += max(0, self._current() - number - 1)
            number = max(number + 1, self._current())
        await self._ready.put(None)
        await presenting

    def _current(self) -> int:
        return self._playout.current(self._clock.now())

    def _wants(self, number: int) -> bool:
        if self._stop:
            return False
        return self._ended is None or (self._ended.ok and self._buffer.following(number - 1) is not None)

    async def _may_begin(self, number: int) -> bool:
        """Sleep until frame `number` may be rendered, but not long: the call may end, the timeline move.

        One that is here has not to wait for its moment, but no further ahead than `_AHEAD` frames.
        """
        early = _AHEAD / FPS if number in self._buffer else DECIDING_SECONDS
        moment, nap = self._playout.due(number) - early, self._clock.now() + _NAP_SECONDS
        await self._clock.sleep_until(min(moment, nap))
        return moment <= nap

    async def _render(self, number: int) -> None:
        began = self._clock.wall_ms()
        frames, ahead = self._buffer.take(number), self._buffer.following(number)
        rendered: Rendered | None = await self._in(
            self._inference, self._renderer.render, number, frames, ahead
        )
        if rendered is not None:
            self._pacing.ready(self._clock.now() - self._playout.due(number))
            await self._ready.put(_Ready(number, rendered, began))

    async def _present(self) -> None:
        """Show what has been rendered, each frame at its moment, while the next ones are rendered."""
        while (ready := await self._ready.get()) is not None:
            if not self._stop:
                await self._show(ready)

    async def _show(self, ready: _Ready) -> None:
        number, kind = ready.number, ready.rendered.kind
        due = self._playout.due(number)
        # No longer than a frame can have been begun too early: the timeline may have jumped.
        latest = self._clock.now() + (_AHEAD + 1) / FPS
        await self._clock.sleep_until(min(due + self._pacing.offset, latest))
        note = self._note(kind)
        try:
            await self._in(self._output, self._sink.write, number, ready.rendered.picture, note)
        except WindowClosed:
            self.end("The receiver closed its window.")
        now = self._clock.now()
        in_time = now <= due + 1 / FPS
        self.summary.lateness.add(1000 * (now - due - self._pacing.offset))
        self.summary.shown(Shown(number, kind, in_time, ready.began_ms, self._clock.wall_ms(), now))

    def _note(self, kind: Kind) -> str:
        """Return what to write on the picture: that it stands still, where nothing has come for a while."""
        silent = self._clock.now() - self._heard > SILENCE_SECONDS
        if kind is not Kind.HELD or not silent:
            return ""
        # A sender whose camera is unplugged is still there, and says so.
        return WAITING if self.phase is Phase.LIVELY else HOLDING

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep_until(self._clock.now() + _TICK_SECONDS)
            self._handle(self._session.tick(self._clock.now()))
            phase = self._liveness.tick(self._clock.now())
            if not self._hold:
                continue
            if phase is Phase.OVER:
                self._handle(self._session.lost(f"The sender did not come back within {self._hold:.0f} s."))
            elif phase is Phase.AWAY:
                await self._connection.close()

    async def _report(self) -> None:
        while True:
            await self._clock.sleep_until(self._clock.now() + REPORT_SECONDS)
            self.summary.count(self._connection, self._session, self._clock.now())
            self.summary.playout_delay_ms = 1000 * self._playout.delay
            self._session.report(self._reception.report(self._clock.now(), *self.summary.kinds()))
            self._handle([])

    async def _in(self, executor: Executor, work: Callable[..., Result], *arguments: Any) -> Result:  # noqa: ANN401
        return await asyncio.get_running_loop().run_in_executor(executor, work, *arguments)
