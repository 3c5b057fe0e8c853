"""The messages that the two sides of a call send each other beside keypoints and sound."""

from __future__ import annotations

from dataclasses import dataclass

from shared.constants import CallTerms
from shared.protocol.reports import Brief, Report


@dataclass(frozen=True)
class Hello:
    """Opens a call. `avatar` is the receiver's word that it has a picture of its own and wants none.

    `forecaster` names what the receiver fills in missing frames with; a sender that decides by what the
    receiver would forecast runs the same. The sender's own hello leaves it empty.

    `secret` (16 bytes, or none): in the receiver's answer to a new call, what its sender may take that call
    up by. A sender that comes back has a proof of it there instead (see `resumption`); a receiver that still
    holds the call answers with its own proof, and the call goes on.

    `voice`: the sender offers its sound, and the receiver's answer takes it. A hello without sound does not
    name it at all. `laden`: the sender may put keypoint packets into sound packets, and the receiver's answer
    is that it reads them there; named only where it is so. `both`: the sender would be shown something as
    well, and the receiver's answer is that it sends something, in a session of its own over the return lane
    (see `shared.transport.lane`); named only where it is so. `media`: the sender may send keypoints as media
    and reads reports there (see `shared.transport.media`), and the receiver's answer is that it does the
    reverse; likewise. `status`: the sender may say that it is muted or on hold, and the receiver's answer is
    that it listens to that; likewise.

    `size`: the sender's source pictures may be so many pixels a side instead of the terms' `size`, and the
    receiver's answer is that they shall be: it shows pictures as large. Named only where it is so.
    """

    terms: CallTerms
    avatar: bool = False
    forecaster: str = ""
    secret: bytes = b""
    voice: bool = False
    laden: bool = False
    both: bool = False
    media: bool = False
    status: bool = False
    size: int = 0


@dataclass(frozen=True)
class SourceChunk:
    """Bytes `offset` to `offset + len(data)` of source picture number `picture`, `total` bytes long.

    Pictures are numbered as they are sent; this one takes the place of what `slot` (0 to 7) held before.
    `alone`: and of all other slots, whose pictures are of another scene. A piece without it does not name it.
    """

    picture: int
    slot: int
    total: int
    offset: int
    data: bytes
    alone: bool = False


@dataclass(frozen=True)
class Ready:
    """The receiver has source picture number `picture`."""

    picture: int


@dataclass(frozen=True)
class Start:
    """Streaming begins: frame 0 stands at `wall_ms`, the sender's wall clock in ms modulo 2**32."""

    wall_ms: int


@dataclass(frozen=True)
class Want:
    """The receiver asks for the picture of `slot` (0 to 7) again."""

    slot: int


@dataclass(frozen=True)
class Still:
    """The sender is there, with nothing to send or nothing getting through."""


@dataclass(frozen=True)
class Status:
    """The sender's own choice, from now on: `muted`, it gives no sound; `held`, nothing at all."""

    muted: bool = False
    held: bool = False


@dataclass(frozen=True)
class Bye:
    """Ends the call. `ok` tells an end from a refusal; `reason` has at most 200 characters of any kind."""

    reason: str
    ok: bool = True


Message = Hello | SourceChunk | Ready | Start | Want | Still | Status | Report | Brief | Bye
