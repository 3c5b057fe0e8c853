"""The viewer page's pictures and sound, as its viewers get them."""

from __future__ import annotations

import io
import struct
from typing import Any, Protocol

import numpy as np
from PIL import Image

from receiver.sinks.loudspeaker import CUSHION_SECONDS, SoundQueue
from receiver.sinks.null_device import NullDevice
from shared.clock import monotonic
from shared.keypoints import Pictures
from shared.media.opus import RATE, OpusEncoder, Sound

PICTURE, SOUND, SELF = b"P", b"A", b"S"
_STAMP = struct.Struct(">cdd")
_QUALITY = 80
_VOICE_KBPS = 32.0
_PIECE = RATE // 50
_AHEAD_SECONDS = 0.04
"""How long before its moment sound is made, for its way to the browser, which waits for what needs longer."""


class Audience(Protocol):
    """Viewers of the page."""

    @property
    def wanted(self) -> bool:
        """Whether anybody waits for a picture, or listens."""
        ...

    def publish(self, data: bytes) -> None:
        """Give it to everybody who does. Safe in any thread."""
        ...


def stamped(kind: bytes, at: float, data: bytes) -> bytes:
    """Return `data` as the page gets it: a kind, when it is to be perceived, when it left, and the data.

    `at` is in monotonic seconds; both moments are written in milliseconds, eight bytes each, big-endian.
    """
    return _STAMP.pack(kind, 1000 * at, 1000 * monotonic()) + data


def jpeg(picture: Pictures, side: int | None = None) -> bytes:
    """Return `picture` (S, S, 3), uint8 RGB, as a JPEG, `side` pixels wide and high where given."""
    image = Image.fromarray(picture)
    if side is not None:
        image = image.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=_QUALITY)
    return encoded.getvalue()


class PageSink:
    """Encodes a frame once for all who watch, and not at all where nobody does.

    JPEG by measurement (a frame 0.25 ms, three viewers 3 % of a core, 12 ms until it is on screen): VP8
    is encoded for each viewer anew, which took 8 % of a core for one and 20 % for three, and was on screen
    after 30 to 40 ms, for a third of the bytes.
    """

    def __init__(self, audience: Audience) -> None:
        self._audience = audience

    def open(self) -> None:
        """Nothing is needed."""

    def write(self, number: int, picture: Pictures) -> None:  # noqa: ARG002 - who watches sees the newest
        """Show one frame to those who wait for one."""
        if self._audience.wanted:
            now = monotonic()
            self._audience.publish(stamped(PICTURE, now, jpeg(picture)))

    def close(self) -> None:
        """Nothing is kept."""


class PageSound:
    """A sink that takes sound alone, for those viewers who listen; where nobody does, it costs nothing.

    It plays as a loudspeaker does, at the pace of this machine's clock: what delays and gaps of the timeline
    ask for is done here. The page has even packets of 20 ms, each with its moment, and none in pauses.
    """

    def __init__(self, listeners: Audience) -> None:
        self._listeners = listeners
        self._device: NullDevice | None = None
        self._queue = SoundQueue()
        self._encoder: OpusEncoder | None = None
        self._pulled: list[Sound] = []
        self._at = 0.0

    @property
    def lead(self) -> float:
        """Seconds before it is heard that sound is wanted; 0 while nobody listens."""
        return _AHEAD_SECONDS + CUSHION_SECONDS if self._device is not None else 0.0

    def open(self) -> None:
        """Nothing is needed."""

    def write(self, number: int, picture: Pictures) -> None:
        """Do nothing: pictures make no sound."""

    def expect_sound(self) -> None:
        """Nothing is needed before somebody listens."""

    def hear(self, first: int, sound: Sound, heard_at: float) -> None:  # noqa: ARG002 - sound follows sound
        """Take sound; see `AudioSink`."""
        if not self._listeners.wanted:
            self.close()
            return
        if self._device is None:
            self._queue, self._encoder, self._pulled = SoundQueue(), OpusEncoder(_VOICE_KBPS, _PIECE), []
            self._device = NullDevice(self._play, _AHEAD_SECONDS)
        self._queue.push(sound, heard_at)

    def close(self) -> None:
        """Stop at once."""
        device, self._device = self._device, None
        if device is not None:
            device.close()

    def _play(self, _: object, count: int, times: Any, __: object) -> None:  # noqa: ANN401 - PortAudio's
        at = times.outputBufferDacTime
        if not self._pulled:
            self._at = at
        self._pulled.append(self._queue.pull(count, at))
        if sum(map(len, self._pulled)) < _PIECE or self._encoder is None:
            return
        packet, self._pulled = self._encoder.encode(np.concatenate(self._pulled)), []
        # Between calls, and once all have left, there is nobody to play to.
        if packet and self._listeners.wanted:
            self._listeners.publish(stamped(SOUND, self._at - self._encoder.delay / RATE, packet))
