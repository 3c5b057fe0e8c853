"""The echo canceller between two threads: what is bounded, what is in its place, and what is not loaded."""

import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest

from bench.echo.cases import CASES, Case, Sounds, sounds
from bench.echo.devices import Devices, cleaned, recorded
from bench.echo.measure import measured
from bench.echo.signals import NEAR_PITCH, level_db, speech
from shared.media import echo
from shared.media.echo import FRAME, HEADPHONES, LAG_SECONDS, PROCESSING, EchoCanceller, echo_canceller
from shared.media.opus import RATE, Sound

SILENCE = np.zeros(FRAME, np.int16)


def lowered_db(given: Sounds, devices: Devices = Devices(), canceller: EchoCanceller | None = None) -> float:  # noqa: B008
    """Return by how much the microphone's sound is lowered from two seconds on, without gain control."""
    microphone = recorded(given.echo + given.noise, devices.ppm)
    out = cleaned(canceller or EchoCanceller(gain_control=False), given.played, microphone, devices)
    return level_db(microphone[2 * RATE : -RATE // 2]) - level_db(out[2 * RATE : -RATE // 2])


@pytest.mark.slow
def test_an_echo_is_gone_within_two_seconds() -> None:
    assert lowered_db(sounds(Case("a room"), 8, 0)) > 30


@pytest.mark.slow
def test_a_microphone_alone_keeps_its_echo() -> None:
    given = sounds(Case("a room"), 8, 0)
    assert lowered_db(Sounds(np.zeros_like(given.played), given.echo, given.near, given.noise)) < 3


@pytest.mark.slow
def test_a_near_voice_stands_where_it_was() -> None:
    near = speech(6, NEAR_PITCH, 3)
    canceller = EchoCanceller(gain_control=False)
    out = cleaned(canceller, np.zeros_like(near), near, Devices(microphone_block=512)).astype(float)
    size = 2 * len(near)
    together = np.fft.irfft(np.fft.rfft(out, size) * np.conj(np.fft.rfft(near, size)))
    place = int(np.argmax(together))
    assert min(place, size - place) < 0.001 * RATE
    assert level_db(out[RATE:-RATE]) == pytest.approx(level_db(near[RATE:-RATE]), abs=0.5)


@pytest.mark.parametrize("sizes", [(480, 480), (64, 1024), (4800, 480), (1, 7)])
def test_every_sample_comes_back_once_and_in_time_whatever_blocks_devices_have(
    sizes: tuple[int, int],
) -> None:
    canceller = EchoCanceller(gain_control=False)
    played = given = returned = 0
    now, next_begins = 0.0, -PROCESSING / RATE
    while now < 0.3:
        while played <= now * RATE:
            canceller.played(np.zeros(sizes[0], np.int16), played / RATE)
            played += sizes[0]
        now = (given + sizes[1]) / RATE
        clean, begins = canceller.clean(np.zeros(sizes[1], np.int16), given / RATE, now)
        given += sizes[1]
        if len(clean):
            assert begins == pytest.approx(next_begins, abs=1e-6)
            next_begins = begins + len(clean) / RATE
            returned += len(clean)
        assert now - next_begins < LAG_SECONDS
    assert returned % FRAME == 0


def test_sound_is_not_held_back_for_a_loudspeaker_that_has_stopped() -> None:
    canceller = EchoCanceller()
    canceller.played(SILENCE, 0.0)
    for k in range(1, 40):
        clean, _ = canceller.clean(SILENCE, 0.01 * k, 0.01 * k)
    assert len(clean) == FRAME
    assert len(canceller._near) == 0


@pytest.mark.slow
def test_a_loudspeaker_that_stops_and_starts_again_is_found_again() -> None:
    class Stopping(EchoCanceller):
        """Is not told what is played for three seconds: that sound has never been counted."""

        def played(self, sound: Sound, at: float) -> None:
            if not 4 <= at < 7:
                super().played(sound, at)

    given = sounds(Case("a room"), 12, 5)
    microphone = given.echo + given.noise
    out = cleaned(Stopping(gain_control=False), given.played, microphone, Devices())
    assert level_db(microphone[9 * RATE :]) - level_db(out[9 * RATE :]) > 25


@pytest.mark.slow
def test_memory_is_bounded_whatever_either_side_does() -> None:
    canceller = EchoCanceller(gain_control=False)
    canceller.clean(SILENCE, 0.0, 0.0)
    tracemalloc.start()
    for k in range(2000):
        canceller.played(np.zeros(RATE, np.int16), k)
    assert tracemalloc.get_traced_memory()[0] < 4e6
    for k in range(2000):
        canceller.clean(np.zeros(1000, np.int16), k * 0.02, k * 0.02)
    assert tracemalloc.get_traced_memory()[0] < 1e6
    tracemalloc.stop()


def test_two_threads_at_once_lose_nothing() -> None:
    canceller, count = EchoCanceller(gain_control=False), 400
    out: list[Sound] = []

    def play() -> None:
        for k in range(count):
            canceller.played(np.full(FRAME, k, np.int16), 0.01 * k)

    def record() -> None:
        for k in range(count):
            out.append(canceller.clean(SILENCE, 0.01 * k, 0.01 * k)[0])

    threads = [threading.Thread(target=work) for work in (play, record)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    canceller.clean(SILENCE, 0.01 * count, 0.01 * count)
    assert canceller._far_end == count * FRAME
    assert sum(map(len, out)) >= (count - 3) * FRAME


def test_where_it_cannot_be_loaded_that_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pywebrtc_audio", None)
    notes: list[str] = []
    assert echo_canceller(notes.append) is None
    assert notes == [HEADPHONES]
    assert HEADPHONES.endswith("use headphones.")
    monkeypatch.undo()
    assert isinstance(echo_canceller(notes.append), EchoCanceller)
    assert len(notes) == 1


@pytest.mark.slow
def test_calls_that_go_one_way_do_not_load_it() -> None:
    modules = "sender.app, receiver.app, sender.microphone, sender.sounds, receiver.sinks.loudspeaker"
    code = f"import sys, {modules}; sys.exit('pywebrtc_audio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case.far and not case.near], ids=lambda c: c.name)
def test_echoes_are_lowered_whatever_devices_do(case: Case) -> None:
    figures = measured(case, 16, 0)
    assert figures["echo_lowered_db"] > 25
    assert figures["lowered_in_s"] < 2
    assert figures.get("again_in_s", 0.0) < 2


@pytest.mark.slow
@pytest.mark.parametrize("ppm", [0.0, 100.0])
def test_a_near_voice_is_kept_while_both_speak(ppm: float) -> None:
    figures = measured(Case("both", near=1.0, devices=Devices(ppm=ppm)), 16, 0)
    assert abs(figures["near_level_db"]) < 3
    assert figures["near_correlation"] > 0.7
    assert figures["near_si_sdr_db"] > 1


@pytest.mark.slow
def test_noise_is_lowered_and_a_soft_voice_raised() -> None:
    fan, soft = (measured(case, 12, 0) for case in CASES[-2:])
    assert fan["noise_lowered_db"] > 12
    assert abs(fan["voice_raised_db"]) < 1
    assert soft["voice_raised_db"] > 9
    assert soft["voice_raised_db"] < echo._MAX_GAIN_DB + 1
