"""The numbers both ends of a call share, and the terms a call is held under."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from shared.errors import PeerError, RequestError
from shared.keypoints import MAX_DIMENSIONS

PROTOCOL = 2
FPS = 30
SIZE = 256
"""The side of pictures, in pixels, of a backbone and of a call that do not say another."""
SIZES = (SIZE, 384, 512)
"""What `--size` takes: sides of source pictures, of which a network may know several."""
BACKBONES = ("lite", "fomm", "tps", "nth")
"""All that can be asked for by name: `models.NAME.entry` says how each is loaded."""
DEVICES = ("auto", "cpu", "cuda")
REFERENCE_KBPS = 500.0
"""Rate of an ordinary video call of this size and frame rate; savings are this over the measured kbps."""

MAX_PACKET = 1160
"""Bytes of one keypoint message: one SCTP chunk. Two chunks collapse under loss."""
MESSAGE_OVERHEAD = 93
"""IP 20, UDP 8, DTLS 37 and SCTP 28 bytes around each message; the compact transport saves 8 of them."""
MAX_PACKET_FRAMES = 32
MAX_CTL_MESSAGE = 16 * 1024
MAX_PICTURE_BYTES = 256 * 1024
PICTURE_CHUNK = 1024
MAX_PICTURES = 8
"""Source pictures that a receiver keeps at once, in slots 0 to 7."""
MAX_REASON = 200
MAX_SIZE = 4096
"""Of a picture's side, in pixels, that a hello may name. What is taken is what the network knows."""
MAX_NAME = 64
SECRET_BYTES = 16
"""Of the secret by which a sender takes up a call again, 128 random bits, and of a proof of it."""
MAX_BLOCK = 300


@dataclass(frozen=True)
class Schedule:
    """Ship `observe` frames, skip `skip`, repeat. `observe` is 1 to 300, `skip` 0 to 300."""

    observe: int = 6
    skip: int = 6

    def __post_init__(self) -> None:
        if not (1 <= self.observe <= MAX_BLOCK and 0 <= self.skip <= MAX_BLOCK):
            raise RequestError(
                f"The schedule {self.observe}-{self.skip} is out of range; "
                f"ship 1 to {MAX_BLOCK} frames and skip 0 to {MAX_BLOCK}, such as 6-6."
            )

    def ships(self, n: int) -> bool:
        """Say whether frame number `n` (0 is the first of the call) is sent."""
        return n % (self.observe + self.skip) < self.observe

    @property
    def duty(self) -> float:
        """The share of the frames that is sent, in (0, 1]."""
        return self.observe / (self.observe + self.skip)

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Read "6-6" (ship 6, skip 6). Raise RequestError on anything else."""
        observe, dash, skip = text.partition("-")
        if not (dash and observe.isascii() and observe.isdigit() and skip.isascii() and skip.isdigit()):
            raise RequestError(f"{text!r} is not a schedule; write frames to ship and to skip, such as 6-6.")
        if max(len(observe), len(skip)) > len(str(MAX_BLOCK)):
            raise RequestError(f"The schedule {text!r} is out of range; use at most {MAX_BLOCK} frames each.")
        return cls(int(observe), int(skip))

    def __str__(self) -> str:
        return f"{self.observe}-{self.skip}"


@dataclass(frozen=True)
class CallTerms:
    """Contents of a hello. All but `policy`, `observe` and `skip`, the sender's own, must match.

    `fingerprint` is the hash of the backbone's weights; a frame of it has `keypoints` keypoints, `dimensions`
    numbers in all (see `shared.keypoints`), and its pictures are `size` pixels square. `tables` is the hash
    of the codec's tables ("" for none). `policy` "alternate" ships `observe` frames and skips `skip`;
    "adaptive" ships when it must.
    """

    backbone: str
    fingerprint: str
    keypoints: int
    dimensions: int
    codec: str = "paper"
    tables: str = ""
    policy: str = "alternate"
    observe: int = 6
    skip: int = 6
    fps: int = FPS
    size: int = SIZE
    protocol: int = PROTOCOL

    @property
    def schedule(self) -> Schedule:
        """The sender's schedule."""
        return Schedule(self.observe, self.skip)

    def to_map(self) -> dict[str, str | int]:
        """Return the plain map that goes into a hello.

        Left out is what readers took for granted before other backbones: six numbers a keypoint, 256 pixels.
        """
        plain = asdict(self)
        # Where older senders put it, so that a hello of theirs and ours is the same byte by byte.
        for name in ("keypoints", "dimensions", "fps", "size", "protocol"):
            plain[name] = plain.pop(name)
        if self.dimensions == self.keypoints * _NUMBERS_A_KEYPOINT:
            del plain["dimensions"]
        if self.size == SIZE:
            del plain["size"]
        return plain

    @classmethod
    def from_map(cls, data: Mapping[object, object]) -> CallTerms:
        """Read a peer's map. Raise PeerError on a missing, mistyped or out-of-range field.

        Fields that are not known are left out; see `shared.protocol.message_format`.
        """
        check_protocol(data.get("protocol"))
        missing = {field.name for field in fields(cls)} - data.keys() - {"dimensions", "size"}
        if missing:
            raise PeerError(f"The hello's terms have no {min(missing)}.")
        names = ("backbone", "fingerprint", "codec", "tables", "policy")
        texts: dict[str, Any] = {name: _text(name, data[name]) for name in names}
        keypoints = _whole("keypoints", data["keypoints"], 1, MAX_DIMENSIONS)
        dimensions = data.get("dimensions", keypoints * _NUMBERS_A_KEYPOINT)
        return cls(
            **texts,
            keypoints=keypoints,
            dimensions=_whole("dimensions", dimensions, 1, MAX_DIMENSIONS * _NUMBERS_A_KEYPOINT),
            observe=_whole("observe", data["observe"], 1, MAX_BLOCK),
            skip=_whole("skip", data["skip"], 0, MAX_BLOCK),
            fps=_whole("fps", data["fps"], 1, 1000),
            size=_whole("size", data.get("size", SIZE), 1, MAX_SIZE),
        )

    def difference(self, other: CallTerms, here: str = "receiver", there: str = "sender") -> str | None:
        """Return one sentence naming both sides' values of what must match and does not, or None."""
        for name, hint in _MUST_MATCH.items():
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                label = _LABELS.get(name, name)
                return f"The {here} has {label} {_shown(mine)}, the {there} has {_shown(theirs)}; {hint}."
        return None


_MUST_MATCH = {
    "protocol": "install the same version of keycast on both machines",
    "backbone": "start both with the same --backbone",
    "fingerprint": "use the same weights on both machines",
    "keypoints": "use the same weights on both machines",
    "dimensions": "use the same weights on both machines",
    "size": "use the same weights on both machines",
    "fps": "run both at the same frame rate",
    "codec": "start both with the same codec",
    "tables": "install the same versions of keycast and of constriction on both machines",
}
_LABELS = {
    "fingerprint": "weights",
    "dimensions": "keypoint numbers",
    "size": "picture size",
    "tables": "codec tables",
}
_NUMBERS_A_KEYPOINT = 6
"""Of a hello that does not say how many: a place and a 2x2 Jacobian."""


def _shown(value: object) -> str:
    text = str(value)
    return "none" if not text else text[:16]


def check_protocol(theirs: object) -> None:
    """Raise PeerError unless `theirs`, a hello's protocol, is ours; names both."""
    if type(theirs) is not int:
        raise PeerError("The hello names no protocol version.")
    if theirs != PROTOCOL:
        raise PeerError(
            f"One side speaks protocol {PROTOCOL}, the other protocol {theirs}; "
            "install the same version of keycast on both machines."
        )


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_NAME or not (value.isprintable() and value.isascii()):
        raise PeerError(f"The hello's {name} is not a short plain text.")
    return value


def _whole(name: str, value: object, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise PeerError(f"The hello's {name} is not a whole number from {low} to {high}.")
    return value
