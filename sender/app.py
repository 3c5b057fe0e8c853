"""Assembles a sender: source, network, connection, call, and what shows the other side."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Protocol

from models.build import load_backbone, load_tables, network_facts, network_words, use_threads
from sender.calling import connect
from sender.live import status
from sender.options import SenderOptions, check_outgoing
from sender.outgoing import Outgoing, opened
from sender.pipeline import SenderCall
from sender.reconnecting import Reconnecting, first_link
from shared.clock import SystemClock
from shared.codec.tables import CodecTables
from shared.errors import KeycastError, RequestError
from shared.interfaces import Backbone, Connection
from shared.keypoints import Pictures
from shared.media.echo import EchoCanceller
from shared.protocol.events import Agreed, Ended
from shared.runtime.console import Console, Part
from shared.runtime.controls import Controls
from shared.runtime.deadline_executor import DeadlineExecutor
from shared.runtime.eventloop import LoopProbe, background_task, on_interrupt
from shared.runtime.journal import Journal
from shared.runtime.sampler import STATUS_SECONDS, Figures, Sampler
from shared.runtime.stats import path_suffix
from shared.runtime.usage import seconds_since_start
from shared.transport.datachannel import Link
from shared.transport.pairing import call_url
from shared.transport.tls import client_context

FAILED = "The other side can no longer be shown."
HUNG_UP = "The sender hung up."
DETECT_SECONDS = 0.02
"""By when each step of what is sent should be done: behind a frame that is due to be drawn, but not two."""


class Showing(Protocol):
    """What shows the other side of a two-way call. Everything is called in the event loop."""

    wants_sound: bool
    """Whether sound is wanted."""
    canceller: EchoCanceller | None
    """What keeps sound that is heard here out of sound that is sent, where there is need of it."""
    controls: Controls
    """What the person here chooses: to be muted, on hold, to hang up."""

    @property
    def pace(self) -> float:
        """Seconds between two calls of `tell`."""
        ...

    async def load(self, backbone: Backbone, tables: CodecTables | None, inference: DeadlineExecutor) -> None:
        """Make ready. Raise RequestError where something cannot be used."""
        ...

    def show_self(self, picture: Pictures) -> None:
        """Take what is captured here, in the thread that captures."""
        ...

    def shows(self, lane: Connection) -> None:
        """Show what comes over `lane`: a call's, or the next one of a call that has lost the one before."""
        ...

    async def run(self) -> None:
        """Show one call after the other until `finish`ed. Raise KeycastError where nothing can be shown."""
        ...

    def finish(self) -> None:
        """Take no further call; `run` returns once the present one, if any, has ended."""
        ...

    def end(self, reason: str) -> None:
        """End the present call from this side, and `finish`."""
        ...

    async def tell(self, own: Figures) -> str:
        """Refresh figures that are watched; return why the user has hung up there, or "".

        `own` are those of what is sent.
        """
        ...

    def status(self) -> list[Part]:
        """Return what a status line says of it."""
        ...

    def figures(self) -> Mapping[str, Any] | None:
        """Return the figures of the last call that has ended; None where there was none."""
        ...

    async def close(self) -> None:
        """Give everything back."""
        ...


async def run(options: SenderOptions, make_showing: Callable[[Console], Showing] | None = None) -> int:
    """Run one call and return the exit code; KeycastError, in one sentence, where it fails.

    With `make_showing` the other side may send as well, and is shown.
    """
    _check(options)
    tls = _tls(options)
    use_threads(options.threads)
    console = Console(sys.stdout, sys.stderr)
    showing = None if make_showing is None else make_showing(console)
    async with AsyncExitStack() as stack:
        inference: Executor
        coding: Executor | None = None
        if showing is None:
            inference = stack.enter_context(ThreadPoolExecutor(1, "inference"))
        else:
            shared = stack.enter_context(DeadlineExecutor("inference"))
            inference = shared.lane(DETECT_SECONDS)
            coding = stack.enter_context(ThreadPoolExecutor(1, "coding"))
            stack.push_async_callback(showing.close)
        encoding = stack.enter_context(ThreadPoolExecutor(1, "encoding"))
        media = await stack.enter_async_context(
            opened(options, inference, console.note, None if showing is None else showing.canceller)
        )

        def load() -> tuple[Backbone, CodecTables | None]:
            backbone = load_backbone(options.backbone, options.checkpoint, options.device)
            backbone.warmup(render=False)
            return backbone, load_tables(backbone, options.checkpoint)

        backbone, tables = await asyncio.get_running_loop().run_in_executor(inference, load)
        console.say(f"network: {network_words(backbone)}")
        outgoing = Outgoing(options, backbone, tables, inference=inference, encoding=encoding, coding=coding)
        encoded = await outgoing.encoded(media)
        if showing is not None:
            await showing.load(backbone, tables, shared)
        voice = media.voice is not None or (showing is not None and showing.wants_sound)
        dialer = _Dialer(options, tls, voice=voice, two_way=showing is not None)
        stack.push_async_callback(dialer.shut)
        link = await _answered(dialer, None if showing is None else showing.controls)
        if link is None:
            console.say(HUNG_UP)
            return 0
        again = Reconnecting(dialer.connect, options.give_up, console.note) if options.give_up else None

        def agreed(event: Agreed) -> None:
            if showing is None or dialer.link is None:
                return
            lane = dialer.link.back if event.both else None
            if lane is not None:
                showing.shows(lane)
            else:
                console.note("the other side sends nothing to show")

        if showing is None:
            call = outgoing.call(link, media, encoded, again)
        else:
            call = outgoing.call(
                link, media, encoded, again, both=True, on_agreed=agreed,
                controls=showing.controls, show_self=showing.show_self,
            )  # fmt: skip
        running = _Running(options, call, showing, console, preset=outgoing.preset, backbone=backbone)
        return await running.run(link)


def _check(options: SenderOptions) -> None:
    if options.threads < 1:
        raise RequestError(f"The network needs at least 1 thread, not {options.threads}; change --threads.")
    check_outgoing(options)
    if not options.give_up >= 0:
        raise RequestError(f"--give-up must be 0 seconds or more, not {options.give_up:g}.")
    Journal(options.stats).check()


def _tls(options: SenderOptions) -> ssl.SSLContext | None:
    """Return what an https receiver's certificate is checked with; None where there is none to check."""
    if call_url(options.url).startswith("https:"):
        return client_context(options.tls_ca)
    if options.tls_ca is not None:
        raise RequestError(
            "Without https there is no certificate to check; write --connect https://HOST:PORT."
        )
    return None


class _Dialer:
    """Calls the receiver that `options` name; of its links, the last is in use."""

    def __init__(
        self, options: SenderOptions, tls: ssl.SSLContext | None, *, voice: bool, two_way: bool
    ) -> None:
        self._connect = partial(
            connect, options.url, options.token, options.ice,
            compact=options.compact, voice=voice, two_way=two_way, tls=tls,
        )  # fmt: skip
        self._two_way = two_way
        self.link: Link | None = None

    async def connect(self) -> Link:
        """Return a new link, in place of the one before."""
        # The lane back may still be in use, of a connection that is of no use any more.
        await self.shut()
        self.link = await self._connect()
        return self.link

    async def shut(self) -> None:
        """End the link in use, all of it."""
        if self.link is not None:
            await (self.link.shut() if self._two_way else self.link.close())


async def _answered(dialer: _Dialer, controls: Controls | None) -> Link | None:
    """Return a link to the receiver; None where who calls hangs up, by `controls`, before it has answered."""
    calling = asyncio.create_task(first_link(dialer.connect, SystemClock()))
    if controls is None:
        return await calling
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    forget = controls.on_hang_up(lambda: loop.call_soon_threadsafe(calling.cancel))
    try:
        return await calling
    except asyncio.CancelledError:
        if task is not None and task.cancelling():
            raise
        return None
    finally:
        forget()


async def _together(call: SenderCall, showing: Showing) -> Ended:
    """Run both directions and return how ours ended. Each ends by itself; one that fails ends the other."""
    back = asyncio.create_task(showing.run())
    back.add_done_callback(
        lambda _: None if back.cancelled() or back.exception() is None else call.end(FAILED)
    )
    try:
        ended = await call.run()
        if ended.ok:
            showing.finish()
        else:
            showing.end(ended.reason)
        await back
    finally:
        back.cancel()
    return ended


class _Running:
    """Runs `call`, and what shows the other side; says how it goes and how it went."""

    def __init__(
        self,
        options: SenderOptions,
        call: SenderCall,
        showing: Showing | None,
        console: Console,
        *,
        preset: str,
        backbone: Backbone,
    ) -> None:
        self._call, self._showing, self._console = call, showing, console
        self._preset, self._backbone = preset, backbone
        self._journal = Journal(options.stats)
        self._probe = LoopProbe()
        self._ready_s = seconds_since_start()

    async def run(self, link: Link) -> int:
        """Run to the end; return the exit code. Raise KeycastError where the call failed."""
        console, call = self._console, self._call
        hang_up = partial(self._hang_up, HUNG_UP)
        on_interrupt(hang_up)
        if self._showing is not None:
            loop = asyncio.get_running_loop()
            self._showing.controls.on_hang_up(lambda: loop.call_soon_threadsafe(hang_up))
        if link.ice_problem is not None:
            console.note(str(link.ice_problem))
        console.say(f"calling{path_suffix(link.path)}")
        sampler = Sampler(
            SystemClock(), call.live,
            show=self._show, record=partial(self._journal.write, "second"), tell=self._tell,
            pace=STATUS_SECONDS if self._showing is None else self._showing.pace,
        )  # fmt: skip
        try:
            async with background_task(sampler.run()), background_task(self._probe.run()):
                ended = await (call.run() if self._showing is None else _together(call, self._showing))
        finally:
            console.close()
            self._record()
        if not ended.ok:
            raise KeycastError(ended.reason)
        console.say(ended.reason)
        return 0

    def _hang_up(self, reason: str) -> None:
        self._call.end(reason)
        if self._showing is not None:
            self._showing.end(reason)

    def _show(self, figures: Figures, now: float) -> None:
        further = [] if self._showing is None else self._showing.status()
        self._console.status([*status(figures), *further], now)

    async def _tell(self, figures: Figures) -> None:
        reason = "" if self._showing is None else await self._showing.tell(figures)
        if reason:
            self._hang_up(reason)

    def _record(self) -> None:
        back, block = None if self._showing is None else self._showing.figures(), self._probe.to_map()
        if back is not None:
            self._journal.write("summary_back", {"ready_s": self._ready_s, **back, **block})
        figures = {
            "preset": self._preset, **network_facts(self._backbone), **self._call.summary.to_map(), **block,
        }  # fmt: skip
        self._journal.write("summary", figures)
        self._console.say(*self._call.summary.lines())
        self._journal.close()
