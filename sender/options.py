"""Options of a sender."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sender.crop import Framing, parse_crop
from sender.gallery import GalleryOptions
from sender.presets import Sending, check, gallery_options
from sender.voice import VOICE_KBPS
from shared.constants import Schedule
from shared.errors import RequestError
from shared.transport.servers import DIRECT, IceOptions, chosen_ice


@dataclass(frozen=True)
class SenderOptions:
    """Options from the command line; None means: choose."""

    source: str
    url: str | None = None
    token: str | None = None
    tls_ca: Path | None = None
    anonymous: bool = False
    size: int | None = None
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


def sender_options(given: argparse.Namespace, **others: Any) -> SenderOptions:  # noqa: ANN401 - fields
    """Return what a command line says of source, sending and network; `others` are further fields."""
    return SenderOptions(
        source=given.source,
        anonymous=given.anonymous,
        size=given.size,
        sending=Sending(
            preset=given.preset,
            policy=given.policy,
            schedule=Schedule.parse(given.schedule) if given.schedule else None,
            frames_per_message=given.frames_per_message,
            quality=given.quality,
            threshold=given.drift,
            redundancy=given.redundancy,
        ),
        crop=parse_crop(given.crop) if given.crop else None,
        loop=given.loop,
        gallery=gallery_options(given.gallery, given.source_kbps, given.preset),
        backbone=given.backbone,
        checkpoint=given.checkpoint,
        device=given.device,
        threads=given.threads,
        stats=given.stats,
        compact=given.compact,
        max_kbps=given.max_kbps,
        audio=given.audio,
        audio_kbps=given.audio_kbps,
        ice=chosen_ice(given),
        **others,
    )


def check_outgoing(options: SenderOptions) -> None:
    """Raise RequestError where what is to be sent cannot be, whoever it is sent to."""
    check(options.sending)
    if options.audio is not None and options.anonymous:
        raise RequestError("A voice gives away who is speaking; leave out --audio or --anonymous.")
    if options.max_kbps is not None and not 0 < options.max_kbps < math.inf:
        raise RequestError(f"--max-kbps must be a finite number above 0, not {options.max_kbps:g}.")
