"""Assembles a receiver: networks, sinks, service."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

from models.build import load_backbone, load_tables, network_words, use_threads
from receiver.http.feeds import Feeds
from receiver.incoming import Models, ready_models
from receiver.options import ReceiverOptions, check_showing
from receiver.service import Place, Replying, Service
from receiver.sinks import make_sink
from receiver.sinks.loudspeaker import Tap, loudspeaker
from receiver.sinks.page import PageSink, PageSound
from receiver.sinks.self_view import SelfView
from shared.codec.tables import CodecTables
from shared.errors import RequestError
from shared.media.opus import has_opus
from shared.runtime.console import Console
from shared.runtime.controls import Controls
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
    loop = asyncio.get_running_loop()
    console = Console(sys.stdout, sys.stderr)
    problem = await try_servers(options.ice)
    if problem is not None:
        console.note(str(problem))

    def say(line: str) -> None:
        # A window speaks from a thread of its own.
        loop.call_soon_threadsafe(console.say, line)

    def note(sentence: str) -> None:
        loop.call_soon_threadsafe(console.note, sentence)

    def load() -> tuple[Models, CodecTables | None]:
        backbone = load_backbone(options.backbone, options.checkpoint, options.device)
        tables = load_tables(backbone, options.checkpoint)
        models = ready_models(options, backbone, tables, note)
        if make_replying is not None:
            backbone.warmup(render=False)
        return models, tables

    speaker = loudspeaker(options.audio and has_opus(), options.speaker, options.view, console.note, tap)
    audience = Feeds() if options.view != "none" else None
    controls = Controls()
    self_view = SelfView(controls, None if audience is None else audience.own_pictures)
    sink = make_sink(
        options.view, options.outputs, options.virtual_camera, say, speaker,
        controls=None if make_replying is None else controls, self_view=self_view,
        camera_size=options.virtual_camera_size,
    )  # fmt: skip
    if audience is not None:
        sink.add(PageSink(audience.pictures))
        sink.add(PageSound(audience.sound))
    with (
        _inference(make_replying is not None) as (inference, shared),
        ThreadPoolExecutor(1, "output") as output,
        ThreadPoolExecutor(1, "decoding") as decoding,
    ):
        try:
            await loop.run_in_executor(output, sink.open)
            # Everything is loaded and warm before the first call may arrive.
            models, tables = await loop.run_in_executor(inference, load)
            console.say(f"network: {network_words(models.backbone)}")
            replying = None
            if make_replying is not None and shared is not None:
                replying = make_replying(
                    Place(models.backbone, tables, shared, console, controls, self_view.update)
                )
            receiver = Service(
                options, models, sink, inference=inference, output=output, decoding=decoding,
                console=console, tls=tls, audience=audience, replying=replying,
            )  # fmt: skip
            return await receiver.serve()
        finally:
            console.close()
            await loop.run_in_executor(output, sink.close)


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
        raise RequestError(
            f"The networks need at least 1 thread, not {options.threads}; give another --threads."
        )
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
