"""One call at the sender: frames in, keypoint packets out, on time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

import numpy as np

from sender.capture import VideoSource
from sender.rate import RateController
from sender.schedule import Batch, Batcher
from sender.summary import CallSummary
from shared.clock import Clock
from shared.config import FPS
from shared.interfaces import Backbone, Connection
from shared.keypoints import Floats
from shared.session import Ended, Event, PeerReady, PeerReport, SenderSession

_TICK_SECONDS = 0.5
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Detected:
    """A frame's keypoints (60,) and the seconds it took to capture and to detect them."""

    keypoints: Floats
    capture_seconds: float
    detect_seconds: float


class SenderCall:
    """Runs one call over `connection` until the video or the call ends.

    `inference` is single-threaded and owns source and network; the event loop only moves messages. Frame n is
    taken n / 30 s after streaming began. Frames that do not ship are not even captured.
    """

    def __init__(
        self,
        *,
        connection: Connection,
        session: SenderSession,
        source: VideoSource,
        backbone: Backbone,
        batcher: Batcher,
        clock: Clock,
        inference: Executor,
        rate: RateController | None = None,
    ) -> None:
        self._connection = connection
        self._session = session
        self._source = source
        self._backbone = backbone
        self._batcher = batcher
        self._clock = clock
        self._inference = inference
        self._rate = rate or RateController()
        self._ready = asyncio.Event()
        self._over = asyncio.Event()
        self._ended: Ended | None = None
        self.summary = CallSummary()

    def end(self, reason: str) -> None:
        """End the call from this side, in order."""
        self._handle(self._session.end(reason))

    async def run(self) -> Ended:
        """Run the call and return how it ended. Raises KeycastError where the source failed."""
        self._session.start()
        self._handle([])
        try:
            async with asyncio.TaskGroup() as group:
                works = (self._receive(), self._watch(), self._stream())
                tasks = [group.create_task(work) for work in works]
                await self._over.wait()
                for task in tasks:
                    task.cancel()
        except ExceptionGroup as failures:
            self._handle(self._session.end("The sender had to stop.", ok=False))
            raise failures.exceptions[0] from None
        finally:
            await self._connection.drained()
            self.summary.close(self._connection, self._session)
        assert self._ended is not None
        return self._ended

    async def _receive(self) -> None:
        while (message := await self._connection.recv()) is not None:
            channel, data = message
            if channel == "ctl":
                self._handle(self._session.receive_ctl(data, self._clock.now()))
        self._handle(self._session.lost(self._connection.reason or "The receiver is gone."))

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep_until(self._clock.now() + _TICK_SECONDS)
            self._handle(self._session.tick(self._clock.now()))

    def _handle(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, PeerReady):
                self._ready.set()
            elif isinstance(event, PeerReport):
                self.summary.report = event.report
                self._rate.reported(event.report, self._clock.now())
                self.summary.rate_halved = self._rate.halved
            elif isinstance(event, Ended):
                self._ended = event
                self._over.set()
        for message in self._session.outgoing():
            self._connection.send_ctl(message)

    async def _stream(self) -> None:
        await self._ready.wait()
        start, number = self._clock.now(), 0
        while True:
            number = self._next_shipped(number)
            await self._clock.sleep_until(start + number / FPS)
            timestamp_ms = self._clock.wall_ms()
            detected = await self._in(self._detect, number)
            if detected is None:
                break
            self.summary.detected(number, detected.capture_seconds, detected.detect_seconds)
            self._send(self._batcher.add(number, timestamp_ms, detected.keypoints))
            behind = int((self._clock.now() - start) * FPS)
            number = max(number + 1, behind)
        self._send(self._batcher.flush())
        self._handle(self._session.end("The video has ended."))

    def _next_shipped(self, number: int) -> int:
        schedule = self._session.terms.schedule
        while not schedule.ships(number):
            number += 1
        return number

    def _detect(self, number: int) -> Detected | None:
        begin = perf_counter()
        picture = self._source.frame(number)
        if picture is None:
            return None
        middle = perf_counter()
        keypoints = self._backbone.detect(np.asarray(picture)[None])[0]
        return Detected(keypoints, middle - begin, perf_counter() - middle)

    def _send(self, batches: list[Batch]) -> None:
        for batch in batches:
            if not self._rate.may_send(self._clock.now()):
                self.summary.held_back_packets += 1
                continue
            packet = self._session.send_frames(batch.first, batch.timestamp_ms, batch.frames)
            if packet is None:
                continue
            if self._connection.send_kp(packet):
                self._rate.sent(batch.first + len(batch.frames) - 1, len(packet), self._clock.now())
            else:
                self.summary.dropped_packets += 1

    async def _in(self, work: Callable[..., Result], *arguments: Any) -> Result:  # noqa: ANN401
        return await asyncio.get_running_loop().run_in_executor(self._inference, work, *arguments)
