"""Two-way calls at the end that answers: what the other end's `sender` shows is sent from here."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from typing import Any

from models.build import network_facts
from receiver import app
from receiver.options import ReceiverOptions
from receiver.service import Place
from sender.app import DETECT_SECONDS
from sender.live import in_short
from sender.options import SenderOptions, check_outgoing
from sender.outgoing import Media, Outgoing, opened
from sender.pipeline import SenderCall
from sender.reconnecting import Reconnecting
from sender.sounds import make_canceller
from shared.errors import KeycastError, described
from shared.interfaces import Connection
from shared.media.echo import EchoCanceller
from shared.protocol.events import Ended
from shared.protocol.message_format import pack_message
from shared.protocol.messages import Bye
from shared.runtime.console import Console, Part
from shared.runtime.logs import logger
from shared.runtime.sampler import Figures

_log = logger("call")
GONE = "The other side is gone."


async def run(options: ReceiverOptions, sending: SenderOptions) -> int:
    """Serve calls as `receiver.app.run` does, and send what `sending` says to senders that show it."""
    check_outgoing(sending)
    say = Console(sys.stdout, sys.stderr)
    canceller = make_canceller(sending.audio, sending.source, say.note)
    with ThreadPoolExecutor(1, "encoding") as encoding, ThreadPoolExecutor(1, "coding") as coding:
        # A camera that is not there should be known now, and be somebody's only while there is a call.
        async with opened(sending, encoding, lambda _: None):
            pass

        def make(place: Place) -> Replies:
            return Replies(sending, place, encoding, coding, canceller)

        return await app.run(options, make, None if canceller is None else canceller.played)


class Replies:
    """Implements `receiver.service.Replying`."""

    def __init__(
        self,
        options: SenderOptions,
        place: Place,
        encoding: Executor,
        coding: Executor,
        canceller: EchoCanceller | None = None,
    ) -> None:
        self._options, self.place, self._encoding, self._canceller = options, place, encoding, canceller
        self.controls = place.stage.controls
        self.speaks = options.audio is not None
        self.outgoing = Outgoing(
            options, place.backbone, place.tables,
            inference=place.inference.lane(DETECT_SECONDS), encoding=encoding, coding=coding,
        )  # fmt: skip

    def opened(self) -> AbstractAsyncContextManager[Media]:
        """Open what is sent, for one call."""
        return opened(self._options, self._encoding, self.place.console.note, self._canceller)

    def begin(self, lane: Connection) -> Reply:
        """Send over `lane` from now on."""
        return Reply(self, lane)


class Reply:
    """Implements `receiver.service.Reply`: opens the source, and sends until one of the two sides ends it.

    Where it fails, the other direction goes on.
    """

    def __init__(self, replies: Replies, lane: Connection) -> None:
        self._replies = replies
        self._lane = self._used = lane
        self._moved = asyncio.Event()
        self._closing: set[asyncio.Task[None]] = set()
        self._call: SenderCall | None = None
        self._is_over = self._is_last = False
        self._task = asyncio.create_task(self._run())

    def resume(self, lane: Connection) -> None:
        """Go on over `lane`; where the one before ended too soon to begin, begin again."""
        before, self._lane = self._lane, lane
        self._moved.set()
        closing = asyncio.create_task(before.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        if self._task.done() and not self._is_over:
            self._task = asyncio.create_task(self._run())

    def end(self, reason: str) -> None:
        """End it from this side."""
        self._is_last = True
        if self._call is None:
            self._task.cancel()
        else:
            self._call.end(reason)

    async def finish(self, ended: Ended) -> None:
        """Return once it has ended as well: at once where the other direction failed or nobody is there."""
        self._is_last = True
        self._moved.set()
        # What is stalled may be back in a moment, and ends by itself where it is not.
        if not ended.ok or not (self.is_lively or self._state == "stalled"):
            self.end(GONE if ended.ok else ended.reason)
        await asyncio.wait({self._task})

    @property
    def is_lively(self) -> bool:
        """Whether it is sent, and the other side is there."""
        return self._state in ("live", "paused", "on hold")

    @property
    def _state(self) -> str:
        return "" if self._call is None or self._task.done() else self._call.state

    def live(self) -> Figures | None:
        """Return its live figures; None before it has begun."""
        return None if self._call is None else self._call.live()

    def status(self) -> list[Part]:
        """Return what a status line says of it."""
        figures = self.live()
        return [] if figures is None else [("  sending: ", ""), *in_short(figures)]

    def figures(self) -> Mapping[str, Any] | None:
        """Return its figures; None where no call came of it."""
        if self._call is None:
            return None
        facts = network_facts(self._replies.place.backbone)
        return {"preset": self._replies.outgoing.preset, **facts, **self._call.summary.to_map()}

    async def close(self) -> None:
        """Give everything back."""
        self._is_last = True
        self._task.cancel()
        await asyncio.wait({self._task})
        await self._lane.close()

    async def _run(self) -> None:
        """Send; and anew where a connection was lost before anything was, and the next one is there."""
        while not self._is_over:
            await self._send()
            if self._lane is self._used:
                return

    async def _send(self) -> None:
        replies, self._used, self._call = self._replies, self._lane, None
        try:
            async with replies.opened() as media:
                encoded = await replies.outgoing.encoded(media)
                # A camera takes its time, and the connection may be another one by now.
                self._used = self._lane
                self._call = replies.outgoing.call(
                    self._used, media, encoded, Reconnecting(self._connect),
                    controls=replies.controls, show_self=replies.place.stage.self_view.update,
                )  # fmt: skip
                ended = await self._call.run()
                self._is_over = ended.ok
                _log.debug("nothing more is sent back: %s", ended.reason)
                # Where it goes on over another connection, or nobody is there any more, all is as it should.
                if not (ended.ok or self._is_last) and self._lane is self._used:
                    self._complain(ended.reason)
        except Exception as error:
            _log.debug("sending back failed", exc_info=error)
            self._is_over = True
            self._complain(described(error))
            await self._leave()

    def _complain(self, reason: str) -> None:
        self._replies.place.console.note(f"nothing more is sent to the other side: {reason}")

    async def _leave(self) -> None:
        """Give the lane up; where no call has told the other side, say that there will be none."""
        if self._call is None and not self._lane.ended:
            with contextlib.suppress(KeycastError):
                self._lane.send_ctl(pack_message(Bye("The other side cannot send now.", ok=False)))
            await self._lane.drained()
        await self._lane.close()

    async def _connect(self) -> Connection:
        """Wait for the lane of the call's next connection."""
        while self._lane is self._used or self._lane.ended:
            if self._is_last and self._call is not None:
                self._call.end(GONE)
                raise KeycastError(GONE)
            self._moved.clear()
            await self._moved.wait()
        self._used = self._lane
        return self._lane
