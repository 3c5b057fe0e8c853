"""The microphone, on the call's own time."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from shared.clock import monotonic
from shared.errors import RequestError
from shared.media.drift import Drift
from shared.media.echo import LAG_SECONDS, EchoCanceller
from shared.media.opus import RATE, Sound
from shared.media.portaudio import device_named, portaudio

_KEPT = 4 * RATE
# How far a device's word of when it recorded may be from what it said before: beyond that something was lost.
_MAX_SKEW = round(0.03 * RATE)
_MAX_OVERLAP = RATE
# What a device says of its latency, within reason, and by how much it may be late beyond.
_MAX_LATENCY, _LATE = 0.2, 0.02


class Recording:
    """The last four seconds of what was recorded, by sample number of the call.

    A device counts samples by a clock of its own, and says when it recorded them only roughly. Where the two
    part slowly, single samples are left out or repeated, which nobody hears; where they part at once, since
    the device stopped for a while, there is silence between.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ring = np.zeros(_KEPT, np.int16)
        self._end = 0
        self._start: float | None = None
        self._drift, self._given, self._measured = Drift(), 0, 0

    def begin(self, start: float) -> None:
        """Have sample 0 stand at `start` (monotonic seconds). What was recorded before is forgotten."""
        with self._lock:
            self._start = start
            self._ring[:] = 0
            self._end = 0
            self._restart()

    def add(self, sound: Sound, recorded: float) -> None:
        """Take in sound whose first sample was recorded at `recorded` (monotonic seconds), in order."""
        with self._lock:
            if self._start is None or not len(sound):
                return
            first = (recorded - self._start) * RATE
            late = round(first) - self._end
            if abs(late) > _MAX_SKEW or not self._end:
                self._restart()
                # What is there already is left out; a clock that went far back says nothing.
                overlap = -late if -_MAX_OVERLAP < late < 0 else 0
                self._write(sound[overlap:], self._end + max(late, 0))
                return
            self._drift.measure(first - self._given, (self._given - self._measured) / RATE)
            self._measured = self._given
            self._given += len(sound)
            self._write(self._corrected(sound), self._end)

    def read(self, first: int, count: int) -> Sound:
        """Return samples from `first` on; silence where none were recorded, or too long ago."""
        with self._lock:
            numbers = np.arange(first, first + count)
            known = (numbers < self._end) & (numbers >= self._end - _KEPT) & (numbers >= 0)
            return np.where(known, self._ring[numbers % _KEPT], 0).astype(np.int16)

    def _restart(self) -> None:
        """Count the device's samples from here on."""
        self._drift, self._given, self._measured = Drift(), 0, 0

    def _corrected(self, sound: Sound) -> Sound:
        """Return `sound` with one sample more or less where its place has come to be off by one."""
        off = self._given - len(sound) + self._drift.ahead - self._end
        if abs(off) < 1 or len(sound) < 2:
            return sound
        step = 1 if off > 0 else -1
        middle = len(sound) // 2
        return np.insert(sound, middle, sound[middle]) if step > 0 else np.delete(sound, middle)

    def _write(self, sound: Sound, first: int) -> None:
        if first < 0:
            sound, first = sound[-first:], 0
        silence = np.zeros(min(max(first - self._end, 0), _KEPT), np.int16)
        kept = np.concatenate([silence, sound])[-_KEPT:]
        end = first + len(sound)
        self._ring[np.arange(end - len(kept), end) % _KEPT] = kept
        self._end = end


class Microphone:
    """Implements `sender.sound.SoundSource`. `name` is a device's number or part of its name, None any.

    With a `canceller` what is recorded is what that leaves of it; the device's thread does it.
    """

    def __init__(self, name: str | None = None, canceller: EchoCanceller | None = None) -> None:
        sounddevice = portaudio()
        self._recording = Recording()
        self._canceller = canceller
        try:
            self._stream = sounddevice.InputStream(
                samplerate=RATE, channels=1, dtype="int16", device=device_named(name), latency="low",
                callback=self._recorded,
            )  # fmt: skip
            self._stream.start()
        # PortAudioError, or ValueError for a name that fits none or several.
        except (sounddevice.PortAudioError, ValueError) as error:
            which = "no microphone" if name is None else f"no microphone {name!r}"
            raise RequestError(f"There is {which}, or it cannot be used ({_short(error)}).") from error
        latency = min(max(float(self._stream.latency), 0.0), _MAX_LATENCY)
        self.lag = latency + _LATE + (LAG_SECONDS if canceller is not None else 0.0)

    def begin(self, start: float) -> None:
        """Take note that frame 0 was at `start`."""
        self._recording.begin(start)

    def read(self, first: int, count: int) -> Sound:
        """Return samples from `first` on; see `SoundSource.read`."""
        return self._recording.read(first, count)

    def close(self) -> None:
        """Stop recording."""
        self._stream.close()

    def _recorded(self, sound: Sound, count: int, times: Any, _: object) -> None:  # noqa: ANN401
        now = monotonic()
        ago = times.currentTime - times.inputBufferAdcTime
        # Some systems do not say when: then it ended just now.
        recorded = now - ago if 0 < ago < 1 else now - count / RATE
        mono = sound[:, 0].copy()
        if self._canceller is not None:
            mono, recorded = self._canceller.clean(mono, recorded, now)
        self._recording.add(mono, recorded)


def _short(error: Exception) -> str:
    return str(error).split("\n")[0].rstrip(".") or type(error).__name__
