"""Assembles a sender: source, network, connection, call."""

from __future__ import annotations

import asyncio
import contextlib
import math
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from models.build import (
    load_backbone,
    load_head_finder,
    load_tables,
    network_facts,
    network_words,
    use_threads,
)
from models.forecast.build import mirrored_forecaster
from sender.automatic import AutomaticFraming
from sender.calling import connect
from sender.capture import VideoSource, open_source
from sender.crop import Framing
from sender.further_pictures import FurtherPictures
from sender.gallery import GalleryOptions, GalleryPolicy
from sender.live import status
from sender.pipeline import SenderCall
from sender.presets import (
    Sending,
    check,
    check_size,
    frames_per_message,
    make_codec,
    schedule_of,
    scheduler_maker,
)
from sender.rate import RateController
from sender.reconnecting import Reconnecting, first_link
from sender.reference import first_picture, reference_pictures
from sender.schedule import Redundancy
from sender.sound import SoundSource
from sender.sounds import open_sound
from sender.voice import VOICE_KBPS, Voice
from shared.clock import SystemClock
from shared.codec.keypoint_codec import Codec
from shared.codec.tables import CodecTables
from shared.constants import SIZE, CallTerms, Schedule
from shared.errors import KeycastError, RequestError
from shared.interfaces import Backbone
from shared.keypoints import Distance
from shared.media.opus import OpusEncoder
from shared.protocol.sender_session import LargerPicture, SenderSession
from shared.runtime.console import Console
from shared.runtime.eventloop import LoopProbe, beside, on_interrupt
from shared.runtime.journal import Journal
from shared.runtime.sampler import Sampler
from shared.runtime.stats import way_told
from shared.transport.datachannel import Link
from shared.transport.pairing import call_url
from shared.transport.servers import DIRECT, IceOptions
from shared.transport.tls import client_context


@dataclass(frozen=True)
class SenderOptions:
    """Options from the command line; None means: choose."""

    source: str
    url: str | None = None
    token: str | None = None
    tls_ca: Path | None = None
    anonymous: bool = False
    size: int = SIZE
    sending: Sending = field(default_factory=Sending)
    crop: Framing | None = None
    loop: bool = False
    gallery: GalleryOptions = field(default_factory=GalleryOptions)
    backbone: str | None = None
    checkpoint: Path | None = None
    device: str = "auto"
    threads: int = 1
    stats: Path | None = None
    compact: bool = True
    max_kbps: float | None = None
    give_up: float = math.inf
    audio: str | None = None
    audio_kbps: float = VOICE_KBPS
    ice: IceOptions = DIRECT


async def run(options: SenderOptions) -> int:
    """Run one call and return the exit code; KeycastError, in one sentence, where it fails."""
    _check(options)
    tls = _tls(options)
    use_threads(options.threads)
    console = Console(sys.stdout, sys.stderr)
    loop = asyncio.get_running_loop()

    def note(sentence: str) -> None:
        # Framing speaks from the thread that takes pictures.
        loop.call_soon_threadsafe(console.note, sentence)

    framing = options.crop or AutomaticFraming(load_head_finder(), note)
    source = open_source(options.source, framing, options.loop, denoise=True, side=options.size)
    with ThreadPoolExecutor(1, "inference") as inference, ThreadPoolExecutor(1, "encoding") as encoding:
        try:
            with _speaking(options, console) as voice:
                return await _call(
                    options, source, inference, encoding, voice=voice, console=console, tls=tls
                )
        finally:
            await loop.run_in_executor(inference, source.close)


@contextlib.contextmanager
def _speaking(options: SenderOptions, console: Console) -> Iterator[Voice | None]:
    """Give the call's sound, where there is to be any."""
    if options.audio is None:
        yield None
        return
    encoder = OpusEncoder(options.audio_kbps)
    with ThreadPoolExecutor(1, "sound") as executor:
        sound: SoundSource = open_sound(options.audio, options.source, options.loop)
        try:
            yield Voice(sound, encoder, SystemClock(), executor, console.note)
        finally:
            executor.submit(sound.close)


def _check(options: SenderOptions) -> None:
    if options.threads < 1:
        raise RequestError(
            f"The network needs at least 1 thread, not {options.threads}; give another --threads."
        )
    check(options.sending)
    if options.audio is not None and options.anonymous:
        raise RequestError("A voice tells who is speaking; leave out --audio or --anonymous.")
    if options.max_kbps is not None and not 0 < options.max_kbps < math.inf:
        raise RequestError(f"A ceiling of {options.max_kbps:g} kbps sends nothing; give another --max-kbps.")
    if not options.give_up >= 0:
        raise RequestError(f"Nobody can wait for {options.give_up:g} seconds; give another --give-up.")
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


@dataclass(frozen=True)
class _Models:
    backbone: Backbone
    tables: CodecTables | None
    picture: bytes | None
    larger: LargerPicture | None


async def _call(
    options: SenderOptions,
    source: VideoSource,
    inference: ThreadPoolExecutor,
    encoding: ThreadPoolExecutor,
    *,
    voice: Voice | None,
    console: Console,
    tls: ssl.SSLContext | None,
) -> int:
    def prepare() -> _Models:
        # What is never made cannot leave.
        first = None if options.anonymous else first_picture(source)
        backbone = load_backbone(options.backbone, options.checkpoint, options.device)
        check_size(options.size, backbone)
        backbone.warmup(render=False)
        pictures = (None, None) if first is None else reference_pictures(first, backbone.size)
        return _Models(backbone, load_tables(backbone, options.checkpoint), *pictures)

    models = await asyncio.get_running_loop().run_in_executor(inference, prepare)
    console.say(f"network: {network_words(models.backbone)}")
    sending, tables = options.sending, models.tables
    layout = models.backbone.layout
    preset, codec = make_codec(sending, tables, layout)
    per_message = frames_per_message(sending, preset, codec)
    mirrored = partial(mirrored_forecaster, layout=layout)
    make_scheduler = scheduler_maker(sending, per_message, tables, layout, mirrored)
    call_up = partial(
        connect, options.url, options.token, options.ice,
        compact=options.compact, voice=voice is not None, tls=tls,
    )  # fmt: skip
    link = await first_link(call_up, SystemClock())
    terms = _terms(sending, schedule_of(sending, tables), models.backbone, codec)
    session = SenderSession(terms, codec, models.picture, voice is not None, models.larger)
    call = SenderCall(
        connection=link,
        session=session,
        source=source,
        backbone=models.backbone,
        make_scheduler=make_scheduler,
        redundancy=Redundancy(sending.redundancy),
        clock=SystemClock(),
        inference=inference,
        gallery=_gallery(options, session, models, encoding, layout.distance),
        rate=RateController(options.max_kbps),
        again=Reconnecting(call_up, options.give_up, console.note) if options.give_up else None,
        voice=voice,
    )
    facts = partial(network_facts, models.backbone)
    return await _run(call, link, options, preset, console, facts=facts)


async def _run(
    call: SenderCall,
    link: Link,
    options: SenderOptions,
    preset: str,
    console: Console,
    *,
    facts: Callable[[], Mapping[str, str]],
) -> int:
    """Run `call` and say how it goes and how it went; `facts` of the network go with its figures."""
    on_interrupt(partial(call.end, "The sender hung up."))
    if link.ice_problem is not None:
        console.note(str(link.ice_problem))
    console.say(f"calling{way_told(link.path)}")
    journal = Journal(options.stats)
    watch = Sampler(
        SystemClock(),
        call.live,
        show=lambda figures, now: console.status(status(figures), now),
        record=partial(journal.write, "second"),
    )
    probe = LoopProbe()
    try:
        async with beside(watch.run()), beside(probe.run()):
            ended = await call.run()
    finally:
        await link.close()
        console.close()
        journal.write("summary", {"preset": preset, **facts(), **call.summary.to_map(), **probe.to_map()})
        console.say(*call.summary.lines())
        journal.close()
    if not ended.ok:
        raise KeycastError(ended.reason)
    console.say(ended.reason)
    return 0


def _gallery(
    options: SenderOptions,
    session: SenderSession,
    models: _Models,
    encoding: ThreadPoolExecutor,
    metric: Distance,
) -> FurtherPictures | None:
    if models.picture is None:
        return None
    first = models.picture if models.larger is None else models.larger.data
    return FurtherPictures(session, GalleryPolicy(options.gallery, len(first), metric), encoding)


def _terms(sending: Sending, schedule: Schedule, backbone: Backbone, codec: Codec) -> CallTerms:
    # Where the policy adapts, no frame is skipped by rule.
    skip = schedule.skip if sending.policy == "alternate" else 0
    return CallTerms(
        backbone.name, backbone.fingerprint, backbone.layout.keypoints, backbone.layout.dimensions,
        codec.name, codec.tables, sending.policy, schedule.observe, skip, size=backbone.size,
    )  # fmt: skip
