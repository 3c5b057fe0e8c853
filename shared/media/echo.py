"""Acoustic echo cancellation: what the loudspeaker plays is taken out of what the microphone records.

WebRTC's audio processing (package pywebrtc-audio) does it, with noise suppression and gain control. It wants
both sounds side by side, sample by sample; two devices give them in blocks of their own, by clocks of their
own, at times that are only roughly known. To put them side by side is what is done here.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from shared.errors import RequestError
from shared.media.drift import Drift
from shared.media.opus import RATE, Sound

FRAME = 480
"""Samples that are processed at once: 10 ms."""
PROCESSING = 764
"""Samples by which processed sound is late: filter banks, and the window of the noise suppressor."""
HEADPHONES = "No echo canceller is installed (pip install 'keycast[audio]'); use headphones."
LAG_SECONDS = (3 * FRAME + PROCESSING) / RATE
"""From when sound is given until it is returned, at most, while both devices run."""
# What is heard was handed over a device's buffer earlier, and is recorded another one later. So far less is
# kept back here than that, and still the callbacks of one device may be late.
_CUSHION = 0.008 * RATE
_MAX_WAITING = 2 * FRAME
_STOPPED_SECONDS = 0.1
_MAX_BLOCKS, _MAX_IN_BLOCK = 128, RATE // 4
_KEPT = RATE
_MAX_SLIP = FRAME / 20
_NOISE_LEVEL = 2
"""Of 0 to 3: steady noise is lowered by 18 dB."""
# It begins with that: what is left of an echo before the near side has said anything is louder by as much.
_MAX_GAIN_DB = 12.0


class EchoCanceller:
    """Cleans a microphone's sound of a loudspeaker's. Raises RequestError where the package is missing.

    `played` is for the loudspeaker's thread and `clean` for the microphone's; neither waits for the other.
    Whatever one of them does, no more than a second of sound is kept for the other's.
    """

    def __init__(self, *, gain_control: bool = True) -> None:
        self._process = _process(gain_control)
        # Appending to a deque and taking from it is safe between two threads; what is too much falls out.
        self._handed: deque[tuple[int, Sound, float]] = deque(maxlen=_MAX_BLOCKS)
        self._count = 0
        self._far, self._far_end, self._far_block = np.zeros(0, np.int16), 0, (0, -math.inf)
        self._near, self._near_end = np.zeros(0, np.int16), 0
        self._drift, self._measured, self._position = Drift(), 0.0, math.nan

    @property
    def drift_ppm(self) -> float:
        """How much faster the loudspeaker counts than the microphone, as far as is known."""
        return 1e6 * self._drift.rate / RATE

    def played(self, sound: Sound, at: float) -> None:
        """Take what the loudspeaker's device was given at `at` (monotonic seconds), silence included."""
        first, self._count = self._count, self._count + len(sound)
        kept = sound[-_MAX_IN_BLOCK:]
        self._handed.append((first + len(sound) - len(kept), kept.copy(), at))

    def clean(self, sound: Sound, recorded: float, at: float) -> tuple[Sound, float]:
        """Return what is clean by now, a whole number of frames, and when its first sample was recorded.

        `sound` follows what was given before, was recorded from `recorded` on and given by the device at `at`
        (monotonic seconds).
        """
        self._take()
        self._near = np.concatenate([self._near, sound])
        self._near_end += len(sound)
        self._align(at)
        begins = recorded + (len(sound) - len(self._near) - PROCESSING) / RATE
        return self._processed(at), begins

    def _take(self) -> None:
        """Take in what was handed over by the loudspeaker's thread."""
        while self._handed:
            first, sound, at = self._handed.popleft()
            if first != self._far_end:
                self._far = np.zeros(0, np.int16)
            self._far = np.concatenate([self._far, sound])[-_KEPT:]
            self._far_end, self._far_block = first + len(sound), (first, at)

    def _align(self, at: float) -> None:
        """Measure how far the loudspeaker's count is ahead of the microphone's at `at`."""
        if not self._playing(at):
            return
        first, handed = self._far_block
        self._drift.measure(first + (at - handed) * RATE - self._near_end, max(at - self._measured, 0.0))
        self._measured = at

    def _processed(self, at: float) -> Sound:
        done: list[Sound] = []
        while len(self._near) >= FRAME:
            end = self._near_end - len(self._near) + FRAME
            to = end + self._drift.ahead - self._drift.rate * (self._near_end - end) / RATE - _CUSHION
            if self._playing(at) and to > self._far_end and len(self._near) < FRAME + _MAX_WAITING:
                break
            near, self._near = self._near[:FRAME], self._near[FRAME:]
            done.append(self._process(near, self._far_until(to)))
        return np.concatenate(done) if done else np.zeros(0, np.int16)

    def _far_until(self, to: float) -> Sound:
        """Return a frame of what was played, at the microphone's pace, that ends at its sample `to`."""
        if math.isnan(to):
            return np.zeros(FRAME, np.int16)
        begins = self._position
        if not abs(to - begins - FRAME) < _MAX_SLIP:
            begins = to - FRAME
        self._position = to
        numbers = np.arange(self._far_end - len(self._far), self._far_end)
        if not len(numbers):
            return np.zeros(FRAME, np.int16)
        places: npt.NDArray[np.float64] = np.linspace(begins, to, FRAME, endpoint=False)
        return np.interp(places, numbers, self._far, left=0, right=0).astype(np.int16)

    def _playing(self, at: float) -> bool:
        return at - self._far_block[1] < _STOPPED_SECONDS


def echo_canceller(note: Callable[[str], None]) -> EchoCanceller | None:
    """Return an echo canceller, or None where it cannot be loaded, as `note` is told in a sentence."""
    try:
        return EchoCanceller()
    except RequestError as error:
        note(str(error))
        return None


def _process(gain_control: bool) -> Callable[[Sound, Sound], Sound]:
    """Return what takes a near and a far frame and returns the near one cleaned."""
    try:
        import pywebrtc_audio
    except (ImportError, OSError) as error:
        raise RequestError(HEADPHONES) from error
    # One by one: in the package's AudioProcessor 0.2 noise is lowered by 6 dB, whatever level is asked for.
    canceller = pywebrtc_audio.EchoCanceller(RATE)
    suppressor = pywebrtc_audio.NoiseSuppressor(RATE, level=_NOISE_LEVEL)
    gain = pywebrtc_audio.GainController(RATE, max_gain_db=_MAX_GAIN_DB) if gain_control else None

    def process(near: Sound, far: Sound) -> Sound:
        clean: Sound = suppressor.process(canceller.process(near, far))
        if gain is not None:
            clean = gain.process(clean)
        return clean

    return process
