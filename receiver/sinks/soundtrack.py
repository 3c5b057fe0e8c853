"""The sound of a video file, next to the pictures, whole from the first frame to the last."""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer

from shared.media.opus import RATE, Sound
from shared.media.video.sounds import LAYOUTS

_BITS_PER_SECOND = 64_000
_PIECES = 256
# What has not come a second after its frame is silence: neither stream waits for the other in the file.
_PATIENCE = RATE
_MAX_SILENCE = RATE
LONGEST_GAP_SECONDS = 10.0
"""Between two frames at the most; `Sinks` sees to it. Sound from further ahead belongs to none."""
_MAX_SAMPLES_AHEAD = round(LONGEST_GAP_SECONDS * RATE)


class Soundtrack:
    """Encodes what is heard: (N,), or (N, 2) for two `channels`, numbered from the file's first frame on.

    `hear` may be called by another thread than the others.
    """

    def __init__(self, container: OutputContainer, codec: str = "aac", channels: int = 1) -> None:
        self._container = container
        self._layout = LAYOUTS[channels]
        self._silent = np.zeros(0 if channels == 1 else (0, channels), np.int16)
        self._primed = codec == "aac"
        self._stream = cast(AudioStream, container.add_stream(codec, rate=RATE, layout=self._layout))
        self._stream.bit_rate = channels * _BITS_PER_SECOND
        self._stream.time_base = Fraction(1, RATE)
        self._pieces: deque[tuple[int, Sound]] = deque(maxlen=_PIECES)
        self._pending = self._silent
        self._encoded = 0

    def hear(self, first: int, sound: Sound) -> None:
        """Take samples from `first` on; silence is put between pieces, and what overlaps is left out."""
        self._pieces.append((first, sound))

    def write(self, until: int) -> None:
        """Write what has come, and silence where nothing has come up to a second before sample `until`.

        Raises OSError and av.FFmpegError.
        """
        while self._pieces:
            first, sound = self._pieces.popleft()
            if first <= until + _MAX_SAMPLES_AHEAD:
                self._pad(first)
                self._append(sound[max(self._end() - first, 0) :])
        self._pad(until - _PATIENCE)

    def finish(self, until: int) -> None:
        """Write all that is left, to sample `until` and no further. Raises OSError and av.FFmpegError."""
        self.write(until)
        self._pad(until)
        self._pending = self._pending[: max(until - self._encoded, 0)]
        if len(self._pending):
            self._encode(self._pending)
        self._mux(self._stream.encode(None))

    def _end(self) -> int:
        return self._encoded + len(self._pending)

    def _pad(self, until: int) -> None:
        # Piece by piece: a pause may be long.
        while (missing := until - self._end()) > 0:
            silence = np.zeros((min(missing, _MAX_SILENCE), *self._silent.shape[1:]), np.int16)
            self._append(silence)

    def _append(self, sound: Sound) -> None:
        """Add samples at the end, and write those that fill a frame of the coder's."""
        self._pending = np.concatenate([self._pending, sound])
        size = self._stream.codec_context.frame_size or 1024
        while len(self._pending) >= size:
            self._encode(self._pending[:size])
            self._pending = self._pending[size:]

    def _mux(self, packets: list[av.Packet[AudioStream]]) -> None:
        # AAC begins with a packet from before the beginning; the file would put all else off by as much.
        kept = [packet for packet in packets if not self._primed or packet.pts is None or packet.pts >= 0]
        self._container.mux(kept)

    def _encode(self, sound: Sound) -> None:
        samples = (sound.astype(np.float32) / 32768).reshape(len(sound), -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), "fltp", self._layout)
        frame.sample_rate, frame.pts, frame.time_base = RATE, self._encoded, Fraction(1, RATE)
        self._encoded += len(sound)
        self._mux(self._stream.encode(frame))
