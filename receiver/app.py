"""Puts a receiver together: networks, sink, signaling, call."""

from __future__ import annotations

import asyncio
import ssl
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from models.build import load_backbone, load_tables, use_threads
from models.forecast.build import best_forecaster, load_forecaster
from receiver.announcement import announcement
from receiver.avatar import load_avatar
from receiver.pipeline import ReceiverCall
from receiver.playout import DELAY_SECONDS, MAX_DELAY_SECONDS, Playout
from receiver.renderer import Renderer
from receiver.sinks import Sinks, make_sink
from shared.clock import SystemClock
from shared.codec import Codec, CodedCodec, PaperCodec
from shared.config import FPS, CallTerms
from shared.errors import KeycastError, RequestError
from shared.eventloop import on_interrupt
from shared.files import check_writable, write_json
from shared.fill import Filler
from shared.interfaces import Backbone, Forecaster
from shared.keypoints import Floats
from shared.session import Ended, ReceiverSession
from shared.transport.datachannel import Link
from shared.transport.pairing import check_strong, is_loopback, new_token
from shared.transport.signaling import SignalingServer
from shared.transport.tls import server_context


@dataclass(frozen=True)
class ReceiverOptions:
    """What the command line asked for; None means: choose."""

    host: str
    port: int
    token: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    view: str | None = None
    output: Path | None = None
    avatar: Path | None = None
    forecaster: str | None = None
    backbone: str | None = None
    checkpoint: Path | None = None
    device: str = "auto"
    threads: int = 1
    playout_delay: float = DELAY_SECONDS
    stats: Path | None = None
    compact: bool = True


@dataclass(frozen=True)
class _Models:
    """`avatar`: the keypoints (60,) of the receiver's own picture, the backbone's source; or None."""

    backbone: Backbone
    codecs: dict[str, Codec]
    forecaster: Forecaster
    avatar: Floats | None


async def run(options: ReceiverOptions) -> int:
    """Serve until one call has ended and return the exit code; KeycastError where it fails."""
    _check(options)
    tls = _tls(options)
    use_threads(options.threads)
    loop = asyncio.get_running_loop()
    sink = make_sink(options.view, options.output)
    with ThreadPoolExecutor(1, "inference") as inference, ThreadPoolExecutor(1, "output") as output:
        try:
            await loop.run_in_executor(output, sink.open)
            # Everything is loaded and warm before the first call may come in.
            models = await loop.run_in_executor(inference, _load, options)
            return await _Receiver(options, models, sink, inference, output, tls=tls).serve()
        finally:
            await loop.run_in_executor(output, sink.close)


def _check(options: ReceiverOptions) -> None:
    if options.threads < 1:
        raise RequestError(
            f"The networks need at least 1 thread, not {options.threads}; give another --threads."
        )
    if not 0 <= options.playout_delay <= MAX_DELAY_SECONDS:
        most = MAX_DELAY_SECONDS * 1000
        raise RequestError(f"The playout delay is from 0 to {most:.0f} ms; give another --playout-delay.")
    if options.stats is not None:
        check_writable(options.stats)
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
    """Waits for a call, runs it, says what came of it."""

    def __init__(
        self,
        options: ReceiverOptions,
        models: _Models,
        sink: Sinks,
        inference: ThreadPoolExecutor,
        output: ThreadPoolExecutor,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._options = options
        self._models = models
        self._sink = sink
        self._inference = inference
        self._output = output
        self._tls = tls
        self._links: asyncio.Queue[Link | None] = asyncio.Queue()
        self._call: ReceiverCall | None = None
        self._hung_up = False

    async def serve(self) -> int:
        """Take calls until one was set up and has ended, or until Ctrl-C."""
        on_interrupt(self._hang_up)
        token = self._options.token or new_token()
        server = SignalingServer(
            self._options.host,
            self._options.port,
            token,
            self._links.put_nowait,
            stats=self._stats,
            compact=self._options.compact,
            tls=self._tls,
            say=_note,
        )
        async with server:
            self._announce(server, token)
            while (link := await self._links.get()) is not None and not self._hung_up:
                self._call = call = self._new_call(link)
                ended = await self._run(call, link)
                self._call = None
                if call.streaming:
                    return _exit_code(ended)
                if not self._hung_up:
                    print(f"refused a call: {ended.reason}", file=sys.stderr, flush=True)
        return 0

    def _announce(self, server: SignalingServer, token: str) -> None:
        if server.unpublished:
            _note(server.unpublished)
        for line in announcement(self._options.host, server.port, token, self._options.tls_cert):
            print(line)
        sys.stdout.flush()

    def _new_call(self, link: Link) -> ReceiverCall:
        models = self._models
        terms = CallTerms(models.backbone.name, models.backbone.fingerprint)
        return ReceiverCall(
            connection=link,
            session=ReceiverSession(terms, models.codecs, models.avatar is not None, models.forecaster.name),
            renderer=Renderer(models.backbone, Filler(models.forecaster), models.avatar),
            sink=self._sink,
            playout=Playout(FPS, self._options.playout_delay),
            clock=SystemClock(),
            inference=self._inference,
            output=self._output,
        )

    async def _run(self, call: ReceiverCall, link: Link) -> Ended:
        try:
            return await call.run()
        finally:
            await link.close()
            if call.streaming:
                self._record(call)

    def _record(self, call: ReceiverCall) -> None:
        if self._options.stats is not None:
            write_json(
                self._options.stats, {"forecaster": self._models.forecaster.name, **call.summary.to_map()}
            )
        print("\n".join(call.summary.lines()), flush=True)

    def _hang_up(self) -> None:
        self._hung_up = True
        self._links.put_nowait(None)
        if self._call is not None:
            self._call.end("The receiver hung up.")

    def _stats(self) -> dict[str, object]:
        if self._call is None:
            return {"state": "listening"}
        values = self._call.summary.to_map()
        for listed in ("shown", "shown_ms"):
            values.pop(listed)
        return {"state": "in a call", **values}


def _note(line: str) -> None:
    print(f"note: {line}", file=sys.stderr, flush=True)


def _exit_code(ended: Ended) -> int:
    if not ended.ok:
        raise KeycastError(ended.reason)
    print(ended.reason, flush=True)
    return 0
