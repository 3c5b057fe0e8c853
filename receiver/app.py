"""Assembles a receiver: networks, sinks, service."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

from models.build import load_backbone, load_tables, network_words, use_threads
from receiver.incoming import Incoming, Models, ready_models
from receiver.options import ReceiverOptions, check_showing
from receiver.service import Place, Replying, Service
from receiver.sinks.loudspeaker import Tap
from receiver.stage import set_stage
from shared.codec.tables import CodecTables
from shared.errors import RequestError
from shared.runtime.console import Console
from shared.runtime.deadline_executor import DeadlineExecutor
from shared.runtime.journal import Journal
from shared.transport.datachannel import try_servers
from shared.transport.pairing import check_strong, is_loopback
from shared.transport.tls import server_context

RENDER_SECONDS = 0.01
"""By when a frame should be drawn that is wanted: at once, and before anything else that waits."""
MakeReplying = Callable[[Place], Replying]
"""Makes what sends in the other direction, in one place with the rest."""


async def run(
    options: ReceiverOptions, make_replying: MakeReplying | None = None, tap: Tap | None = None
) -> int:
    """Serve one call after the other and return the exit code; KeycastError where it fails.

    `make_replying` gives what is sent to senders that show it; `tap` gets what is heard here.
    """
    _check(options)
    tls = _tls(options)
    use_threads(options.threads)
    console = Console(sys.stdout, sys.stderr)
    problem = await try_servers(options.ice)
    if problem is not None:
        console.note(str(problem))
    sends = make_replying is not None
    stage = set_stage(options, console, page=options.view != "none", sends=sends, tap=tap)
    loop = asyncio.get_running_loop()
    with (
        _inference(sends) as (inference, shared),
        ThreadPoolExecutor(1, "output") as output,
        ThreadPoolExecutor(1, "decoding") as decoding,
        ThreadPoolExecutor(1, "sound") as sound,
    ):
        try:
            await loop.run_in_executor(output, stage.sink.open)
            # Everything is loaded and warm before the first call may arrive.
            models, tables = await _loaded(options, console, inference, sends=sends)
            console.say(f"network: {network_words(models.backbone)}")
            replying = None
            if make_replying is not None and shared is not None:
                place = Place(models.backbone, tables, shared, console, stage)
                replying = make_replying(place)
            incoming = Incoming(
                options, models, stage.sink,
                inference=inference, output=output, decoding=decoding, sound=sound,
            )  # fmt: skip
            service = Service(options, incoming, stage, output, console, tls=tls, replying=replying)
            return await service.serve()
        finally:
            console.close()
            await loop.run_in_executor(output, stage.sink.close)


async def _loaded(
    options: ReceiverOptions, console: Console, inference: Executor, *, sends: bool
) -> tuple[Models, CodecTables | None]:
    """Load in `inference` what draws, and where this end `sends`, what detects."""
    loop = asyncio.get_running_loop()

    def note(sentence: str) -> None:
        loop.call_soon_threadsafe(console.note, sentence)

    def load() -> tuple[Models, CodecTables | None]:
        backbone = load_backbone(options.backbone, options.checkpoint, options.device)
        tables = load_tables(backbone, options.checkpoint)
        models = ready_models(options, backbone, tables, note)
        if sends:
            backbone.warmup(render=False)
        return models, tables

    return await loop.run_in_executor(inference, load)


@contextlib.contextmanager
def _inference(is_shared: bool) -> Iterator[tuple[Executor, DeadlineExecutor | None]]:
    """Give the thread that draws; where it `is_shared`, with what others get their turns by."""
    if not is_shared:
        with ThreadPoolExecutor(1, "inference") as inference:
            yield inference, None
        return
    with DeadlineExecutor("inference") as shared:
        yield shared.lane(RENDER_SECONDS), shared


def _check(options: ReceiverOptions) -> None:
    if options.threads < 1:
        raise RequestError(f"The networks need at least 1 thread, not {options.threads}; change --threads.")
    check_showing(options)
    Journal(options.stats).check()
    if options.token is not None and not is_loopback(options.host):
        check_strong(options.token)


def _tls(options: ReceiverOptions) -> ssl.SSLContext | None:
    if options.tls_cert is None and options.tls_key is None:
        return None
    if options.tls_cert is None or options.tls_key is None:
        raise RequestError("TLS needs a certificate and its key; give both --tls-cert and --tls-key.")
    return server_context(options.tls_cert, options.tls_key)
