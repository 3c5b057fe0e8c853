"""Puts a receiver together: networks, sink, signaling, call."""

from __future__ import annotations

import asyncio
import ssl
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from secrets import token_bytes

from models.build import load_backbone, load_tables, use_threads
from models.forecast.build import best_forecaster, load_forecaster
from receiver.announcement import announcement, watching
from receiver.avatar import load_avatar
from receiver.doorman import Doorman, Guest
from receiver.hearing import Hearing
from receiver.live import Snapshot, listening
from receiver.pipeline import ReceiverCall
from receiver.playout import DELAY_SECONDS, MAX_DELAY_SECONDS, Playout
from receiver.renderer import Renderer
from receiver.sinks import Sinks, make_sink
from receiver.sinks.loudspeaker import loudspeaker
from receiver.sinks.page import PageSink
from receiver.sinks.window import WindowClosed
from receiver.status import status
from receiver.web import page_files
from shared.clock import SystemClock
from shared.codec import Codec, CodedCodec, PaperCodec
from shared.config import FPS, SECRET_BYTES, CallTerms
from shared.console import Console
from shared.errors import KeycastError, RequestError
from shared.eventloop import beside, on_interrupt
from shared.events import Ended
from shared.fill import Filler
from shared.interfaces import Backbone, Forecaster
from shared.journal import Journal
from shared.keypoints import Floats
from shared.opus import has_opus
from shared.receiver_session import ReceiverSession
from shared.transport.broadcast import Broadcast
from shared.transport.datachannel import try_servers
from shared.transport.page import Page
from shared.transport.pairing import check_strong, is_loopback, new_token
from shared.transport.servers import DIRECT, IceOptions
from shared.transport.signaling import SignalingServer
from shared.transport.tls import server_context
from shared.watch import STATUS_SECONDS, Figures, Watch

_TELL_SECONDS = 0.1
HOLD_SECONDS = 60.0
"""How long a call waits for a sender whose connection is lost."""


@dataclass(frozen=True)
class ReceiverOptions:
    """What the command line asked for; None means: choose."""

    host: str
    port: int
    token: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    view: str | None = None
    outputs: tuple[Path, ...] = ()
    virtual_camera: str | None = None
    avatar: Path | None = None
    forecaster: str | None = None
    backbone: str | None = None
    checkpoint: Path | None = None
    device: str = "auto"
    threads: int = 1
    playout_delay: float = DELAY_SECONDS
    stats: Path | None = None
    compact: bool = True
    once: bool = False
    audio: bool = True
    speaker: str | None = None
    ice: IceOptions = DIRECT


@dataclass(frozen=True)
class _Models:
    """`avatar`: the keypoints (60,) of the receiver's own picture, the backbone's source; or None."""

    backbone: Backbone
    codecs: dict[str, Codec]
    forecaster: Forecaster
    avatar: Floats | None


async def run(options: ReceiverOptions) -> int:
    """Serve one call after the other and return the exit code; KeycastError where it fails."""
    _check(options)
    tls = _tls(options)
    use_threads(options.threads)
    loop = asyncio.get_running_loop()
    console = Console(sys.stdout, sys.stderr)
    problem = await try_servers(options.ice)
    if problem is not None:
        console.note(str(problem))

    def say(line: str) -> None:
        # A window speaks from a thread of its own.
        loop.call_soon_threadsafe(console.say, line)

    speaker = loudspeaker(options.audio and has_opus(), options.speaker, options.view, console.note)
    sink = make_sink(options.view, options.outputs, options.virtual_camera, say, speaker)
    audience = Broadcast() if options.view != "none" else None
    if audience is not None:
        sink.add(PageSink(audience))
    with ThreadPoolExecutor(1, "inference") as inference, ThreadPoolExecutor(1, "output") as output:
        try:
            await loop.run_in_executor(output, sink.open)
            # Everything is loaded and warm before the first call may come in.
            models = await loop.run_in_executor(inference, _load, options)
            receiver = _Receiver(
                options, models, sink, inference, output, console=console, tls=tls, audience=audience
            )
            return await receiver.serve()
        finally:
            console.close()
            await loop.run_in_executor(output, sink.close)


def _check(options: ReceiverOptions) -> None:
    if options.threads < 1:
        raise RequestError(
            f"The networks need at least 1 thread, not {options.threads}; give another --threads."
        )
    if not 0 <= options.playout_delay <= MAX_DELAY_SECONDS:
        most = MAX_DELAY_SECONDS * 1000
        raise RequestError(f"The playout delay is from 0 to {most:.0f} ms; give another --playout-delay.")
    Journal(options.stats).check()
    if options.token is not None and not is_loopback(options.host):
        check_strong(options.token)


def _tls(options: ReceiverOptions) -> ssl.SSLContext | None:
    if options.tls_cert is None and options.tls_key is None:
        return None
    if options.tls_cert is None or options.tls_key is None:
        raise RequestError("TLS needs a certificate and its key; give both --tls-cert and --tls-key.")
    return server_context(options.tls_cert, options.tls_key)


def _load(options: ReceiverOptions) -> _Models:
    picture = load_avatar(options.avatar) if options.avatar is not None else None
    backbone = load_backbone(options.backbone, options.checkpoint, options.device)
    backbone.warmup()
    avatar = backbone.set_source(picture) if picture is not None else None
    name = options.forecaster
    forecaster = load_forecaster(name) if name is not None else best_forecaster(backbone.fingerprint)
    codecs: dict[str, Codec] = {PaperCodec.name: PaperCodec()}
    tables = load_tables(backbone, options.checkpoint)
    if tables is not None:
        codecs[CodedCodec.name] = CodedCodec(tables)
    return _Models(backbone, codecs, forecaster, avatar)


class _Receiver:
    """Waits for a call, runs it, says what came of it, and waits for the next one."""

    def __init__(
        self,
        options: ReceiverOptions,
        models: _Models,
        sink: Sinks,
        inference: ThreadPoolExecutor,
        output: ThreadPoolExecutor,
        *,
        console: Console,
        tls: ssl.SSLContext | None = None,
        audience: Broadcast | None = None,
    ) -> None:
        self._options = options
        self._page = Page(page_files(), audience, self._watched) if audience is not None else None
        self._models = models
        self._sink = sink
        self._inference = inference
        self._output = output
        self._tls = tls
        self._console = console
        self._doorman = Doorman(console.complain)
        self._journal = Journal(options.stats)
        self._calls = 1
        self._hung_up = False

    async def serve(self) -> int:
        """Take calls until Ctrl-C; with `once`, until one was set up and has ended."""
        on_interrupt(self._hang_up)
        token = self._options.token or new_token()
        server = SignalingServer(
            self._options.host,
            self._options.port,
            token,
            self._doorman.arrived,
            stats=self._stats,
            busy=lambda: self._doorman.busy,
            ice=self._options.ice,
            compact=self._options.compact,
            voice=self._options.audio,
            tls=self._tls,
            say=self._console.note,
            page=self._page,
        )
        pace = _TELL_SECONDS if self._sink.is_watched else STATUS_SECONDS
        watch = Watch(
            SystemClock(), self._live, show=self._show, record=self._second, tell=self._tell, pace=pace
        )
        try:
            async with server, beside(watch.run()):
                return await self._calls_in_turn(server, token)
        finally:
            self._journal.close()

    async def _calls_in_turn(self, server: SignalingServer, token: str) -> int:
        self._announce(server, token)
        while (guest := await self._doorman.next()) is not None and not self._hung_up:
            call, ended = await self._take(guest)
            if call.hung_up or (call.streaming and self._options.once and not self._doorman.busy):
                return self._exit_code(ended)
            if call.streaming:
                self._console.say(f"the call has ended: {ended.reason}\nlistening")
            else:
                self._console.complain(f"refused a call: {ended.reason}")
        return 0

    def _exit_code(self, ended: Ended) -> int:
        if not ended.ok:
            raise KeycastError(ended.reason)
        self._console.say(ended.reason)
        return 0

    def _announce(self, server: SignalingServer, token: str) -> None:
        if server.unpublished:
            self._console.note(server.unpublished)
        lines = announcement(self._options.host, server.port, token, self._options.tls_cert)
        if self._page is not None:
            lines.append(watching(self._options.host, server.port, token, self._options.tls_cert))
        self._console.say("\n".join(lines))

    async def _take(self, guest: Guest) -> tuple[ReceiverCall, Ended]:
        """Run a guest's call; return it, and how it ended."""
        call = self._new_call(guest)
        self._sink.new_call()
        self._doorman.call = call
        try:
            return call, await call.run(guest.hello)
        finally:
            self._doorman.call = None
            await guest.link.close()
            if call.streaming:
                self._record(call)

    def _new_call(self, guest: Guest) -> ReceiverCall:
        models = self._models
        terms = CallTerms(models.backbone.name, models.backbone.fingerprint)
        avatar, secret = models.avatar is not None, token_bytes(SECRET_BYTES)
        playout, clock = Playout(FPS, self._options.playout_delay), SystemClock()
        audio = self._options.audio and has_opus()
        sound = Hearing(playout, clock, self._sink.hear, lambda: self._sink.lead) if audio else None
        return ReceiverCall(
            connection=guest.link,
            session=ReceiverSession(
                terms, models.codecs, avatar, models.forecaster.name, secret, voice=audio
            ),
            renderer=Renderer(models.backbone, Filler(models.forecaster), models.avatar),
            sink=self._sink,
            playout=playout,
            clock=clock,
            inference=self._inference,
            output=self._output,
            hold=HOLD_SECONDS,
            hearing=sound,
        )

    def _record(self, call: ReceiverCall) -> None:
        forecaster = self._models.forecaster.name
        figures = {**call.summary.to_map(), **self._sink.figures()}
        self._journal.write("summary", {"call": self._calls, "forecaster": forecaster, **figures})
        self._calls += 1
        self._console.say("\n".join(call.summary.lines()))

    def _show(self, figures: Figures, now: float) -> None:
        self._console.status(status(figures, self._console.blocks), now)

    def _second(self, figures: Figures) -> None:
        if self._doorman.call is not None and self._doorman.call.streaming:
            plain = {name: value for name, value in figures.items() if name != "strip"}
            self._journal.write("second", {"call": self._calls, **plain})

    async def _tell(self, figures: Figures) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._output, self._sink.tell, figures)
        except WindowClosed:
            self._hang_up("The receiver closed its window.")

    def _hang_up(self, reason: str = "The receiver hung up.") -> None:
        self._hung_up = True
        self._doorman.close()
        if self._doorman.call is not None:
            self._doorman.call.end(reason)

    def _live(self) -> Snapshot:
        """Return how it goes right now; see `receiver.live.Live.snapshot`."""
        call = self._doorman.call
        return listening() if call is None else call.live()

    def _watched(self) -> dict[str, object]:
        """Return what the page shows."""
        call = self._doorman.call
        return {**self._live(), "phase": call.phase.value if call is not None else ""}

    def _stats(self) -> dict[str, object]:
        """Return the figures of the whole call, and the live ones in place of what has both."""
        call = self._doorman.call
        if call is None:
            return {**self._live()}
        whole = call.summary.to_map()
        for listed in ("shown", "shown_ms"):
            whole.pop(listed)
        return {**whole, "phase": call.phase.value, **self._live()}
