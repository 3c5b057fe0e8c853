"""Events of a call, as its session reports them, and the states a call goes through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from shared.codec.keypoint_codec import Block, Codec
from shared.codec.packet import KeypointPacket
from shared.constants import CallTerms
from shared.keypoints import Floats
from shared.protocol.messages import Status
from shared.protocol.reports import Report


class State(Enum):
    """State of a call."""

    START = auto()
    HELLO = auto()
    PICTURE = auto()
    STREAMING = auto()
    ENDED = auto()


@dataclass(frozen=True)
class Agreed:
    """Both sides match; `terms` are the sender's, schedule included, `forecaster` the receiver's or "".

    `both`: the receiver is to send as well, and the sender to show it. `media`: keypoints and reports travel
    as media.
    """

    terms: CallTerms
    forecaster: str = ""
    both: bool = False
    media: bool = False


@dataclass(frozen=True, eq=False)
class SourcePicture:
    """A picture of the sender's as it came, for `slot` (0 to 7); the first is for slot 0.

    `data` is to be decoded, which may take tens of milliseconds, and the session is to be given the outcome
    of it (`ReceiverSession.picture_taken`, `picture_broken`). `number` counts the pictures that came over the
    call's connection number `link`. `alone`: what other slots hold is of another scene.
    """

    data: bytes
    slot: int
    number: int
    link: int
    alone: bool = False


@dataclass(frozen=True)
class PeerReady:
    """Streaming begins, or goes on. On the sender: frames may be sent now.

    `resumed` tells a sender that the receiver still has all there was: pictures, frames, the timeline.
    """

    resumed: bool = False


@dataclass(frozen=True, eq=False)
class KeypointsArrived:
    """A keypoint packet that came at `now` (monotonic seconds), to be decoded by the codec of the call.

    The session is to be given the outcome of that (`ReceiverSession.keypoints_decoded`, `keypoints_broken`).
    """

    packet: KeypointPacket
    codec: Codec
    now: float

    def decode(self) -> Block:
        """Return what it holds. Raise PeerError where that is not sound. Safe in any thread."""
        return self.codec.decode(self.packet.payload, self.packet.count)


@dataclass(frozen=True, eq=False)
class FramesArrived:
    """Frames (T, D) numbered from `first`, captured `captured_ms` after frame 0 was due.

    `timestamp_ms` is the same by the sender's wall clock, modulo 2**32; None while that is not known.
    `copies` are coarse copies of earlier frames by number, for where those themselves were lost.
    """

    first: int
    captured_ms: int
    timestamp_ms: int | None
    frames: Floats
    copies: Mapping[int, Floats]


@dataclass(frozen=True)
class VoiceArrived:
    """Sound block `number`: 60 ms of Opus from sample 2880 `number` on; sample 1600 n is frame n's moment."""

    number: int
    payload: bytes


@dataclass(frozen=True)
class PeerReport:
    """The receiver's report of what it has seen."""

    report: Report


@dataclass(frozen=True)
class PeerStatus:
    """The sender is muted or on hold from now on, or no longer."""

    status: Status


@dataclass(frozen=True)
class Ended:
    """The call is over. `ok` tells a normal end from a refusal or a failure."""

    reason: str
    ok: bool


Event = (
    Agreed
    | SourcePicture
    | PeerReady
    | KeypointsArrived
    | FramesArrived
    | VoiceArrived
    | PeerReport
    | PeerStatus
    | Ended
)
