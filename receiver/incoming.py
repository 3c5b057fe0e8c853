"""Incoming direction of a call, at whichever end: the networks, and calls that show what comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from secrets import token_bytes

from models.build import load_head_finder, network_facts
from models.forecast.build import best_forecaster, load_forecaster
from receiver.audio_playout import AudioPlayout
from receiver.avatar import load_avatar
from receiver.options import ReceiverOptions
from receiver.pipeline import ReceiverCall
from receiver.playout import Playout
from receiver.renderer import Renderer
from receiver.sinks import Sinks
from shared.clock import SystemClock
from shared.codec.keypoint_codec import Codec, CodedCodec, PaperCodec
from shared.codec.tables import CodecTables
from shared.concealment import Concealer
from shared.constants import FPS, SECRET_BYTES, CallTerms
from shared.interfaces import Backbone, Connection, Forecaster, Source
from shared.media.opus import has_opus
from shared.protocol.events import Agreed
from shared.protocol.receiver_session import ReceiverSession
from shared.runtime.controls import Controls

HOLD_SECONDS = 60.0
"""Longest wait of a call for a sender whose connection is lost."""


@dataclass(frozen=True)
class Models:
    """Models that draw and fill in frames; `avatar` is the receiver's own picture, if it has one.

    `facts` says what runs the network at the moment (`models.build.network_facts`).
    """

    backbone: Backbone
    codecs: dict[str, Codec]
    forecaster: Forecaster
    avatar: Source | None
    facts: Callable[[], Mapping[str, str]] = dict


def ready_models(
    options: ReceiverOptions, backbone: Backbone, tables: CodecTables | None, note: Callable[[str], None]
) -> Models:
    """Return what shows calls with `backbone`, warm; `note` hears how an avatar was cut.

    Raise RequestError where avatar or forecaster cannot be used.
    """
    # Before the network is made ready, which takes a while.
    picture = None
    if options.avatar is not None:
        picture = load_avatar(options.avatar, backbone.sizes, load_head_finder(), note)
    backbone.warmup(detect=False)
    avatar = backbone.encode(picture) if picture is not None else None
    name, layout = options.forecaster, backbone.layout
    forecaster = best_forecaster(backbone.detector) if name is None else load_forecaster(name, layout=layout)
    codecs: dict[str, Codec] = {PaperCodec.name: PaperCodec(layout.dimensions)}
    if tables is not None:
        codecs[CodedCodec.name] = CodedCodec(tables)
    return Models(backbone, codecs, forecaster, avatar, partial(network_facts, backbone))


class Incoming:
    """Makes calls that show on `sink` what comes.

    `inference`, `output`, `decoding` and `sound` are single-threaded: one owns the networks, one the sink,
    one decodes keypoints, and one decodes sound and hands it to the sink.
    """

    def __init__(
        self,
        options: ReceiverOptions,
        models: Models,
        sink: Sinks,
        *,
        inference: Executor,
        output: Executor,
        decoding: Executor,
        sound: Executor,
    ) -> None:
        self._options, self._models, self._sink = options, models, sink
        self._inference, self._output, self._decoding, self._sound = inference, output, decoding, sound
        self.wants_sound = options.audio and has_opus()
        """Whether sound is taken."""

    def call(
        self,
        connection: Connection,
        *,
        both: bool = False,
        on_agreed: Callable[[Agreed], None] = lambda _: None,
        controls: Controls | None = None,
    ) -> ReceiverCall:
        """Return a call over `connection`; with `both` this end would send as well, and `on_agreed` hears.

        `controls` are told what the other side says of itself, where both ends have them.
        """
        models, sink = self._models, self._sink
        backbone, layout = models.backbone, models.backbone.layout
        terms = CallTerms(
            backbone.name, backbone.fingerprint, layout.keypoints, layout.dimensions, size=backbone.size
        )
        avatar, secret = models.avatar is not None, token_bytes(SECRET_BYTES)
        playout, clock = Playout(FPS, self._options.playout_delay), SystemClock()
        session = ReceiverSession(
            terms,
            models.codecs,
            avatar,
            models.forecaster.name,
            secret,
            voice=self.wants_sound,
            both=both,
            media=connection.carries_media,
            status=controls is not None,
            sizes=backbone.sizes,
        )
        audio_playout = AudioPlayout(playout, clock, sink, self._sound, session.tally.voice)
        return ReceiverCall(
            connection=connection,
            session=session,
            renderer=Renderer(backbone, Concealer(models.forecaster, layout), models.avatar),
            sink=sink,
            playout=playout,
            clock=clock,
            inference=self._inference,
            output=self._output,
            decoding=self._decoding,
            hold=HOLD_SECONDS,
            audio_playout=audio_playout if self.wants_sound else None,
            on_agreed=on_agreed,
            controls=controls,
        )

    def figures(self, call: ReceiverCall) -> dict[str, object]:
        """Return the figures of a call that has ended."""
        facts = {"forecaster": self._models.forecaster.name, **self._models.facts()}
        return {**facts, **call.summary.to_map(), **self._sink.figures()}
