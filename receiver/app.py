"""Assembles a receiver: networks, sinks, service."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from models.build import (
    load_backbone,
    load_head_finder,
    load_tables,
    network_facts,
    network_words,
    use_threads,
)  # fmt: skip
from models.forecast.build import best_forecaster, load_forecaster
from receiver.avatar import load_avatar
from receiver.http.broadcast import Broadcast
from receiver.options import ReceiverOptions
from receiver.playout import MAX_DELAY_SECONDS
from receiver.service import Models, Service
from receiver.sinks import make_sink
from receiver.sinks.loudspeaker import loudspeaker
from receiver.sinks.page import PageSink
from shared.codec.keypoint_codec import Codec, CodedCodec, PaperCodec
from shared.errors import RequestError
from shared.media.opus import has_opus
from shared.runtime.console import Console
from shared.runtime.journal import Journal
from shared.transport.datachannel import try_servers
from shared.transport.pairing import check_strong, is_loopback
from shared.transport.tls import server_context


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

    def note(sentence: str) -> None:
        loop.call_soon_threadsafe(console.note, sentence)

    speaker = loudspeaker(options.audio and has_opus(), options.speaker, options.view, console.note)
    sink = make_sink(
        options.view, options.outputs, options.virtual_camera, say, speaker,
        camera_size=options.virtual_camera_size,
    )  # fmt: skip
    audience = Broadcast() if options.view != "none" else None
    if audience is not None:
        sink.add(PageSink(audience))
    with (
        ThreadPoolExecutor(1, "inference") as inference,
        ThreadPoolExecutor(1, "output") as output,
        ThreadPoolExecutor(1, "decoding") as decoding,
    ):
        try:
            await loop.run_in_executor(output, sink.open)
            # Everything is loaded and warm before the first call may arrive.
            models = await loop.run_in_executor(inference, _load, options, note)
            console.say(f"network: {network_words(models.backbone)}")
            receiver = Service(
                options, models, sink, inference=inference, output=output, decoding=decoding,
                console=console, tls=tls, audience=audience,
            )  # fmt: skip
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


def _load(options: ReceiverOptions, note: Callable[[str], None]) -> Models:
    backbone = load_backbone(options.backbone, options.checkpoint, options.device)
    # Before the network is made ready, which takes a while.
    picture = None
    if options.avatar is not None:
        picture = load_avatar(options.avatar, backbone.sizes, load_head_finder(), note)
    backbone.warmup(detect=False)
    avatar = backbone.encode(picture) if picture is not None else None
    name = options.forecaster
    layout = backbone.layout
    forecaster = best_forecaster(backbone.detector) if name is None else load_forecaster(name, layout=layout)
    codecs: dict[str, Codec] = {PaperCodec.name: PaperCodec(layout.dimensions)}
    tables = load_tables(backbone, options.checkpoint)
    if tables is not None:
        codecs[CodedCodec.name] = CodedCodec(tables)
    return Models(backbone, codecs, forecaster, avatar, partial(network_facts, backbone))
