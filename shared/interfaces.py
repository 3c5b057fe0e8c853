"""Interfaces between the parts of a call. Everything here is implemented elsewhere and faked in tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from shared.keypoints import Floats, KeypointLayout, Pictures

Channel = Literal["kp", "ctl", "voice"]
NetworkPath = Literal["", "direct", "relay"]
Transfer = Callable[[Floats], Floats]
"""Takes driving keypoints (T, D), and returns those of a source picture that moves as they do (T, D)."""
DRAIN_SECONDS = 4.0
"""Longest time a last message may take. SCTP says it again each second until it is confirmed."""


CAUSES = (
    "keypoints", "pictures", "reports", "control", "sound", "acknowledgements", "sctp", "dtls", "rtp", "ip",
    "ice", "set_up",
)  # fmt: skip
"""What bytes on the wire are for: messages by their kind, what acknowledges them, what SCTP, DTLS, RTP (with
SRTP's tag) and IP (with UDP) put around them, ICE's checks, and DTLS handshakes. No RTCP is sent."""
Direction = Literal["sent", "received"]
BytesByCause = dict[Direction, dict[str, int]]
"""IP bytes for each of `CAUSES`, each way. Of a connection, "control" has pictures and reports in it."""


class Source(Protocol):
    """A source picture as a backbone keeps it. Whoever drops it frees what was kept."""

    @property
    def keypoints(self) -> Floats:
        """The picture's keypoints (D,)."""
        ...


class Backbone(Protocol):
    """A motion-transfer network: NumPy outside, the network inside.

    It has no state of a call: several calls and threads may share one, each with source pictures of its own.
    """

    name: str
    fingerprint: str
    detector: str
    """The fingerprint of what finds its keypoints: forecasters and codec tables are made for that alone."""
    layout: KeypointLayout
    """What the D numbers of a frame stand for."""

    @property
    def size(self) -> int:
        """The side of the pictures that it detects in, in pixels."""
        ...

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sides of source pictures that it takes, rising from `size`; it renders at a source's own."""
        ...

    @property
    def engine(self) -> str:
        """What runs the network, such as "torch"."""
        ...

    @property
    def precision(self) -> str:
        """The precision of the renderer's convolutions, such as "float32"."""
        ...

    @property
    def device(self) -> str:
        """Where the network runs: "cpu" or "cuda"."""
        ...

    def detect(self, frames: Pictures) -> Floats:
        """Return the keypoints (B, D) of `frames` (B, size, size, 3), uint8 RGB."""
        ...

    def encode(self, picture: Pictures) -> Source:
        """Encode a source picture (S, S, 3), uint8 RGB, once for all that is rendered from it.

        S is one of `sizes`.
        """
        ...

    def render(self, source: Source, keypoints: Floats) -> Pictures:
        """Render a source of this backbone's, of side S, at `keypoints` (B, D): (B, S, S, 3), uint8 RGB."""
        ...

    def transfer(self, source: Source, initial: Floats, *, adapt_scale: bool = False) -> Transfer:
        """Return what carries motion since the driving keypoints `initial` (D,) over to `source`.

        As the network's authors do. What depends on these two alone is worked out here, once. With
        `adapt_scale` motion is scaled by how large the two faces are; raises RequestError where keypoints
        have no such size.
        """
        ...

    def warmup(self, *, detect: bool = True, render: bool = True) -> None:
        """Run what will be used once, so that the first real frame is not slow."""
        ...


class Forecaster(Protocol):
    """Predicts keypoints from the past. State is explicit: `reset`, then `observe`, then ask."""

    name: str

    def reset(self) -> None:
        """Forget everything observed."""
        ...

    def observe(self, frames: Floats) -> None:
        """Take in consecutive frames (T, D), T >= 1, that follow what was observed before."""
        ...

    def forecast(self, steps: int) -> Floats:
        """Return the most likely next frames (steps, D); the state does not change."""
        ...

    def sample(self, count: int, steps: int, seed: int) -> Floats:
        """Return `count` possible futures (count, steps, D); the state does not change."""
        ...


class Connection(Protocol):
    """One call's channels, whatever carries them: `kp` and `voice` may lose and reorder, `ctl` never does."""

    app_sent: int
    app_received: int

    @property
    def wire_sent(self) -> int:
        """IP bytes sent so far (headers included)."""
        ...

    @property
    def wire_received(self) -> int:
        """IP bytes received so far (headers included)."""
        ...

    @property
    def pieces_expected(self) -> int:
        """Pieces of messages, a keypoint message being one, that the other side is known to have sent."""
        ...

    @property
    def pieces_received(self) -> int:
        """How many of `pieces_expected` have come."""
        ...

    @property
    def by_cause(self) -> BytesByCause:
        """`wire_sent` and `wire_received`, by what they are for."""
        ...

    @property
    def acknowledgements(self) -> int:
        """How often the other side has said that something has arrived there."""
        ...

    @property
    def binding(self) -> bytes:
        """What both ends of it know alike and no other connection has: the keys of both. Once it is open."""
        ...

    @property
    def path(self) -> NetworkPath:
        """How it runs, or ran: "direct", over a "relay", or "" where that is not known."""
        ...

    @property
    def carries_media(self) -> bool:
        """Whether this end can send keypoints and reports as media."""
        ...

    @property
    def overhead(self) -> int:
        """IP bytes around a keypoint message."""
        ...

    def use_media(self) -> None:
        """Send keypoints and reports as media from now on: the other side reads them there."""
        ...

    def send_report(self, data: bytes) -> bool:
        """Send a report as media, which may be lost; False where these are not in use."""
        ...

    @property
    def back(self) -> Connection | None:
        """The channels of the other direction on the same connection, where it has any; theirs is None."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the connection has ended, from either side."""
        ...

    @property
    def reason(self) -> str:
        """Why the connection ended, one sentence; "" while it has not, or where it ended in order."""
        ...

    async def opened(self, timeout: float = 8.0) -> None:
        """Return once both channels are open. Raise KeycastError when that takes over `timeout` s."""
        ...

    def send_kp(self, data: bytes) -> bool:
        """Send one keypoint message; False where it was dropped, since it could not leave at once."""
        ...

    def send_voice(self, data: bytes) -> bool:
        """Send one sound packet; False where it was dropped: not open, or not made to carry sound."""
        ...

    def send_ctl(self, data: bytes) -> None:
        """Queue one control message; ignored once the connection has ended."""
        ...

    async def recv(self) -> tuple[Channel, bytes] | None:
        """Return the next message and its channel; None once the connection has ended."""
        ...

    async def drained(self, timeout: float = DRAIN_SECONDS) -> bool:
        """Wait until every control message has left; False where that took longer than `timeout` seconds."""
        ...

    async def close(self) -> None:
        """End the connection; the other side's `recv` returns None. Safe to call again."""
        ...
