"""One call at the sender: frames in, keypoint packets out, until the video or the call ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

from sender.camera import CameraSource
from sender.capture import VideoSource
from sender.further_pictures import FurtherPictures
from sender.rate import RateController
from sender.reconnecting import Reconnecting, ResumingCall
from sender.schedule import Redundancy, Scheduler
from sender.streamer import Streamer
from sender.summary import CallSummary
from sender.voice import Voice
from shared.clock import Clock
from shared.interfaces import Backbone, Connection
from shared.keypoints import Pictures
from shared.protocol.events import Agreed, Ended, Event, PeerReady, PeerReport
from shared.protocol.sender_session import SenderSession
from shared.runtime.controls import Controls
from shared.runtime.logs import logger
from shared.runtime.sampler import Figures

_log = logger("call")


class SenderCall:
    """Runs one call over `connection`, and as `again` says over others, until the video or the call ends.

    `inference` is single-threaded and owns source, networks and codec; the event loop only moves messages.
    With `coding`, messages are coded there, so that none waits for what else `inference` has to do.
    `Streamer` decides what is sent when; `summary` counts all that happens. Where `controls` say so, no sound
    leaves, or nothing at all, and the receiver is told. `show_self` gets what is captured, in `inference`.
    `on_agreed` hears, for each connection, what the receiver's hello says.
    """

    def __init__(
        self,
        *,
        connection: Connection,
        session: SenderSession,
        source: VideoSource,
        backbone: Backbone,
        make_scheduler: Callable[[str], Scheduler],
        redundancy: Redundancy,
        clock: Clock,
        inference: Executor,
        coding: Executor | None = None,
        gallery: FurtherPictures | None = None,
        rate: RateController | None = None,
        again: Reconnecting | None = None,
        voice: Voice | None = None,
        on_agreed: Callable[[Agreed], None] = lambda _: None,
        controls: Controls | None = None,
        show_self: Callable[[Pictures], None] = lambda _: None,
    ) -> None:
        self._on_agreed = on_agreed
        self._session = session
        self._clock = clock
        self._voice = voice
        self._controls = controls or Controls()
        self._camera = source if isinstance(source, CameraSource) else None
        self._over = asyncio.Event()
        self._ended: Ended | None = None
        self.summary = CallSummary(session.tally)
        self._reconnecting = ResumingCall(
            connection=connection, session=session, clock=clock, on_event=self._on_event,
            traffic=self.summary.traffic, again=again,
        )  # fmt: skip
        self._streamer = Streamer(
            call=self._reconnecting, session=session, source=source, backbone=backbone,
            make_scheduler=make_scheduler, redundancy=redundancy, clock=clock, inference=inference,
            coding=coding or inference, summary=self.summary, gallery=gallery,
            rate=rate or RateController(), voice=voice,
            held=lambda: self._controls.choices.held, show_self=show_self,
        )  # fmt: skip

    @property
    def state(self) -> str:
        """Where the call stands, of `sender.live.STATES`."""
        state = self._reconnecting.state
        if state == "live" and (self._streamer.paused or self._controls.choices.held):
            return "on hold" if self._controls.choices.held else "paused"
        return state

    def live(self) -> Figures:
        """Return the call's figures as of now; see `sender.live.Live.snapshot`."""
        streamer = self._streamer
        return self.summary.snapshot(
            self._reconnecting.connection,
            self._clock.now(),
            state=self.state,
            loss=streamer.loss,
            limit_kbps=streamer.limit_kbps,
            camera_fps=self._camera.pace if self._camera is not None else None,
        )

    def end(self, reason: str) -> None:
        """End the call from this side, in order."""
        self._reconnecting.dispatch(self._session.end(reason))

    async def run(self) -> Ended:
        """Run the call and return how it ended. Raises KeycastError where the source failed."""
        loop = asyncio.get_running_loop()
        forget = self._controls.watch(lambda: loop.call_soon_threadsafe(self._chosen))
        self._chosen()
        self._session.start()
        try:
            async with asyncio.TaskGroup() as group:
                works = [self._reconnecting.run(), self._reconnecting.watch(), self._streamer.run()]
                if self._voice is not None:
                    works.append(self._voice.run(self._reconnecting, self._session))
                tasks = [group.create_task(work) for work in works]
                await self._over.wait()
                for task in tasks:
                    task.cancel()
        except ExceptionGroup as failures:
            _log.debug("the call has to stop", exc_info=failures.exceptions[0])
            self._reconnecting.dispatch(self._session.end("The sender had to stop.", ok=False))
            raise failures.exceptions[0] from None
        finally:
            forget()
            self.summary.usage.end()
            await self._reconnecting.connection.drained()
            self.summary.close(self._reconnecting.connection, self._session.terms)
            await self._reconnecting.connection.close()
        assert self._ended is not None
        return self._ended

    def _chosen(self) -> None:
        """Do as the controls say now."""
        choices = self._controls.choices
        _log.debug(
            "sending %s", "stops: on hold" if choices.held else "muted" if choices.muted else "goes on"
        )
        if self._voice is not None:
            self._voice.mute(choices.silent)
        self._session.send_status(choices.muted, choices.held)
        self._reconnecting.dispatch([])

    def _on_event(self, event: Event) -> None:
        if isinstance(event, PeerReady):
            self.summary.reconnects = self._reconnecting.reconnects
            self._streamer.renew(fresh=not event.resumed)
        elif isinstance(event, Agreed):
            self._streamer.forecaster = event.forecaster
            self._on_agreed(event)
        elif isinstance(event, PeerReport):
            self._streamer.reported(event.report)
        elif isinstance(event, Ended):
            self._ended = event
            self._over.set()
