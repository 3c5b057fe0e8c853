"""The messages of the `ctl` channel, of at most 16 KiB and checked field by field.

All are msgpack maps but the report, which may be sent twice per second and has 25 bytes, little-endian:

    byte  0      0x52, which begins no map
    bytes 1-4    keypoint messages received
    bytes 5-8    highest frame number received
    bytes 9-10   delay above the least seen, ms
    bytes 11-12  jitter, ms
    bytes 13-24  frames observed, forecast, held, four bytes each

Where both hellos say media there are two shorter forms, whose first bytes begin no map either. A report then
has 15 bytes, and says of its counts what is left of them modulo 65536, or 2**24:

    byte  0      0x53
    bytes 1-2    keypoint messages received
    bytes 3-5    highest frame number received
    bytes 6-7    delay above the least seen, ms
    byte  8      jitter, ms; 255 is 255 or more
    bytes 9-14   frames observed, forecast, held, two bytes each

and a piece of a picture has 14 bytes before its data:

    byte  0      0x54
    bytes 1-4    number of the picture
    byte  5      its slot, and 0x80 where it is alone
    bytes 6-13   bytes of the whole picture, offset of the piece, four bytes each

Other versions: the protocol's number stands in the hello's terms and is read before all else; another one is
refused, and named. It is raised where a reader of the version before could not go on. Smaller things are said
in further fields: a reader leaves out what it does not know, within the limits of size (16 fields a map, no
lists), and refuses a map that lacks what it does know. Readers of protocol 2 that are older than this rule
refuse unknown fields, so until protocol 3 one is left out where it says no more than they took for granted:
`voice` where there is none, `both` where a call is one-way, a `status` nobody tells, a frame's `dimensions`
where they are six a keypoint, the pictures' `size` where it is 256, a picture that is not `alone`, source
pictures no larger than those of the terms.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import asdict, astuple, dataclass, fields

import msgpack

from shared.constants import (
    MAX_CTL_MESSAGE,
    MAX_NAME,
    MAX_PICTURE_BYTES,
    MAX_PICTURES,
    MAX_REASON,
    MAX_SIZE,
    PICTURE_CHUNK,
    SECRET_BYTES,
    CallTerms,
    check_protocol,
)
from shared.errors import PeerError

_MAX_COUNT = 2**53
_REPORT = struct.Struct("<BIIHHIII")
_REPORT_TAG = 0x52
_BRIEF = struct.Struct("<BHHBHBHHH")
_BRIEF_TAG = 0x53
_PIECE = struct.Struct("<BIBII")
_PIECE_TAG = 0x54
_ALONE = 0x80
_LEFT_OUT = ("voice", "laden", "both", "media", "status")
"""Flags of a hello that are not named where they are false."""
_DEFAULTS: dict[object, object] = {**dict.fromkeys(_LEFT_OUT, False), "size": 0}
"""What a hello does not name, and then has."""


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
class Report:
    """Report of what the receiver has seen; counts up to 2**32 - 1, times up to 65535 ms.

    Frames are counted since the call began, messages since the connection did. `packets` counts the keypoint
    messages that came; how many were sent up to frame `highest` (0 where none has come) the sender knows.
    `delay_ms` is how much longer than the quickest the last ones took at least, `jitter_ms` the interarrival
    jitter of RFC 3550 (6.4.1). Neither needs clocks that agree.
    """

    packets: int = 0
    highest: int = 0
    delay_ms: int = 0
    jitter_ms: int = 0
    frames_observed: int = 0
    frames_forecast: int = 0
    frames_held: int = 0


@dataclass(frozen=True)
class Brief:
    """A report in 15 bytes: its counts modulo 65536, but `highest` modulo 2**24, and `jitter_ms` up to 255.

    What it says in full follows from any report of the last minutes: see `after`.
    """

    packets: int = 0
    highest: int = 0
    delay_ms: int = 0
    jitter_ms: int = 0
    frames_observed: int = 0
    frames_forecast: int = 0
    frames_held: int = 0

    @classmethod
    def of(cls, report: Report) -> Brief:
        """Return `report`, shortened."""
        modulo = {name: getattr(report, name) % modulus for name, modulus in _MODULI.items()}
        return cls(delay_ms=report.delay_ms, jitter_ms=min(report.jitter_ms, _MOST_JITTER_MS), **modulo)

    def after(self, last: Report) -> Report:
        """Return what this says: of the counts that it may stand for, those next to the ones of `last`."""
        whole = {}
        for name, modulus in _MODULI.items():
            before = getattr(last, name)
            step = (getattr(self, name) - before + modulus // 2) % modulus - modulus // 2
            whole[name] = before + step + (modulus if before + step < 0 else 0)
        return Report(delay_ms=self.delay_ms, jitter_ms=self.jitter_ms, **whole)


_MODULI = {
    "packets": 1 << 16, "highest": 1 << 24,
    "frames_observed": 1 << 16, "frames_forecast": 1 << 16, "frames_held": 1 << 16,
}  # fmt: skip
_MOST_JITTER_MS = 255


@dataclass(frozen=True)
class Bye:
    """Ends the call. `ok` tells an end from a refusal; `reason` has at most 200 characters of any kind."""

    reason: str
    ok: bool = True


Message = Hello | SourceChunk | Ready | Start | Want | Still | Status | Report | Brief | Bye


def pack_message(message: Message, *, short: bool = False) -> bytes:
    """Return a message's bytes; `short`, where the other side reads the shorter form of a picture's pieces.

    Raise ValueError when it does not fit a ctl message.
    """
    if isinstance(message, Report):
        return _pack_report(message)
    if isinstance(message, Brief):
        return _pack_brief(message)
    if short and isinstance(message, SourceChunk):
        return _pack_piece(message)
    kind = _KINDS[type(message)]
    if isinstance(message, Hello):
        body: dict[str, object] = {**asdict(message), "terms": message.terms.to_map()}
        for name in (*_LEFT_OUT, "size"):
            if not body[name]:
                del body[name]
    else:
        body = asdict(message)
        if isinstance(message, SourceChunk) and not message.alone:
            del body["alone"]
    data = bytes(msgpack.packb({"type": kind} | body))
    if len(data) > MAX_CTL_MESSAGE:
        raise ValueError(f"A {kind} message of {len(data)} bytes is over {MAX_CTL_MESSAGE}.")
    return data


def is_report(data: bytes) -> bool:
    """Say whether the bytes of a message of ours are a report's."""
    return data[:1] in {bytes([_REPORT_TAG]), bytes([_BRIEF_TAG])}


def parse_message(data: bytes) -> Message:
    """Read one message. Raise PeerError on anything but exactly one well-formed message."""
    if len(data) > MAX_CTL_MESSAGE:
        raise PeerError(f"A control message has {len(data)} bytes, over the limit of {MAX_CTL_MESSAGE}.")
    if data[:1] and data[0] in _SHORT:
        return _SHORT[data[0]](data)
    body = _unpack(data)
    kind = body.pop("type", None)
    if not isinstance(kind, str) or kind not in _PARSERS:
        raise PeerError("A control message is of an unknown type.")
    message_type, parse = _PARSERS[kind]
    if message_type is Hello:
        _check_version(body)
        body = _DEFAULTS | body
    if message_type is SourceChunk:
        body.setdefault("alone", False)
    missing = {field.name for field in fields(message_type)} - body.keys()
    if missing:
        raise PeerError(f"The {kind} message has no {min(missing)}.")
    return parse(body)


def _unpack(data: bytes) -> dict[object, object]:
    try:
        body = msgpack.unpackb(
            data,
            raw=False,
            max_str_len=1024,
            max_bin_len=PICTURE_CHUNK,
            max_array_len=0,
            max_map_len=16,
            max_ext_len=0,
        )
    # msgpack raises subclasses of ValueError, and bare ones; deep nesting and odd keys raise the others.
    except (ValueError, TypeError, RecursionError) as error:
        raise PeerError("A control message is not valid msgpack within its limits.") from error
    if not isinstance(body, dict):
        raise PeerError("A control message is not a map.")
    return body


Body = Mapping[object, object]


def _check_version(hello: Body) -> None:
    """Refuse another protocol before the hello's own fields are looked at: they may have changed."""
    terms = hello.get("terms")
    if isinstance(terms, dict):
        check_protocol(terms.get("protocol"))


def _hello(body: Body) -> Hello:
    terms = body["terms"]
    if not isinstance(terms, dict):
        raise PeerError("The hello's terms are not a map.")
    forecaster = body["forecaster"]
    if not isinstance(forecaster, str) or len(forecaster) > MAX_NAME or not forecaster.isprintable():
        raise PeerError("The hello's forecaster is not a short plain text.")
    secret = body["secret"]
    if not isinstance(secret, bytes) or len(secret) not in (0, SECRET_BYTES):
        raise PeerError(f"The hello's secret is neither empty nor {SECRET_BYTES} bytes.")
    flags = {name: _flag("hello", body, name) for name in ("avatar", *_LEFT_OUT)}
    size = _count("hello", body, "size", MAX_SIZE)
    return Hello(CallTerms.from_map(terms), forecaster=forecaster, secret=secret, size=size, **flags)


def _chunk(body: Body) -> SourceChunk:
    data = body["data"]
    total = _count("picture", body, "total", MAX_PICTURE_BYTES)
    offset = _count("picture", body, "offset", MAX_PICTURE_BYTES)
    if not isinstance(data, bytes):
        raise PeerError("A piece of the source picture is not bytes.")
    slot = _count("picture", body, "slot", MAX_PICTURES - 1)
    alone = _flag("picture", body, "alone")
    return _inside(SourceChunk(_count("picture", body, "picture"), slot, total, offset, data, alone))


def _inside(piece: SourceChunk) -> SourceChunk:
    if not piece.data or piece.offset + len(piece.data) > piece.total:
        raise PeerError("A piece of the source picture is empty or runs past the picture's end.")
    return piece


def _ready(body: Body) -> Ready:
    return Ready(_count("ready", body, "picture"))


def _start(body: Body) -> Start:
    return Start(_count("start", body, "wall_ms", 2**32 - 1))


def _want(body: Body) -> Want:
    return Want(_count("want", body, "slot", MAX_PICTURES - 1))


def _still(_: Body) -> Still:
    return Still()


def _status(body: Body) -> Status:
    return Status(_flag("status", body, "muted"), _flag("status", body, "held"))


def _pack_report(report: Report) -> bytes:
    try:
        return _REPORT.pack(_REPORT_TAG, *astuple(report))
    except struct.error as error:
        raise ValueError(f"A report holds a number out of its range: {report}.") from error


def _parse_report(data: bytes) -> Report:
    if len(data) != _REPORT.size:
        raise PeerError(f"A report has {len(data)} bytes, not {_REPORT.size}.")
    _, *numbers = _REPORT.unpack(data)
    return Report(*numbers)


def _pack_brief(brief: Brief) -> bytes:
    packets, highest, *rest = astuple(brief)
    try:
        return _BRIEF.pack(_BRIEF_TAG, packets, highest & 0xFFFF, highest >> 16, *rest)
    except struct.error as error:
        raise ValueError(f"A report holds a number out of its range: {brief}.") from error


def _parse_brief(data: bytes) -> Brief:
    if len(data) != _BRIEF.size:
        raise PeerError(f"A short report has {len(data)} bytes, not {_BRIEF.size}.")
    _, packets, low, high, *rest = _BRIEF.unpack(data)
    return Brief(packets, low | high << 16, *rest)


def _pack_piece(piece: SourceChunk) -> bytes:
    slot = piece.slot | (_ALONE if piece.alone else 0)
    try:
        return _PIECE.pack(_PIECE_TAG, piece.picture, slot, piece.total, piece.offset) + piece.data
    except struct.error as error:
        raise ValueError(f"A piece of picture {piece.picture} holds a number out of its range.") from error


def _parse_piece(data: bytes) -> SourceChunk:
    if len(data) > _PIECE.size + PICTURE_CHUNK or len(data) < _PIECE.size:
        raise PeerError(f"A piece of the source picture has {len(data)} bytes.")
    _, picture, slot, total, offset = _PIECE.unpack_from(data)
    alone, slot = bool(slot & _ALONE), slot & ~_ALONE
    if total > MAX_PICTURE_BYTES or slot >= MAX_PICTURES:
        raise PeerError(f"A piece of the source picture names slot {slot} and {total} bytes.")
    return _inside(SourceChunk(picture, slot, total, offset, data[_PIECE.size :], alone))


_SHORT: dict[int, Callable[[bytes], Message]] = {
    _REPORT_TAG: _parse_report, _BRIEF_TAG: _parse_brief, _PIECE_TAG: _parse_piece,
}  # fmt: skip


def _bye(body: Body) -> Bye:
    reason = body["reason"]
    if not isinstance(reason, str) or len(reason) > MAX_REASON:
        raise PeerError(f"The bye's reason is not a text of at most {MAX_REASON} characters.")
    return Bye(reason, _flag("bye", body, "ok"))


def _count(kind: str, body: Body, name: str, limit: int = _MAX_COUNT) -> int:
    value = body[name]
    if type(value) is not int or not 0 <= value <= limit:
        raise PeerError(f"The {kind} message's {name} is not a whole number from 0 to {limit}.")
    return value


def _flag(kind: str, body: Body, name: str) -> bool:
    value = body[name]
    if not isinstance(value, bool):
        raise PeerError(f"The {kind} message's {name} is neither true nor false.")
    return value


_PARSERS: dict[str, tuple[type[Message], Callable[[Body], Message]]] = {
    "hello": (Hello, _hello),
    "picture": (SourceChunk, _chunk),
    "ready": (Ready, _ready),
    "start": (Start, _start),
    "want": (Want, _want),
    "still": (Still, _still),
    "status": (Status, _status),
    "bye": (Bye, _bye),
}
_KINDS = {message_type: kind for kind, (message_type, _) in _PARSERS.items()}
