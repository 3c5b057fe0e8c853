"""One call at the sender: frames in, keypoint packets out, on time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

import numpy as np

from sender.camera import CameraPausedError
from sender.capture import VideoSource
from sender.further_pictures import FurtherPictures
from sender.line import CallingLine, Reconnecting
from sender.live import Live, Sent
from sender.rate import RateController
from sender.schedule import Batch, Redundancy, Scheduler
from sender.summary import CallSummary
from sender.voice import Voice
from shared.clock import WALL_MODULUS, Clock
from shared.codec import Block
from shared.config import FPS
from shared.errors import KeycastError
from shared.events import Agreed, Ended, Event, PeerReady, PeerReport
from shared.interfaces import Backbone, Connection
from shared.keypoints import Floats, Pictures
from shared.logs import logger
from shared.sender_session import SenderSession
from shared.watch import Figures

_log = logger("call")
_MOST_UNCODABLE = 30
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Seen:
    """A frame (256, 256, 3), its keypoints (60,), the messages it led to, and the seconds that each took."""

    picture: Pictures
    keypoints: Floats
    batches: list[Batch]
    capture_seconds: float
    detect_seconds: float
    decide_seconds: float


class SenderCall:
    """Runs one call over `connection`, and as `again` says over others, until the video or the call ends.

    `inference` is single-threaded and owns source, networks and codec; the event loop only moves messages.
    Frame n is taken n / 30 s after streaming began, whatever happens to the connection; what the scheduler
    does not want to see is not even captured. `make_scheduler` gets the name of the receiver's forecaster.
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
        gallery: FurtherPictures | None = None,
        rate: RateController | None = None,
        again: Reconnecting | None = None,
        voice: Voice | None = None,
    ) -> None:
        self._voice = voice
        self._session = session
        self._source = source
        self._backbone = backbone
        self._make_scheduler = make_scheduler
        self._redundancy = redundancy
        self._clock = clock
        self._inference = inference
        self._gallery = gallery
        self._rate = rate or RateController()
        self._renewed = self._fresh = False
        self._start, self._start_wall_ms, self._base = 0.0, 0, 0
        self._over = asyncio.Event()
        self._ended: Ended | None = None
        self._group: asyncio.TaskGroup | None = None
        self._forecaster = ""
        self._uncodable = 0
        self._paused = False
        self._live = Live()
        self.summary = CallSummary()
        self._line = CallingLine(
            connection=connection, session=session, clock=clock, on_event=self._on_event,
            traffic=self.summary.traffic, again=again,
        )  # fmt: skip

    def live(self) -> Figures:
        """Return the call's figures as of now; see `sender.live.Live.snapshot`."""
        session, total = self._session, self.summary.traffic.total(self._line.connection)
        sent = Sent(
            payload=session.payload_bytes,
            pictures=session.pictures.picture_bytes,
            audio=self._session.voice_bytes,
            wire_up=total["wire_sent"],
            wire_down=total["wire_received"],
            frames=session.frames,
            messages=session.packets,
            held_back=self.summary.held_back_packets,
            dropped=self.summary.dropped_packets,
            reconnects=self.summary.reconnects,
        )
        limit = self._rate.limit_kbps
        state = "paused" if self._paused and self._line.state == "live" else self._line.state
        now, loss = self._clock.now(), self._rate.loss
        return self._live.snapshot(now, state, sent, loss, limit if math.isfinite(limit) else None)

    def end(self, reason: str) -> None:
        """End the call from this side, in order."""
        self._line.tell(self._session.end(reason))

    async def run(self) -> Ended:
        """Run the call and return how it ended. Raises KeycastError where the source failed."""
        self._session.start()
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                works = [self._line.run(), self._line.watch(), self._stream()]
                if self._voice is not None:
                    works.append(self._voice.run(self._line, self._session))
                tasks = [group.create_task(work) for work in works]
                await self._over.wait()
                for task in tasks:
                    task.cancel()
        except ExceptionGroup as failures:
            _log.debug("the call has to stop", exc_info=failures.exceptions[0])
            self._line.tell(self._session.end("The sender had to stop.", ok=False))
            raise failures.exceptions[0] from None
        finally:
            self.summary.usage.end()
            await self._line.connection.drained()
            self.summary.close(self._line.connection, self._session)
            await self._line.connection.close()
        assert self._ended is not None
        return self._ended

    def _on_event(self, event: Event) -> None:
        if isinstance(event, PeerReady):
            self.summary.reconnects = self._line.reconnects
            self._renewed = True
            self._fresh = self._fresh or not event.resumed
        elif isinstance(event, Agreed):
            self._forecaster = event.forecaster
        elif isinstance(event, PeerReport):
            self.summary.report = event.report
            self._rate.reported(event.report, self._clock.now())
            self.summary.rate_halved = self._rate.halved
            if self._voice is not None:
                self._voice.expect_loss(round(100 * self._rate.loss))
        elif isinstance(event, Ended):
            self._ended = event
            self._over.set()

    async def _stream(self) -> None:
        await self._line.until_streaming()
        scheduler = await self._in(self._make_scheduler, self._forecaster)
        self._start, self._start_wall_ms = self._clock.now(), self._clock.wall_ms()
        self.summary.began(self._line.connection, self._session)
        self._begin(0)
        number = 0
        while True:
            while not scheduler.wants(number):
                number += 1
            await self._clock.sleep_until(self._start + number / FPS)
            if not self._line.streaming or self._renewed:
                await self._line.until_streaming()
                number = max(number, self._behind())
                if self._fresh:
                    scheduler = await self._in(self._make_scheduler, self._forecaster)
                self._begin(number)
                continue
            late_ms = round(1000 * (self._clock.now() - self._start - number / FPS))
            try:
                seen = await self._in(self._look, scheduler, number, late_ms)
            except CameraPausedError:
                self._paused = True
                number = max(number + 1, self._behind())
                continue
            self._paused = False
            if seen is None:
                break
            await self._ship(scheduler, number, seen)
            number = max(number + 1, self._behind())
        await self._send(scheduler, await self._in(scheduler.flush))
        self._line.tell(self._session.end("The video has ended."))

    def _behind(self) -> int:
        """Return the number of the frame whose moment it is."""
        return int((self._clock.now() - self._start) * FPS)

    def _begin(self, number: int) -> None:
        """Go on with frame `number` over a new connection; for a new receiver that is frame 0."""
        if self._fresh:
            self._base = self.summary.base = number
        self._renewed = self._fresh = False
        self._rate = self._rate.anew()
        based = self._start_wall_ms + round(self._base * 1000 / FPS)
        self._session.begin(based % WALL_MODULUS)
        if self._voice is not None:
            self._voice.begin(self._start, self._base)
        self._line.tell([])

    async def _ship(self, scheduler: Scheduler, number: int, seen: Seen) -> None:
        self.summary.seen(number, seen.capture_seconds, seen.detect_seconds, seen.decide_seconds)
        await self._send(scheduler, seen.batches)
        if self._gallery is not None:
            assert self._group is not None
            considered = self._gallery.consider(number, seen.picture, seen.keypoints, self._clock.now())
            self._group.create_task(considered)

    def _look(self, scheduler: Scheduler, number: int, late_ms: int) -> Seen | None:
        began = perf_counter()
        picture = self._source.frame(number)
        if picture is None:
            return None
        captured = perf_counter()
        keypoints = self._backbone.detect(np.asarray(picture)[None])[0]
        detected = perf_counter()
        batches = scheduler.add(number, late_ms, keypoints)
        decided = perf_counter()
        return Seen(picture, keypoints, batches, captured - began, detected - captured, decided - detected)

    async def _send(self, scheduler: Scheduler, batches: list[Batch]) -> None:
        for batch in batches:
            if not self._rate.may_send(self._clock.now()):
                self.summary.held_back_packets += 1
                continue
            packet = await self._in(self._packet, batch)
            if packet is None:
                continue
            if not self._line.connection.send_kp(packet):
                self.summary.dropped_packets += 1
                continue
            self.summary.usage.first()
            last = batch.first - self._base + len(batch.frames) - 1
            self._rate.sent(last, len(packet), self._clock.now())
            self._session.sent(packet, len(batch.frames))
            self._redundancy.sent(batch)
            await self._in(self._shipped, scheduler, batch, packet)

    def _shipped(self, scheduler: Scheduler, batch: Batch, packet: bytes) -> None:
        scheduler.shipped(batch, self._session.as_received(packet, len(batch.frames)))

    def _packet(self, batch: Batch) -> bytes | None:
        """Code a batch; None where the network found no plausible keypoints, which must not last."""
        try:
            packet = self._session.packet(
                batch.first - self._base,
                batch.late_ms,
                Block(batch.frames, self._redundancy.copies(batch.first)),
            )
        except ValueError as error:
            self._uncodable += 1
            if self._uncodable > _MOST_UNCODABLE:
                raise KeycastError(
                    "The network finds no sound keypoints in the pictures; use other weights or a new source."
                ) from error
            return None
        self._uncodable = 0
        return packet

    async def _in(self, work: Callable[..., Result], *arguments: Any) -> Result:  # noqa: ANN401
        return await asyncio.get_running_loop().run_in_executor(self._inference, work, *arguments)
