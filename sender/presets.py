"""Meaning of `--preset`, `--policy` and related options: how keypoints are coded, and when they leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sender.gallery import GalleryOptions
from sender.schedule import Adaptive, Alternate, Scheduler
from shared.codec.keypoint_codec import QUALITY, Codec, CodedCodec, PaperCodec
from shared.codec.packet import HEADER_BYTES
from shared.codec.quantization import QUALITIES
from shared.codec.tables import CodecTables
from shared.concealment import Concealer
from shared.constants import MAX_PACKET, Schedule
from shared.errors import RequestError
from shared.interfaces import Backbone, Forecaster
from shared.keypoints import KeypointLayout

POLICIES = ("alternate", "adaptive")
THRESHOLD = 0.04
MAX_REDUNDANCY = 3


@dataclass(frozen=True)
class Preset:
    """A codec, how many frames share a message, and which frames are sent: by `schedule`, or as they drift.

    `policy` and `drift` are --policy and --drift where those do not say. `further_kbps` is what source
    pictures may take before a scene gets no second one (None: no less than others), where --source-kbps does
    not say.

    Where the policy alternates, half of all frames are sent. Where three share a message, blocks of three
    cost the same messages as blocks of six, and the forecasts between them are half as long: lips change
    within 0.2 s.
    """

    codec: str
    frames_per_message: int
    schedule: Schedule
    further_kbps: float | None = None
    policy: str = "alternate"
    drift: float = THRESHOLD


PRESETS = {
    # Half of the pictures: those of a minute's call otherwise take as much as its keypoints.
    # At the bytes of alternating, lips open a quarter and lids half as far again when frames leave as they
    # drift.
    "saver": Preset("coded", 6, Schedule(6, 6), further_kbps=0.8, policy="adaptive", drift=0.05),
    "balanced": Preset("coded", 3, Schedule(3, 3)),
    "paper": Preset("paper", 3, Schedule(6, 6)),
}
DEFAULT = "balanced"


@dataclass(frozen=True)
class Sending:
    """Options from the command line; None means: choose."""

    preset: str | None = None
    policy: str | None = None
    schedule: Schedule | None = None
    frames_per_message: int | None = None
    quality: int | None = None
    threshold: float | None = None
    redundancy: int = 0


def check(sending: Sending) -> None:
    """Raise RequestError for what cannot be, before anything is loaded."""
    if sending.quality is not None and not 0 <= sending.quality < QUALITIES:
        raise RequestError(
            f"The quality must be 0 (finest) to {QUALITIES - 1}, not {sending.quality}; change --quality."
        )
    if sending.threshold is not None and not sending.threshold > 0:
        raise RequestError(f"--drift must be above 0, not {sending.threshold}.")
    if not 0 <= sending.redundancy <= MAX_REDUNDANCY:
        raise RequestError(
            f"A message carries copies of 0 to {MAX_REDUNDANCY} earlier ones, not {sending.redundancy}; "
            "change --redundancy."
        )
    if sending.preset == "paper" and (sending.redundancy or sending.quality is not None):
        raise RequestError("The paper preset sends raw numbers: leave --quality and --redundancy out.")


def gallery_options(pictures: int, kbps: float | None, preset: str | None) -> GalleryOptions:
    """Return what source pictures may be and take: `kbps`, or what the preset leaves them."""
    if kbps is not None:
        return GalleryOptions(pictures, kbps)
    return GalleryOptions(pictures, further_kbps=PRESETS[preset or DEFAULT].further_kbps)


def check_size(size: int, backbone: Backbone) -> None:
    """Raise RequestError unless `backbone` takes source pictures of `size` pixels a side."""
    if size not in backbone.sizes:
        known = " or ".join(map(str, backbone.sizes))
        raise RequestError(
            f"The network {backbone.name} draws pictures of {known} pixels a side, not {size}; "
            "give another --size, or another --backbone."
        )


def _preset(sending: Sending, tables: CodecTables | None) -> str:
    return sending.preset or (DEFAULT if tables is not None else "paper")


def policy_of(sending: Sending, tables: CodecTables | None) -> str:
    """Return when frames leave: as asked for, by a schedule that was asked for, or as the preset has it."""
    if sending.policy is None and sending.schedule is not None:
        return "alternate"
    return sending.policy or PRESETS[_preset(sending, tables)].policy


def threshold_of(sending: Sending, tables: CodecTables | None) -> float:
    """Return how far a forecast may drift where the policy adapts: as asked for, or the preset's."""
    return sending.threshold or PRESETS[_preset(sending, tables)].drift


def schedule_of(sending: Sending, tables: CodecTables | None) -> Schedule:
    """Return which frames leave where the policy alternates: as asked for, or the preset's."""
    return sending.schedule or PRESETS[_preset(sending, tables)].schedule


def make_codec(sending: Sending, tables: CodecTables | None, layout: KeypointLayout) -> tuple[str, Codec]:
    """Return the preset's name and its codec; RequestError where it needs tables that are not there."""
    name = _preset(sending, tables)
    if PRESETS[name].codec == PaperCodec.name:
        return name, PaperCodec(layout.dimensions)
    if tables is None:
        raise RequestError(
            f"The {name} preset needs codec tables beside the backbone's weights, and there are none; "
            "make them with python -m models.training codec, or use --preset paper."
        )
    return name, CodedCodec(tables, QUALITY if sending.quality is None else sending.quality)


def frames_per_message(sending: Sending, name: str, codec: Codec) -> int:
    """Return how many frames share a message; RequestError where so many, or even one, do not fit.

    The preset's number, unless frames are so large that fewer fit.
    """
    most = codec.most_frames(MAX_PACKET - HEADER_BYTES)
    if not most:
        raise RequestError(
            f"A frame of this backbone's keypoints is too large for a message of the {name} preset; "
            "use another --preset or --backbone."
        )
    if sending.frames_per_message is not None and not 1 <= sending.frames_per_message <= most:
        raise RequestError(
            f"A message of the {name} preset holds 1 to {most} frames, not {sending.frames_per_message}; "
            "change --frames-per-message."
        )
    return sending.frames_per_message or min(PRESETS[name].frames_per_message, most)


def scheduler_maker(
    sending: Sending,
    per_message: int,
    tables: CodecTables | None,
    layout: KeypointLayout,
    forecaster: Callable[[str], Forecaster],
) -> Callable[[str], Scheduler]:
    """Return what makes a call's scheduler from the name of the receiver's forecaster.

    `forecaster` loads one by name, for keypoints of `layout`. RequestError where the policy needs tables that
    are not there.
    """
    if policy_of(sending, tables) == "alternate":
        return lambda _: Alternate(schedule_of(sending, tables), per_message)
    if tables is None:
        raise RequestError(
            "The adaptive policy needs codec tables beside the backbone's weights, and there are none; "
            "make them with python -m models.training codec, or use --policy alternate."
        )
    sensitivity, threshold = tables.sensitivity, threshold_of(sending, tables)
    return lambda name: Adaptive(Concealer(forecaster(name), layout), sensitivity, threshold, per_message)
