"""The microphone's door to its device, by a device that is not there: what is recorded, cleaned and said."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sender import microphone
from sender.microphone import Microphone
from sender.sounds import is_microphone, open_sound
from shared.clock import monotonic
from shared.media.echo import FRAME, LAG_SECONDS, PROCESSING, EchoCanceller
from shared.media.opus import RATE, Sound


class Stream:
    """Stands in for a stream of sounddevice: `give` is what its thread does."""

    latency = 0.03

    def __init__(self, *, callback: Any, **_: object) -> None:
        self._callback = callback

    def start(self) -> None:
        pass

    def close(self) -> None:
        pass

    def give(self, sound: Sound, ago: float) -> None:
        times = SimpleNamespace(currentTime=5.0, inputBufferAdcTime=5.0 - ago)
        self._callback(sound[:, None], len(sound), times, None)


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> list[Stream]:
    made: list[Stream] = []

    def stream(**options: Any) -> Stream:
        made.append(Stream(**options))
        return made[-1]

    device = SimpleNamespace(InputStream=stream, PortAudioError=OSError)
    monkeypatch.setattr(microphone, "portaudio", lambda: device)
    return made


def noise(count: int) -> Sound:
    return np.random.default_rng(0).integers(-3000, 3000, count, np.int16)


def test_a_microphone_records_and_says_how_late_it_is(streams: list[Stream]) -> None:
    plain = open_sound("mic", "cam0", loop=False)
    assert 0.03 < plain.lag < 0.06
    plain.begin(monotonic() - 0.02)
    sound = noise(4 * FRAME)
    streams[0].give(sound, 0.02)
    heard = plain.read(0, RATE)
    [first] = np.flatnonzero(heard == sound[0])[:1]
    np.testing.assert_array_equal(heard[first : first + len(sound)], sound)
    plain.close()


def test_with_a_canceller_what_is_recorded_is_cleaned_and_stands_where_it_did(streams: list[Stream]) -> None:
    canceller = EchoCanceller(gain_control=False)
    cleaned = Microphone(None, canceller)
    assert cleaned.lag == pytest.approx(0.05 + LAG_SECONDS)
    cleaned.begin(monotonic() - 1.0)
    # Half a second ago something was recorded: all at once, so that no time passes.
    sound = noise(50 * FRAME)
    streams[0].give(sound, 0.5)
    heard = cleaned.read(0, 2 * RATE).astype(float)
    size = 1 << 18
    together = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(sound.astype(float), size)))
    assert np.argmax(together) == pytest.approx(0.5 * RATE, abs=0.05 * RATE)
    assert not heard[: RATE // 2 - PROCESSING - RATE // 20].any()
    cleaned.close()


@pytest.mark.parametrize(
    ("spec", "source", "expected"),
    [("auto", "cam0", True), ("auto", "demo", False), ("mic", "demo", True), ("file", "a.mp4", False)],
)
def test_a_microphone_is_told_from_what_hears_no_echo(spec: str, source: str, expected: bool) -> None:
    assert is_microphone(spec, source) is expected
