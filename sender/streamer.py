"""The sending side of a call: frames are captured, analysed, coded and sent, each at its moment."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, TypeVar

import numpy as np

from sender.camera import CameraPausedError
from sender.capture import VideoSource
from sender.further_pictures import FurtherPictures
from sender.own_delay import OwnDelay
from sender.rate import RateController
from sender.reconnecting import ResumingCall
from sender.schedule import Batch, Redundancy, Scheduler
from sender.summary import CallSummary
from sender.voice import Voice
from shared.clock import WALL_MODULUS, Clock
from shared.codec.keypoint_codec import Block
from shared.constants import FPS
from shared.errors import KeycastError
from shared.interfaces import Backbone
from shared.keypoints import Floats, Pictures
from shared.media.squares import scaled
from shared.media.voice_packet import BLOCK_SECONDS
from shared.protocol.reports import Report
from shared.protocol.sender_session import SenderSession
from shared.runtime.logs import logger

_log = logger("call")
_MAX_UNCODABLE = 30
_CODING_SECONDS = 0.02
"""From a frame's moment until its message is on its way, on a machine that is fast enough."""
_CODED_SECONDS = 0.005
"""Longest time that coding a message takes, or nearly."""
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Seen:
    """A frame (S, S, 3), its scene, keypoints (D,) and messages, and the seconds that each step took."""

    picture: Pictures
    scene: int
    keypoints: Floats
    batches: list[Batch]
    capture_seconds: float
    detect_seconds: float
    decide_seconds: float


class Streamer:
    """Sends the frames of `source` over `line` until it ends.

    `inference` is single-threaded and owns source, networks and codec. Frame n is taken n / 30 s after
    streaming began, whatever happens to the connection; what the scheduler does not want to see is not even
    captured. While `held` says so, the source runs on and nothing leaves. `show_self` gets each picture that
    is captured, in `inference`. `make_scheduler` gets the name of the receiver's forecaster. Codec and
    scheduler are used by one after the other of `inference` and `coding`, never by both at once.
    """

    def __init__(
        self,
        *,
        call: ResumingCall,
        session: SenderSession,
        source: VideoSource,
        backbone: Backbone,
        make_scheduler: Callable[[str], Scheduler],
        redundancy: Redundancy,
        clock: Clock,
        inference: Executor,
        coding: Executor,
        summary: CallSummary,
        gallery: FurtherPictures | None,
        rate: RateController,
        voice: Voice | None,
        held: Callable[[], bool] = lambda: False,
        show_self: Callable[[Pictures], None] = lambda _: None,
    ) -> None:
        self._call = call
        self._session = session
        self._source = source
        self._backbone = backbone
        self._make_scheduler = make_scheduler
        self._redundancy = redundancy
        self._clock = clock
        self._inference, self._coding = inference, coding
        self._summary = summary
        self._gallery = gallery
        self._rate = rate
        self._voice = voice
        self._held, self._show_self = held, show_self
        self._renewed = self._fresh = False
        self._start, self._start_wall_ms, self._base = 0.0, 0, 0
        self._own_delay = OwnDelay()
        self._uncodable = 0
        self._acknowledged = 0
        self.forecaster = ""
        """What the receiver forecasts with; known before streaming begins."""
        self.paused = False
        """Whether the camera gives no pictures now."""

    @property
    def loss(self) -> float:
        """The share of messages that is lost; see `sender.rate.RateController.loss`."""
        return self._rate.loss

    @property
    def limit_kbps(self) -> float | None:
        """What keypoint messages may take at present, all IP bytes; None while there is no limit."""
        limit = self._rate.limit_kbps
        return limit if math.isfinite(limit) else None

    def renew(self, fresh: bool) -> None:
        """Begin again over a connection that is set up; `fresh`: to a receiver that knows nothing."""
        self._renewed = True
        self._fresh = self._fresh or fresh

    def reported(self, report: Report) -> None:
        """Take in what the receiver reports."""
        now = self._clock.now()
        waited = max(0, report.delay_ms - self._own_delay.ms(now))
        self._rate.reported(replace(report, delay_ms=waited), now)
        self._summary.reported(report, self._rate.halved)
        if self._voice is not None:
            self._voice.expect_loss(round(100 * self._rate.loss))

    async def run(self) -> None:
        """Stream until the video ends, and end the call then. Raises KeycastError where the source fails."""
        try:
            async with asyncio.TaskGroup() as group:
                await self._stream(group)
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _stream(self, group: asyncio.TaskGroup) -> None:
        await self._call.until_streaming()
        scheduler = await self._in(self._make_scheduler, self.forecaster)
        self._start, self._start_wall_ms = self._clock.now(), self._clock.wall_ms()
        self._summary.began(self._call.connection)
        self._begin(0)
        number = 0
        while True:
            while not scheduler.wants(number):
                number += 1
            await self._clock.sleep_until(self._start + number / FPS)
            if not self._call.streaming or self._renewed:
                await self._call.until_streaming()
                number = max(number, self._behind())
                if self._fresh:
                    scheduler = await self._in(self._make_scheduler, self.forecaster)
                self._begin(number)
                continue
            goes_on, seen = await self._watch(scheduler, number)
            if not goes_on:
                break
            if seen is not None:
                await self._take(group, scheduler, number, seen)
            number = max(number + 1, self._behind())
        if not self._held():
            await self._send(scheduler, await self._code(scheduler.flush))
        self._call.dispatch(self._session.end("The video has ended."))

    def _behind(self) -> int:
        """Return the number of the frame whose moment it is."""
        return int((self._clock.now() - self._start) * FPS)

    def _begin(self, number: int) -> None:
        """Go on with frame `number` over a new connection; for a new receiver that is frame 0."""
        if self._fresh:
            self._base = self._summary.base = number
        self._renewed = self._fresh = False
        self._rate = self._rate.anew()
        self._acknowledged = self._call.connection.acknowledgements
        based = self._start_wall_ms + round(self._base * 1000 / FPS)
        self._session.begin(based % WALL_MODULUS)
        if self._voice is not None:
            self._voice.begin(self._start, self._base)
        self._call.dispatch([])

    async def _watch(self, scheduler: Scheduler, number: int) -> tuple[bool, Seen | None]:
        """Return whether the video goes on, and frame `number` unless on hold, or where the camera pauses."""
        late_ms = round(1000 * (self._clock.now() - self._start - number / FPS))
        seen = None
        try:
            if self._held():
                goes_on = await self._in(self._captured, number) is not None
            else:
                seen = await self._in(self._look, scheduler, number, late_ms)
                goes_on = seen is not None
        except CameraPausedError:
            self.paused = True
            return True, None
        self.paused = False
        return goes_on, seen

    async def _take(self, group: asyncio.TaskGroup, scheduler: Scheduler, number: int, seen: Seen) -> None:
        """Send what is due with frame `number`, and consider its picture."""
        self._summary.seen(number, seen.capture_seconds, seen.detect_seconds, seen.decide_seconds)
        await self._send(scheduler, seen.batches or await self._early(scheduler))
        if self._gallery is not None:
            now = self._clock.now()
            considered = self._gallery.consider(number, seen.picture, seen.keypoints, now, seen.scene)
            group.create_task(considered)

    def _captured(self, number: int) -> Pictures | None:
        picture = self._source.frame(number)
        if picture is not None:
            self._show_self(picture)
        return picture

    def _look(self, scheduler: Scheduler, number: int, late_ms: int) -> Seen | None:
        began = perf_counter()
        picture = self._captured(number)
        if picture is None:
            return None
        captured = perf_counter()
        keypoints = self._backbone.detect(scaled(np.asarray(picture), self._backbone.size)[None])[0]
        detected = perf_counter()
        batches = scheduler.add(number, late_ms, keypoints)
        decided = perf_counter()
        seconds = captured - began, detected - captured, decided - detected
        return Seen(picture, self._source.scene, keypoints, batches, *seconds)

    async def _send(self, scheduler: Scheduler, batches: list[Batch]) -> None:
        self._note_acknowledgements()
        for batch in batches:
            if not self._rate.may_send(self._clock.now()):
                self._summary.held_back_packets += 1
                continue
            packet = await self._code(self._packet, batch)
            if packet is None:
                continue
            carried = self._carried(scheduler, batch, packet)
            if not (carried or self._call.connection.send_kp(packet)):
                self._summary.dropped_packets += 1
                _log.debug("dropped the packet of frame %d: the connection is full or gone", batch.first)
                continue
            last = batch.first - self._base + len(batch.frames) - 1
            around, now = 0 if carried else self._call.connection.overhead, self._clock.now()
            self._rate.sent(last, len(packet), now, around=around)
            captured = self._start + (batch.first + len(batch.frames) - 1) / FPS + batch.late_ms / 1000
            self._own_delay.left(captured, now)
            self._summary.sent(packet, len(batch.frames))
            self._redundancy.sent(batch)
            await self._code(self._shipped, scheduler, batch, packet)

    @property
    def _sound_leaves(self) -> float:
        """When sound leaves that may take keypoints along; infinite where none does."""
        if self._voice is None or not self._session.puts_into_voice or self._voice.leaves is None:
            return math.inf
        return max(self._voice.leaves, self._clock.now())

    async def _early(self, scheduler: Scheduler) -> list[Batch]:
        """Return what is gathered where sound takes it along, and no later one would in time."""
        if scheduler.waiting is None or not self._session.fits_voice(scheduler.per_message):
            return []
        leaves, now = self._sound_leaves, self._clock.now()
        until = self._leaves_by(scheduler, scheduler.waiting)
        if leaves < now + _CODED_SECONDS:
            leaves += BLOCK_SECONDS
        if leaves > min(until, now + 1 / FPS) or leaves + BLOCK_SECONDS <= until:
            return []
        return await self._code(scheduler.early)

    def _leaves_by(self, scheduler: Scheduler, first: int) -> float:
        """Return when a message from frame `first` on has to go: gathered, it would, and have been coded."""
        return self._start + (first + scheduler.per_message - 1) / FPS + _CODING_SECONDS

    def _carried(self, scheduler: Scheduler, batch: Batch, packet: bytes) -> bool:
        """Say whether sound takes `packet` along, and in time."""
        if self._voice is None or self._sound_leaves > self._leaves_by(scheduler, batch.first):
            return False
        return self._voice.carry(packet)

    def _note_acknowledgements(self) -> None:
        """Reports are rare on a path that is well, acknowledgements are not."""
        count = self._call.connection.acknowledgements
        if count != self._acknowledged:
            self._acknowledged = count
            self._rate.acknowledged()

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
            if self._uncodable > _MAX_UNCODABLE:
                raise KeycastError(
                    "The network finds no valid keypoints in the frames; use other weights or another source."
                ) from error
            return None
        self._uncodable = 0
        return packet

    async def _in(self, work: Callable[..., Result], *arguments: Any) -> Result:  # noqa: ANN401
        return await asyncio.get_running_loop().run_in_executor(self._inference, work, *arguments)

    async def _code(self, work: Callable[..., Result], *arguments: Any) -> Result:  # noqa: ANN401
        return await asyncio.get_running_loop().run_in_executor(self._coding, work, *arguments)
