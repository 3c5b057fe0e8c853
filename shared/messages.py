"""The messages of the `ctl` channel: msgpack maps of at most 16 KiB, checked field by field."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields

import msgpack

from shared.config import (
    MAX_CTL_MESSAGE,
    MAX_NAME,
    MAX_PICTURE_BYTES,
    MAX_PICTURES,
    MAX_REASON,
    PICTURE_CHUNK,
    CallTerms,
)
from shared.errors import PeerError

_MAX_COUNT = 2**53
_MAX_LATENCY_MS = 1e10


@dataclass(frozen=True)
class Hello:
    """Opens a call. `avatar` is the receiver's word that it has a picture of its own and wants none.

    `forecaster` names what the receiver fills in missing frames with; a sender that decides by what the
    receiver would forecast runs the same. The sender's own hello leaves it empty.
    """

    terms: CallTerms
    avatar: bool = False
    forecaster: str = ""


@dataclass(frozen=True)
class SourceChunk:
    """Bytes `offset` to `offset + len(data)` of source picture number `picture`, `total` bytes long.

    Pictures are numbered as they are sent; this one takes the place of what `slot` (0 to 7) held before.
    """

    picture: int
    slot: int
    total: int
    offset: int
    data: bytes


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
class Report:
    """What the receiver has seen since the call began."""

    packets: int = 0
    frames_observed: int = 0
    frames_forecast: int = 0
    frames_held: int = 0
    latency_p50_ms: float = 0.0


@dataclass(frozen=True)
class Bye:
    """Ends the call. `ok` tells a normal end from a refusal; `reason` has at most 200 characters."""

    reason: str
    ok: bool = True


Message = Hello | SourceChunk | Ready | Start | Want | Report | Bye


def pack_message(message: Message) -> bytes:
    """Return a message's bytes. Raise ValueError when it does not fit a ctl message."""
    kind = _KINDS[type(message)]
    if isinstance(message, Hello):
        body: dict[str, object] = {**asdict(message), "terms": message.terms.to_map()}
    else:
        body = asdict(message)
    data = bytes(msgpack.packb({"type": kind} | body))
    if len(data) > MAX_CTL_MESSAGE:
        raise ValueError(f"A {kind} message of {len(data)} bytes is over {MAX_CTL_MESSAGE}.")
    return data


def parse_message(data: bytes) -> Message:
    """Read one message. Raise PeerError on anything but exactly one well-formed message."""
    if len(data) > MAX_CTL_MESSAGE:
        raise PeerError(f"A control message has {len(data)} bytes, over the limit of {MAX_CTL_MESSAGE}.")
    body = _unpack(data)
    kind = body.pop("type", None)
    if not isinstance(kind, str) or kind not in _PARSERS:
        raise PeerError("A control message is of an unknown type.")
    message_type, parse = _PARSERS[kind]
    if set(body) != {field.name for field in fields(message_type)}:
        raise PeerError(f"The {kind} message has missing or unknown fields.")
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


def _hello(body: Body) -> Hello:
    terms = body["terms"]
    if not isinstance(terms, dict):
        raise PeerError("The hello's terms are not a map.")
    forecaster = body["forecaster"]
    if not isinstance(forecaster, str) or len(forecaster) > MAX_NAME or not forecaster.isprintable():
        raise PeerError("The hello's forecaster is not a short plain text.")
    return Hello(CallTerms.from_map(terms), _flag("hello", body, "avatar"), forecaster)


def _chunk(body: Body) -> SourceChunk:
    data = body["data"]
    total = _count("picture", body, "total", MAX_PICTURE_BYTES)
    offset = _count("picture", body, "offset", MAX_PICTURE_BYTES)
    if not isinstance(data, bytes) or not data or offset + len(data) > total:
        raise PeerError("A piece of the source picture is empty or runs past the picture's end.")
    slot = _count("picture", body, "slot", MAX_PICTURES - 1)
    return SourceChunk(_count("picture", body, "picture"), slot, total, offset, data)


def _ready(body: Body) -> Ready:
    return Ready(_count("ready", body, "picture"))


def _start(body: Body) -> Start:
    return Start(_count("start", body, "wall_ms", 2**32 - 1))


def _want(body: Body) -> Want:
    return Want(_count("want", body, "slot", MAX_PICTURES - 1))


def _report(body: Body) -> Report:
    latency = body["latency_p50_ms"]
    if type(latency) is not float or not math.isfinite(latency) or abs(latency) > _MAX_LATENCY_MS:
        raise PeerError("The report's latency_p50_ms is not a plausible number.")
    packets, observed, forecast, held = (_count("report", body, name) for name in _REPORT_COUNTS)
    return Report(packets, observed, forecast, held, latency)


def _bye(body: Body) -> Bye:
    reason = body["reason"]
    if not isinstance(reason, str) or len(reason) > MAX_REASON:
        raise PeerError(f"The bye's reason is not a text of at most {MAX_REASON} characters.")
    # It is shown on a terminal: control characters stay out.
    shown = "".join(letter if letter.isprintable() else " " for letter in reason)
    return Bye(shown, _flag("bye", body, "ok"))


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


_REPORT_COUNTS = ("packets", "frames_observed", "frames_forecast", "frames_held")
_PARSERS: dict[str, tuple[type[Message], Callable[[Body], Message]]] = {
    "hello": (Hello, _hello),
    "picture": (SourceChunk, _chunk),
    "ready": (Ready, _ready),
    "start": (Start, _start),
    "want": (Want, _want),
    "report": (Report, _report),
    "bye": (Bye, _bye),
}
_KINDS = {message_type: kind for kind, (message_type, _) in _PARSERS.items()}
