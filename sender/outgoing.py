"""Outgoing direction of a call, at whichever end: sources opened for a call, and made into one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from models.build import load_head_finder
from models.forecast.build import mirrored_forecaster
from sender.automatic import AutomaticFraming
from sender.capture import VideoSource, open_source
from sender.further_pictures import FurtherPictures
from sender.gallery import GalleryPolicy
from sender.options import SenderOptions
from sender.pipeline import SenderCall
from sender.presets import (
    check_size,
    frames_per_message,
    make_codec,
    policy_of,
    schedule_of,
    scheduler_maker,
)
from sender.rate import RateController
from sender.reconnecting import Reconnecting
from sender.reference import first_picture, reference_pictures
from sender.schedule import Redundancy
from sender.sounds import open_sound
from sender.voice import Voice
from shared.clock import SystemClock
from shared.codec.keypoint_codec import Codec
from shared.codec.tables import CodecTables
from shared.constants import SIZE, CallTerms, Schedule
from shared.interfaces import Backbone, Connection
from shared.keypoints import Distance, Pictures
from shared.media.echo import EchoCanceller
from shared.media.opus import OpusEncoder
from shared.media.squares import scaled
from shared.protocol.events import Agreed
from shared.protocol.sender_session import LargerPicture, SenderSession
from shared.runtime.controls import Controls


@dataclass(frozen=True)
class Media:
    """An opened source, its first picture (None: it stays here), and its sound."""

    source: VideoSource
    first: Pictures | None
    voice: Voice | None


@dataclass(frozen=True)
class Encoded:
    """The first picture as it is sent: of the network's size and, where it is larger, as it is."""

    picture: bytes | None
    larger: LargerPicture | None


@asynccontextmanager
async def opened(
    options: SenderOptions,
    executor: Executor,
    notify: Callable[[str], None],
    canceller: EchoCanceller | None = None,
) -> AsyncIterator[Media]:
    """Open what `options` say, in `executor`, and close it in the end; `notify` hears sentences.

    `canceller` cleans what a microphone records. Raise RequestError, in one sentence, where there is
    nothing to open.
    """
    loop = asyncio.get_running_loop()

    def note(sentence: str) -> None:
        # Framing speaks from the thread that takes pictures.
        loop.call_soon_threadsafe(notify, sentence)

    def source_of() -> VideoSource:
        framing = options.crop or AutomaticFraming(load_head_finder(), note)
        return open_source(options.source, framing, options.loop, denoise=True, side=options.size or SIZE)

    async with _owned(executor, source_of) as source, _speaking(options, notify, canceller) as voice:
        # What is never made cannot leave.
        first = None if options.anonymous else loop.run_in_executor(executor, first_picture, source)
        yield Media(source, None if first is None else await first, voice)


class _Closable(Protocol):
    def close(self) -> None: ...


Owned = TypeVar("Owned", bound=_Closable)


@asynccontextmanager
async def _owned(executor: Executor, make: Callable[[], Owned]) -> AsyncIterator[Owned]:
    """Make something in `executor`, which is single-threaded, and close it there in the end.

    Cameras take seconds, and a call may be on. One that is still being opened when nobody wants it any more
    is closed as soon as it is.
    """
    loop = asyncio.get_running_loop()
    made: list[Owned] = []

    def close() -> None:
        for one in made:
            one.close()

    try:
        await loop.run_in_executor(executor, lambda: made.append(make()))
        yield made[0]
    finally:
        await loop.run_in_executor(executor, close)


@asynccontextmanager
async def _speaking(
    options: SenderOptions, notify: Callable[[str], None], canceller: EchoCanceller | None
) -> AsyncIterator[Voice | None]:
    """Give the call's sound, where there is to be any."""
    if options.audio is None:
        yield None
        return
    encoder = OpusEncoder(options.audio_kbps)
    make = partial(open_sound, options.audio, options.source, options.loop, canceller)
    with ThreadPoolExecutor(1, "sound") as executor:
        async with _owned(executor, make) as sound:
            yield Voice(sound, encoder, SystemClock(), executor, notify)


class Outgoing:
    """Makes calls that send what `options` say, with a network that is loaded.

    `inference` and `encoding` are single-threaded; the one owns source, network and codec. Where it draws
    as well, messages are coded in `coding`. Raise RequestError where the network and the way of sending do
    not go together.
    """

    def __init__(
        self,
        options: SenderOptions,
        backbone: Backbone,
        tables: CodecTables | None,
        *,
        inference: Executor,
        encoding: Executor,
        coding: Executor | None = None,
    ) -> None:
        sending, self._layout = options.sending, backbone.layout
        if options.size is not None:
            check_size(options.size, backbone)
        self._options, self._backbone = options, backbone
        self._inference, self._encoding, self._coding = inference, encoding, coding
        self.preset, self._codec = make_codec(sending, tables, self._layout)
        per_message = frames_per_message(sending, self.preset, self._codec)
        mirrored = partial(mirrored_forecaster, layout=self._layout)
        self._make_scheduler = scheduler_maker(sending, per_message, tables, self._layout, mirrored)
        policy, schedule = policy_of(sending, tables), schedule_of(sending, tables)
        self._terms = _terms(policy, schedule, backbone, self._codec)

    async def encoded(self, media: Media) -> Encoded:
        """Return the first picture of `media` as it is sent."""
        if media.first is None:
            return Encoded(None, None)
        # Only what was asked for is offered: without that, cameras have their size, and the network its own.
        first, size, as_it_is = media.first, self._backbone.size, self._options.size is not None

        def work() -> tuple[bytes, LargerPicture | None]:
            return reference_pictures(first if as_it_is else scaled(first, size), size)

        return Encoded(*await asyncio.get_running_loop().run_in_executor(self._encoding, work))

    def call(
        self,
        connection: Connection,
        media: Media,
        encoded: Encoded,
        again: Reconnecting | None,
        *,
        both: bool = False,
        on_agreed: Callable[[Agreed], None] = lambda _: None,
        controls: Controls | None = None,
        show_self: Callable[[Pictures], None] = lambda _: None,
    ) -> SenderCall:
        """Return a call that sends `media` over `connection`, and over others as `again` says.

        `both` offers the receiver to send as well; `on_agreed` hears what it says to that, for each
        connection. `controls` and `show_self` are those of `SenderCall`; with controls the receiver is told.
        """
        options = self._options
        session = SenderSession(
            self._terms, self._codec, encoded.picture, media.voice is not None, encoded.larger,
            both=both, media=connection.carries_media, status=controls is not None,
        )  # fmt: skip
        return SenderCall(
            connection=connection,
            session=session,
            source=media.source,
            backbone=self._backbone,
            make_scheduler=self._make_scheduler,
            redundancy=Redundancy(options.sending.redundancy),
            clock=SystemClock(),
            inference=self._inference,
            coding=self._coding,
            gallery=further_pictures(options, session, encoded, self._encoding, self._layout.distance),
            rate=RateController(options.max_kbps),
            again=again,
            voice=media.voice,
            on_agreed=on_agreed,
            controls=controls,
            show_self=show_self,
        )


def further_pictures(
    options: SenderOptions,
    session: SenderSession,
    encoded: Encoded,
    encoding: Executor,
    metric: Distance,
) -> FurtherPictures | None:
    """Return what chooses further pictures; None where not even a first one leaves."""
    if encoded.picture is None:
        return None
    first = encoded.picture if encoded.larger is None else encoded.larger.data
    return FurtherPictures(session, GalleryPolicy(options.gallery, len(first), metric), encoding)


def _terms(policy: str, schedule: Schedule, backbone: Backbone, codec: Codec) -> CallTerms:
    # Where the policy adapts, no frame is skipped by rule.
    skip = schedule.skip if policy == "alternate" else 0
    return CallTerms(
        backbone.name, backbone.fingerprint, backbone.layout.keypoints, backbone.layout.dimensions,
        codec.name, codec.tables, policy, schedule.observe, skip, size=backbone.size,
    )  # fmt: skip
