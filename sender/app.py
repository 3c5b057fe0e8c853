"""Puts a sender together: source, network, connection, call."""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from models.build import load_backbone, use_threads
from sender.capture import VideoSource, open_source
from sender.crop import Crop
from sender.pipeline import SenderCall
from sender.rate import RateController
from sender.reference import reference_picture
from sender.schedule import Batcher
from shared.clock import SystemClock
from shared.codec import codec_by_name
from shared.config import MAX_PACKET, CallTerms, Schedule
from shared.errors import KeycastError, RequestError
from shared.eventloop import on_interrupt
from shared.files import check_writable, write_json
from shared.interfaces import Backbone
from shared.session import SenderSession
from shared.transport.calling import connect
from shared.wire import HEADER_BYTES

CODEC = {"paper": "paper"}
FRAMES_PER_MESSAGE = {"paper": 3}


@dataclass(frozen=True)
class SenderOptions:
    """What the command line asked for; None means: choose."""

    source: str
    url: str | None = None
    token: str | None = None
    preset: str = "paper"
    schedule: Schedule = field(default_factory=Schedule)
    frames_per_message: int | None = None
    crop: Crop | None = None
    loop: bool = False
    backbone: str | None = None
    checkpoint: Path | None = None
    device: str = "auto"
    threads: int = 1
    stats: Path | None = None
    compact: bool = True
    max_kbps: float | None = None


async def run(options: SenderOptions) -> int:
    """Run one call and return the exit code; KeycastError, in one sentence, where it fails."""
    per_message = _frames_per_message(options)
    _check(options)
    use_threads(options.threads)
    source = open_source(options.source, options.crop, options.loop)
    with ThreadPoolExecutor(1, "inference") as inference:
        try:
            return await _call(options, source, per_message, inference)
        finally:
            await asyncio.get_running_loop().run_in_executor(inference, source.close)


def _frames_per_message(options: SenderOptions) -> int:
    most = codec_by_name(CODEC[options.preset]).max_frames(MAX_PACKET - HEADER_BYTES)
    wanted = options.frames_per_message
    if wanted is None:
        return FRAMES_PER_MESSAGE[options.preset]
    if not 1 <= wanted <= most:
        raise RequestError(
            f"A message of the {options.preset} preset holds 1 to {most} frames, not {wanted}; "
            "give another --frames-per-message."
        )
    return wanted


def _check(options: SenderOptions) -> None:
    if options.threads < 1:
        raise RequestError(
            f"The network needs at least 1 thread, not {options.threads}; give another --threads."
        )
    if options.max_kbps is not None and not 0 < options.max_kbps < math.inf:
        raise RequestError(f"A ceiling of {options.max_kbps:g} kbps sends nothing; give another --max-kbps.")
    if options.stats is not None:
        check_writable(options.stats)


async def _call(
    options: SenderOptions, source: VideoSource, per_message: int, inference: ThreadPoolExecutor
) -> int:
    def prepare() -> tuple[Backbone, bytes]:
        picture = reference_picture(source)
        backbone = load_backbone(options.backbone, options.checkpoint, options.device)
        backbone.warmup()
        return backbone, picture

    backbone, picture = await asyncio.get_running_loop().run_in_executor(inference, prepare)
    link = await connect(options.url, options.token, compact=options.compact)
    call = SenderCall(
        connection=link,
        session=SenderSession(_terms(options, backbone), picture),
        source=source,
        backbone=backbone,
        batcher=Batcher(options.schedule, per_message),
        clock=SystemClock(),
        inference=inference,
        rate=RateController(options.max_kbps),
    )
    on_interrupt(partial(call.end, "The sender hung up."))
    print("calling", flush=True)
    try:
        ended = await call.run()
    finally:
        await link.close()
        if options.stats is not None:
            write_json(options.stats, call.summary.to_map())
        print("\n".join(call.summary.lines()), flush=True)
    if not ended.ok:
        raise KeycastError(ended.reason)
    print(ended.reason, flush=True)
    return 0


def _terms(options: SenderOptions, backbone: Backbone) -> CallTerms:
    codec, schedule = codec_by_name(CODEC[options.preset]), options.schedule
    return CallTerms(
        backbone.name, backbone.fingerprint, codec.name, codec.tables, schedule.observe, schedule.skip
    )
