"""Serves calls, one after the other, and reports how they go."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from receiver.announcement import announcement, watching
from receiver.call_admission import CallAdmission, PendingCall
from receiver.http.page_routes import Page
from receiver.http.signaling import SignalingServer
from receiver.incoming import Incoming
from receiver.live import Snapshot, listening, with_own
from receiver.options import ReceiverOptions
from receiver.pipeline import ReceiverCall
from receiver.sinks.window import WindowClosed
from receiver.stage import Stage
from receiver.status import status
from receiver.web import page_files
from shared.clock import SystemClock
from shared.codec.tables import CodecTables
from shared.errors import KeycastError, described
from shared.interfaces import Backbone, Connection
from shared.protocol.events import Agreed, Ended
from shared.runtime.console import Console, Part
from shared.runtime.deadline_executor import DeadlineExecutor
from shared.runtime.eventloop import LoopProbe, background_task, on_interrupt
from shared.runtime.journal import Journal
from shared.runtime.logs import logger
from shared.runtime.sampler import STATUS_SECONDS, Figures, Sampler
from shared.runtime.usage import seconds_since_start
from shared.transport.pairing import new_token
from shared.transport.tls import describe

_log = logger("call")
_TELL_SECONDS = 0.1


@dataclass(frozen=True)
class Place:
    """What sending and showing have in common at one end: the network and its thread, the person."""

    backbone: Backbone
    tables: CodecTables | None
    inference: DeadlineExecutor
    console: Console
    stage: Stage


class Reply(Protocol):
    """What this end sends in one call that it answers."""

    def resume(self, lane: Connection) -> None:
        """Go on over `lane`: the call has another connection."""
        ...

    def end(self, reason: str) -> None:
        """End it from this side."""
        ...

    async def finish(self, ended: Ended) -> None:
        """Return once it has ended as well: the other direction has, in order or not."""
        ...

    @property
    def is_lively(self) -> bool:
        """Whether it is sent, and the other side is there."""
        ...

    def live(self) -> Figures | None:
        """Return its live figures, `sender.live`'s; None before it has begun."""
        ...

    def status(self) -> list[Part]:
        """Return what a status line says of it."""
        ...

    def figures(self) -> Mapping[str, Any] | None:
        """Return its figures, once it has ended; None where nothing was sent."""
        ...

    async def close(self) -> None:
        """Give everything back, whatever state it is in."""
        ...


class Replying(Protocol):
    """What this end sends in the calls that it answers, where it sends anything."""

    speaks: bool
    """Whether there is sound."""

    def begin(self, lane: Connection) -> Reply:
        """Send over `lane` from now on."""
        ...


class Service:
    """Waits for a call, runs it, reports the outcome, and waits for the next one.

    Whatever ends a call, a fault of ours or of the other side, the next one is taken; but not where the sink
    has failed. `output`, single-threaded, owns the stage's sink. `replying` sends in the other direction, in
    calls of senders that show it.
    """

    def __init__(
        self,
        options: ReceiverOptions,
        incoming: Incoming,
        stage: Stage,
        output: Executor,
        console: Console,
        *,
        tls: ssl.SSLContext | None = None,
        replying: Replying | None = None,
    ) -> None:
        self._options = options
        self._controls = None if replying is None else stage.controls
        # Who sends as well has a page of their own: with buttons, and a token that callers do not have.
        self._owner = "" if replying is None else new_token()
        self._page = None
        if stage.feeds is not None:
            self._page = Page(page_files(), stage.feeds, self._watched, self._controls)
        self._incoming, self._sink = incoming, stage.sink
        self._output = output
        self._tls = tls
        self._console = console
        self._replying = replying
        self._reply: Reply | None = None
        self._admission = CallAdmission(console.complain, self._resumed)
        self._journal = Journal(options.stats)
        self._calls = 1
        self._ready_s = 0.0
        self._hung_up = self._ended_here = False

    async def serve(self) -> int:
        """Take calls until Ctrl-C; with `once`, until one was set up and has ended."""
        on_interrupt(self._hang_up)
        token, certificate = self._options.token or new_token(), self._options.tls_cert
        server = SignalingServer(
            self._options.host,
            self._options.port,
            token,
            self._admission.arrived,
            stats=self._stats,
            busy=lambda: self._busy,
            ice=self._options.ice,
            compact=self._options.compact,
            voice=self._options.audio or (self._replying is not None and self._replying.speaks),
            two_way=self._replying is not None,
            tls=self._tls,
            names=() if certificate is None else describe(certificate).names,
            say=self._console.note,
            page=self._page,
            owner=self._owner,
        )
        if self._controls is not None:
            loop = asyncio.get_running_loop()
            self._controls.on_hang_up(lambda: loop.call_soon_threadsafe(self._end_call))
        pace = _TELL_SECONDS if self._sink.is_watched else STATUS_SECONDS
        sampler = Sampler(
            SystemClock(), self._live, show=self._show, record=self._second, tell=self._tell, pace=pace
        )
        try:
            async with server, background_task(sampler.run()):
                return await self._calls_in_turn(server, token)
        finally:
            self._journal.close()

    async def _calls_in_turn(self, server: SignalingServer, token: str) -> int:
        self._announce(server, token)
        while (pending := await self._admission.next()) is not None and not self._hung_up:
            call, ended = await self._take(pending)
            if (call.hung_up and not self._ended_here) or (
                call.streaming and self._options.once and not self._busy
            ):
                return self._exit_code(ended)
            if call.streaming:
                self._console.say(f"the call has ended: {ended.reason}", "listening")
            else:
                self._console.complain(f"refused a call: {ended.reason}")
        return 0

    @property
    def _busy(self) -> bool:
        """Whether a further sender would have to wait. One may have ended its video, and go on watching."""
        return self._admission.busy or (self._reply is not None and self._reply.is_lively)

    def _exit_code(self, ended: Ended) -> int:
        if not ended.ok:
            raise KeycastError(ended.reason)
        self._console.say(ended.reason)
        return 0

    def _announce(self, server: SignalingServer, token: str) -> None:
        if server.unpublished:
            self._console.note(server.unpublished)
        lines = announcement(
            self._options.host, server.port, token, self._options.tls_cert, sends=self._replying is not None
        )
        if self._page is not None:
            own = self._owner or token
            lines.append(watching(self._options.host, server.port, own, self._options.tls_cert))
        self._ready_s = seconds_since_start()
        self._console.say(*lines)

    async def _take(self, pending: PendingCall) -> tuple[ReceiverCall, Ended]:
        """Run a pending call; return it, and how it ended. Only what would end every call is raised."""
        self._ended_here = False
        call = self._incoming.call(
            pending.link, both=self._replying is not None, on_agreed=partial(self._agreed, pending.link),
            controls=self._controls,
        )  # fmt: skip
        self._sink.new_call()
        self._admission.call = call
        probe = LoopProbe()
        try:
            async with background_task(probe.run()):
                ended = await call.run(pending.hello)
                if self._reply is not None:
                    await self._reply.finish(ended)
                return call, ended
        except Exception as error:
            if self._sink.failed:
                raise
            _log.debug("a call failed", exc_info=error)
            return call, Ended(f"The call failed here: {described(error)}", ok=False)
        finally:
            self._admission.call = None
            reply, self._reply = self._reply, None
            if reply is not None:
                await reply.close()
            await pending.link.close()
            if call.streaming:
                self._record(call, probe, None if reply is None else reply.figures())

    def _agreed(self, link: Connection, event: Agreed) -> None:
        lane = link.back if event.both else None
        if self._replying is not None and lane is not None:
            self._reply = self._replying.begin(lane)

    def _resumed(self, link: Connection) -> None:
        """Have the reply go on as well, over a connection that the call goes on over."""
        if self._reply is not None and link.back is not None:
            self._reply.resume(link.back)

    def _record(self, call: ReceiverCall, probe: LoopProbe, back: Mapping[str, Any] | None) -> None:
        if back is not None:
            self._journal.write("summary_back", {"call": self._calls, **back, **probe.to_map()})
        figures = {"ready_s": self._ready_s, **self._incoming.figures(call), **probe.to_map()}
        self._journal.write("summary", {"call": self._calls, **figures})
        self._calls += 1
        self._console.say(*call.summary.lines())

    def _show(self, figures: Figures, now: float) -> None:
        reply = [] if self._reply is None else self._reply.status()
        self._console.status([*status(figures, self._console.blocks), *reply], now)

    def _second(self, figures: Figures) -> None:
        if self._admission.call is not None and self._admission.call.streaming:
            plain = {name: value for name, value in figures.items() if name != "strip"}
            self._journal.write("second", {"call": self._calls, **plain})

    async def _tell(self, figures: Figures) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(
                self._output, self._sink.tell, self._both({**figures})
            )
        except WindowClosed:
            self._hang_up("The receiver closed its window.")

    def _hang_up(self, reason: str = "The receiver hung up.") -> None:
        self._hung_up = True
        self._admission.close()
        self._end_both(reason)

    def _end_call(self) -> None:
        """End the present call, and wait for the next one."""
        self._ended_here = not self._hung_up
        self._end_both("The receiver hung up.")

    def _end_both(self, reason: str) -> None:
        if self._reply is not None:
            self._reply.end(reason)
        if self._admission.call is not None:
            self._admission.call.end(reason)

    def _live(self) -> Snapshot:
        """Return how it goes right now; see `receiver.live.Live.snapshot`."""
        call = self._admission.call
        return listening() if call is None else call.live()

    def _both(self, figures: Snapshot) -> Snapshot:
        """Return live figures for who watches: of both directions, where this end sends as well."""
        return with_own(figures, None if self._reply is None else self._reply.live())

    def _watched(self) -> dict[str, object]:
        """Return what the page shows."""
        call = self._admission.call
        return {**self._both(self._live()), "phase": call.phase.value if call is not None else ""}

    def _stats(self) -> dict[str, object]:
        """Return the figures of the whole call, and the live ones in place of what has both."""
        call = self._admission.call
        if call is None:
            return {**self._live()}
        whole = call.summary.to_map()
        for listed in ("shown", "shown_ms"):
            whole.pop(listed)
        return {**whole, "phase": call.phase.value, **self._live()}
