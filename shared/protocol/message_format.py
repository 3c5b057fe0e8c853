"""The bytes of the `ctl` channel's messages: at most 16 KiB each, and checked field by field.

All are msgpack maps but reports (`shared.protocol.reports`), whose first byte begins no map, and, where both
hellos say media, pieces of pictures, whose first byte begins none either. A piece has 14 bytes before its
data, little-endian:

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
from dataclasses import asdict, fields

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
from shared.protocol.messages import Bye, Hello, Message, Ready, SourceChunk, Start, Status, Still, Want
from shared.protocol.reports import (
    BRIEF_TAG,
    REPORT_TAG,
    Brief,
    Report,
    pack_brief,
    pack_report,
    parse_brief,
    parse_report,
)

_MAX_COUNT = 2**53
_PIECE = struct.Struct("<BIBII")
_PIECE_TAG = 0x54
_ALONE = 0x80
_LEFT_OUT = ("voice", "laden", "both", "media", "status")
"""Flags of a hello that are not named where they are false."""
_DEFAULTS: dict[object, object] = {**dict.fromkeys(_LEFT_OUT, False), "size": 0}
"""What a hello does not name, and then has."""


def pack_message(message: Message, *, short: bool = False) -> bytes:
    """Return a message's bytes; `short`, where the other side reads the shorter form of a picture's pieces.

    Raise ValueError when it does not fit a ctl message.
    """
    if isinstance(message, Report):
        return pack_report(message)
    if isinstance(message, Brief):
        return pack_brief(message)
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
    return data[:1] in {bytes([REPORT_TAG]), bytes([BRIEF_TAG])}


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
    REPORT_TAG: parse_report, BRIEF_TAG: parse_brief, _PIECE_TAG: _parse_piece,
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
