"""The loudspeaker: sound is heard when its picture is seen, whatever clock the device has of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from receiver.sinks.null_device import NullDevice
from receiver.time_stretch import MIN_SAMPLES, lengthened, shortened
from shared.clock import monotonic
from shared.errors import RequestError
from shared.keypoints import Pictures
from shared.media.opus import RATE, Sound
from shared.media.portaudio import device_named, portaudio
from shared.runtime.stats import Reservoir

CUSHION_SECONDS = 0.03
"""Sound that waits for the device, so that it never has to wait for sound."""
_LATENCY_SECONDS = 0.03
SPLICE_SECONDS = 0.008
"""Off by more, a period of the voice is left out or said twice; at most one in 20 ms."""
JUMP_SECONDS = 0.08
"""Off by more, since the timeline has jumped or the device stood still, sound is cut or waited for."""
_MIN_FADE = 48
NULL = "null"
Tap = Callable[[Sound, float], None]
"""Gets what is played, silence included, and when the device was given it (monotonic seconds)."""


class SoundQueue:
    """Between those who say when sound is to be heard, and a device that takes it as it goes.

    Times are monotonic seconds. Both sides may be threads of their own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue = np.zeros(0, np.int16)
        self._next_at: float | None = None
        self.latency = _LATENCY_SECONDS
        self.skews = Reservoir()
        self.most_skew = 0.0
        self.spliced = 0
        self.jumped = 0
        self.starved = 0

    def push(self, sound: Sound, heard_at: float) -> None:
        """Take the sound that follows, to be heard at `heard_at`."""
        with self._lock:
            if self._next_at is None:
                return
            late = self._next_at + len(self._queue) / RATE - heard_at
            if late < -JUMP_SECONDS or (late < 0 and not len(self._queue)):
                # Where sound was waited for, it is silent until its moment.
                silence = np.zeros(min(round(-late * RATE), RATE), np.int16)
                self.jumped += len(self._queue) > 0
                self._queue, late = np.concatenate([self._queue, silence]), 0.0
            elif late > JUMP_SECONDS:
                keep = max(len(self._queue) - round(late * RATE), 0)
                late -= (len(self._queue) - keep) / RATE
                self._queue = _faded(self._queue[:keep])
                self.jumped += 1
                if late > JUMP_SECONDS:
                    return
            self._note(late)
            self._queue = np.concatenate([self._queue, sound])
            if abs(late) > SPLICE_SECONDS and len(self._queue) >= MIN_SAMPLES:
                self._queue = shortened(self._queue) if late > 0 else lengthened(self._queue)
                self.spliced += 1

    def pull(self, count: int, heard_at: float) -> Sound:
        """Return the next `count` samples, which the device will let be heard from `heard_at` on."""
        with self._lock:
            sound, self._queue = self._queue[:count], self._queue[count:]
            if len(sound) < count:
                self.starved += self._next_at is not None and len(sound) > 0
                sound = np.concatenate([_faded(sound), np.zeros(count - len(sound), np.int16)])
            self._next_at = heard_at + count / RATE
            return sound

    def figures(self) -> dict[str, float]:
        """Return how far sound was from its moment, in ms (later: positive), and what was done about it."""
        low, high = self.skews.percentiles().p50, self.skews.percentiles().p95
        return {
            "sound_skew_p50_ms": low,
            "sound_skew_p95_ms": high,
            "sound_skew_max_ms": self.most_skew,
            "sound_spliced": self.spliced,
            "sound_jumped": self.jumped,
            "sound_starved": self.starved,
        }

    def _note(self, late: float) -> None:
        off = abs(1000 * late)
        self.skews.add(off)
        self.most_skew = max(self.most_skew, off)


class Loudspeaker:
    """A sink that takes sound alone. The device is opened when a call has sound; `note` hears why it is not.

    `name` is a device's number or a part of its name: that one has to be there. None is the default, "null"
    one that nobody hears. `tap` is called in the device's thread.
    """

    def __init__(
        self,
        name: str | None = None,
        note: Callable[[str], None] = lambda _: None,
        tap: Tap | None = None,
    ) -> None:
        self._name, self._note, self._tap = name, note, tap
        self._stream: Any = None
        self._refused = False
        self.queue = SoundQueue()

    @property
    def lead(self) -> float:
        """Seconds before it is heard that sound is wanted; 0 while there is no device."""
        return self.queue.latency + CUSHION_SECONDS if self._stream is not None else 0.0

    def open(self) -> None:
        """Open the device where one was named; RequestError where it cannot be used."""
        if self._name is not None:
            self._start()

    def write(self, number: int, picture: Pictures) -> None:
        """Do nothing: pictures make no sound."""

    def expect_sound(self) -> None:
        """Open the device; where there is none, say so once and go on without."""
        if self._stream is not None or self._refused:
            return
        try:
            self._start()
        except RequestError as error:
            self._refused = True
            self._note(f"{error} The call's sound is not played here.")

    def hear(self, first: int, sound: Sound, heard_at: float) -> None:  # noqa: ARG002 - sound follows sound
        """Take sound; see `AudioSink`."""
        if self._stream is not None:
            self.queue.push(sound, heard_at)

    def figures(self) -> dict[str, float]:
        """Return how well sound was in step; see `SoundQueue.figures`."""
        return self.queue.figures()

    def close(self) -> None:
        """Stop at once."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _start(self) -> None:
        if self._name == NULL:
            self._stream = NullDevice(self._play)
            return
        sounddevice = portaudio()
        try:
            stream = sounddevice.OutputStream(
                samplerate=RATE, channels=1, dtype="int16", device=device_named(self._name), latency="low",
                callback=self._play,
            )  # fmt: skip
            stream.start()
        # PortAudioError, or ValueError for a name that fits none or several.
        except (sounddevice.PortAudioError, ValueError) as error:
            which = "no loudspeaker" if self._name is None else f"no loudspeaker {self._name!r}"
            why = str(error).split("\n")[0].rstrip(".")
            raise RequestError(f"There is {which}, or it cannot be used ({why}).") from error
        self._stream = stream

    def _play(self, out: Any, count: int, times: Any, _: object) -> None:  # noqa: ANN401
        now = monotonic()
        latency = times.outputBufferDacTime - times.currentTime
        # Some systems do not say; then it is what the stream promises.
        self.queue.latency = (
            latency if 0 < latency < 1 else float(self._stream.latency if self._stream else 0)
        )
        out[:, 0] = sound = self.queue.pull(count, now + self.queue.latency)
        if self._tap is not None:
            self._tap(sound, now)


def loudspeaker(
    audio: bool, name: str | None, view: str | None, note: Callable[[str], None], tap: Tap | None = None
) -> Loudspeaker | None:
    """Return what plays a call's sound, by `--no-audio`, `--speaker` and `--view`; None for nothing."""
    if not audio or name == "none" or (name is None and view == "none"):
        return None
    return Loudspeaker(name, note, tap)


def _faded(sound: Sound) -> Sound:
    """Return `sound` with its last millisecond faded out."""
    if len(sound) < _MIN_FADE:
        return np.zeros_like(sound)
    faded = sound.copy()
    faded[-_MIN_FADE:] = (faded[-_MIN_FADE:] * np.linspace(1, 0, _MIN_FADE)).astype(np.int16)
    return faded
