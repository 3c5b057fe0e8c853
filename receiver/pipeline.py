"""One call at the receiver: what arrives is dispatched to its handlers, until either side ends the call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

from receiver.answering import AnsweringCall
from receiver.audio_playout import AudioPlayout
from receiver.keypoint_intake import KeypointIntake
from receiver.live import Snapshot
from receiver.player import Player
from receiver.playout import Playout
from receiver.renderer import Renderer
from receiver.report_policy import MEDIA_SECONDS, OFTEN_SECONDS, SELDOM_SECONDS, ReportPolicy
from receiver.sinks import Screen
from receiver.sinks.window import WindowClosed
from receiver.source_pictures import SourcePictures
from receiver.summary import CallSummary
from shared.clock import Clock
from shared.constants import FPS
from shared.interfaces import Connection
from shared.protocol.events import (
    Agreed,
    Ended,
    Event,
    FramesArrived,
    KeypointsArrived,
    PeerReady,
    PeerStatus,
    SourcePicture,
    VoiceArrived,
)
from shared.protocol.liveness import Phase
from shared.protocol.messages import Hello, Status
from shared.protocol.receiver_session import ReceiverSession
from shared.runtime.controls import Controls
from shared.runtime.logs import logger

_log = logger("call")
HOLDING = "connection lost, holding"
WAITING = "no video, holding"
ON_HOLD = "on hold"


class ReceiverCall:
    """Runs one call over `connection`, and those that `resume` gives it, until either side ends it.

    Without a connection, it is held for `hold` seconds: frames go on to be shown, forecast and then still.
    `inference`, `output` and `decoding` are single-threaded: one owns the networks, one the sink, and one
    decodes keypoints. The event loop only moves messages, so a slow frame never delays a packet. `summary`
    counts all that happens. `controls` hear that the sender is muted or on hold, `on_agreed` when a sender's
    hello fits.
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
        decoding: Executor,
        hold: float = 0.0,
        audio_playout: AudioPlayout | None = None,
        on_agreed: Callable[[Agreed], None] = lambda _: None,
        controls: Controls | None = None,
    ) -> None:
        self._session = session
        self._sink = sink
        self._clock = clock
        self._audio_playout = audio_playout
        self._on_agreed = on_agreed
        self._controls = controls or Controls()
        self._peer = Status()
        self._was_held = False
        self._renderer = renderer
        self._ended: Ended | None = None
        self._group: asyncio.TaskGroup | None = None
        self.hung_up = False
        self.summary = CallSummary(FPS, session.tally)
        self.summary.path = connection.path
        self._reconnecting = AnsweringCall(
            connection=connection, session=session, clock=clock, on_event=self._on_event,
            traffic=self.summary.traffic, hold=hold,
        )  # fmt: skip
        self._keypoints = KeypointIntake(session, decoding)
        self._pictures = SourcePictures(session, renderer, clock, inference)
        self._player = Player(
            playout=playout, renderer=renderer, sink=sink, clock=clock, inference=inference, output=output,
            summary=self.summary, note=self._note,
        )  # fmt: skip

    @property
    def streaming(self) -> bool:
        """True once keypoints were expected: the call was set up."""
        return self.summary.started

    @property
    def phase(self) -> Phase:
        """Whether the sender is there. A call that is not LIVELY gives way to another."""
        return self._reconnecting.phase

    def live(self) -> Snapshot:
        """Return the call's figures as of now; see `receiver.live.Live.snapshot`.

        Beside those: whether it has `sound`, and the sender's own word: `peer_muted`, `peer_held`.
        """
        figures = self.summary.snapshot(self._reconnecting.connection, self._clock.now())
        if self._on_hold and figures["state"] != "connecting":
            figures["state"] = ON_HOLD
        return {
            **figures,
            "sound": self._session.takes_voice,
            "peer_muted": self._peer.muted,
            "peer_held": self._peer.held,
        }

    def matches(self, hello: Hello, connection: Connection) -> bool:
        """Say whether `hello` came from this call's sender, over a `connection` for `resume`."""
        return self._ended is None and self._session.matches(hello, connection.binding)

    def resume(self, connection: Connection) -> None:
        """Go on over `connection`, whose hello `matches`, in place of the one before."""
        before = self._reconnecting.resume(connection)
        self.summary.resumed(connection.path)
        assert self._group is not None
        self._group.create_task(before.close())

    def give_way(self) -> None:
        """End a call whose sender is silent: another takes its place."""
        self._player.stop()
        if self._ended is None:
            self._reconnecting.dispatch(self._session.lost("The sender was silent when another one called."))
            # Or the end would wait for a bye to arrive.
            assert self._group is not None
            self._group.create_task(self._reconnecting.connection.close())

    def end(self, reason: str) -> None:
        """End the call from this side, in order; to the sender, one that was never set up has failed."""
        self.hung_up = True
        self._player.stop()
        self._reconnecting.dispatch(self._session.end(reason, ok=self.streaming))

    async def run(self, opening: bytes | None = None) -> Ended:
        """Run the call and return how it ended. Raises KeycastError where the sink failed.

        `opening` is a first control message that was taken from `connection` before.
        """
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                others = [
                    group.create_task(work)
                    for work in (
                        self._reconnecting.run(opening),
                        self._reconnecting.watch(),
                        self._report(),
                        self._listen(),
                    )
                ]
                await self._play()
                for task in others:
                    task.cancel()
        except ExceptionGroup as failures:
            _log.debug("the call has to stop", exc_info=failures.exceptions[0])
            self._reconnecting.dispatch(self._session.end("The receiver had to stop.", ok=False))
            raise failures.exceptions[0] from None
        finally:
            if self._audio_playout is not None:
                await self._audio_playout.settled()
            self._controls.peer_says(muted=False, held=False)
            connection = self._reconnecting.connection
            self.summary.usage.end()
            await connection.drained()
            await connection.close()
            self.summary.close(connection, self._renderer.stages)
        # What wakes and what stops the playing is the end of the call.
        assert self._ended is not None
        return self._ended

    def _on_event(self, event: Event) -> None:
        if isinstance(event, KeypointsArrived):
            assert self._group is not None
            self._group.create_task(self._take_keypoints(event))
        elif isinstance(event, FramesArrived):
            now = self._clock.now()
            self._player.arrived(event, now)
            self.summary.arrived(event, now, self._clock.wall_ms())
        elif isinstance(event, VoiceArrived) and self._audio_playout is not None:
            self._audio_playout.arrived(event)
        elif isinstance(event, SourcePicture):
            assert self._group is not None
            self._group.create_task(self._take_picture(event))
        else:
            self._on_turn(event)

    def _on_turn(self, event: Event) -> None:
        """Follow the call itself, from one state to the next."""
        if isinstance(event, PeerStatus):
            self._peer = event.status
            _log.debug("the sender says: %s", event.status)
            self._controls.peer_says(event.status.muted, event.status.held)
        elif isinstance(event, Agreed):
            self.summary.live.agreed(event.terms)
            self._on_agreed(event)
        elif isinstance(event, PeerReady):
            self.summary.began()
            if self._audio_playout is not None and self._session.takes_voice:
                assert self._group is not None
                self._group.create_task(self._audio_playout.prepare())
        elif isinstance(event, Ended):
            self._ended = event
            if event.ok and self._group is not None:
                self._group.create_task(self._end_playing(event))
            else:
                self._player.end(event)

    async def _take_keypoints(self, arrived: KeypointsArrived) -> None:
        self._reconnecting.dispatch(await self._keypoints.take(arrived))

    async def _end_playing(self, ended: Ended) -> None:
        # What came before the end is shown.
        await self._keypoints.settled()
        self._player.end(ended)

    async def _take_picture(self, source: SourcePicture) -> None:
        # Frames are shown from the others meanwhile, and no packet waits.
        self._reconnecting.dispatch(await self._pictures.take(source))

    async def _play(self) -> None:
        try:
            await self._player.run()
        except WindowClosed:
            self.end("The receiver closed its window.")

    async def _listen(self) -> None:
        """Let the call's sound be heard, once there are pictures."""
        if await self._player.started() and self._audio_playout is not None and self._session.takes_voice:
            await self._audio_playout.run(lambda: self._player.offset)

    async def _report(self) -> None:
        policy = ReportPolicy()
        while True:
            await self._clock.sleep_until(self._clock.now() + OFTEN_SECONDS)
            self._player.report()
            connection, voice, now = (
                self._reconnecting.connection,
                self._session.tally.voice,
                self._clock.now(),
            )
            report = self.summary.report(connection, now)
            policy.seldom = MEDIA_SECONDS if self._session.uses_media else SELDOM_SECONDS
            lost = connection.pieces_expected - connection.pieces_received + voice.expected - voice.received
            if policy.is_due(report, lost, now):
                _log.debug("%s, playout delay %.0f ms", report, self.summary.playout_delay_ms)
                self._session.report(report)
                self._reconnecting.dispatch([])

    @property
    def _on_hold(self) -> bool:
        return self._peer.held and self.phase is Phase.LIVELY

    def _note(self, still: bool) -> str:
        """Return what to write on a picture, which has stood still for a while or not."""
        if self._on_hold or not still:
            self._was_held = self._on_hold
            return ON_HOLD if self._on_hold else ""
        if self.phase is not Phase.LIVELY:
            return HOLDING
        # A sender whose camera is unplugged is still there, and says so. One that was on hold takes a moment.
        return ON_HOLD if self._was_held else WAITING
