"""Sound at a device with a clock of its own, in virtual time: what is heard when, and how it is kept so."""

import threading
from collections.abc import Callable

import numpy as np
import pytest

from receiver.sinks.loudspeaker import CUSHION_SECONDS, Loudspeaker, SoundQueue
from receiver.time_stretch import MIN_SAMPLES, lengthened, shortened
from shared.clock import monotonic
from shared.errors import RequestError
from shared.media.opus import RATE, Sound

PIECE, BLOCK = 960, 512
LATENCY = 0.02


def voice(first: int, count: int) -> Sound:
    n = np.arange(first, first + count)
    return np.asarray(sum(2500 / k * np.sin(2 * np.pi * 110 * k * n / RATE) for k in range(1, 8)), np.int16)


def play(
    seconds: float, ppm: float = 0.0, timeline: Callable[[float], float] = lambda t: t
) -> tuple[SoundQueue, Sound]:
    """Push pieces when the timeline wants them, pull blocks at the device's pace; return what was heard.

    `timeline(t)` is when the moment `t` of the call is to be heard.
    """
    queue = SoundQueue()
    queue.latency = LATENCY
    heard: list[Sound] = []
    pushed, pulled = 0, 0
    while (now := pulled * BLOCK / RATE * (1 - ppm * 1e-6)) < seconds:
        while timeline(pushed * PIECE / RATE) <= now + LATENCY + CUSHION_SECONDS:
            queue.push(voice(pushed * PIECE, PIECE), timeline(pushed * PIECE / RATE))
            pushed += 1
        heard.append(queue.pull(BLOCK, now + LATENCY))
        pulled += 1
    return queue, np.concatenate(heard)


def roughness(sound: Sound) -> float:
    return float(np.abs(np.diff(sound.astype(float), 2)).max())


CLEAN = roughness(voice(0, RATE))


@pytest.mark.slow
@pytest.mark.parametrize("ppm", [0, 200, -200, 2000, -2000])
def test_a_device_whose_clock_is_off_stays_in_step_unheard(ppm: float) -> None:
    queue, heard = play(60.0, ppm)
    assert queue.most_skew < 15
    assert queue.jumped == 0
    assert queue.starved == 0
    assert roughness(heard[RATE:]) < 2 * CLEAN
    assert (queue.spliced > 0) is (ppm != 0)


@pytest.mark.parametrize("slide", [0.05, -0.05])
def test_the_timeline_is_followed_as_it_slides(slide: float) -> None:
    def sliding(t: float) -> float:
        return t + slide * min(max(t - 5, 0), 4)  # by 200 ms within 4 s

    queue, heard = play(20.0, 100, sliding)
    assert queue.most_skew < 25
    assert queue.jumped == 0
    assert queue.spliced >= 15
    assert roughness(heard[RATE:]) < 2 * CLEAN


def test_after_a_jump_of_the_timeline_all_is_in_step_again() -> None:
    for jump in (0.5, -0.5):
        queue, _ = play(20.0, 0, lambda t, jump=jump: t + (jump if t > 8 else 0.0))  # type: ignore[misc]
        assert (queue.jumped > 0) is (jump < 0)
        assert queue.most_skew < 85
        assert queue.skews.percentiles().p95 < 15


def test_a_device_without_sound_is_silent_and_nobody_waits() -> None:
    queue = SoundQueue()
    assert not queue.pull(480, 0.0).any()
    queue.push(voice(0, PIECE), 0.03)
    heard = queue.pull(2 * PIECE, 0.01)
    assert not heard[:PIECE].any()
    assert heard[PIECE:].any()
    assert not queue.pull(PIECE, 0.05).any()


def test_splices_keep_the_wave_whole() -> None:
    sound = voice(0, 4 * PIECE)
    period = RATE / 110
    for spliced, sign in ((shortened(sound), -1), (lengthened(sound), 1)):
        change = sign * (len(spliced) - len(sound))
        assert min(abs(change - k * period) for k in (1, 2)) < 6
        assert roughness(spliced) < 1.5 * CLEAN
    short = voice(0, MIN_SAMPLES - 1)
    assert shortened(short) is short
    assert lengthened(short) is short


def test_silence_and_noise_can_be_spliced_too() -> None:
    for sound in (np.zeros(2000, np.int16), np.full(2000, -32768, np.int16)):
        assert len(shortened(sound)) < 2000 < len(lengthened(sound))


def test_a_device_that_is_not_there_is_said_in_a_sentence() -> None:
    notes: list[str] = []
    speaker = Loudspeaker(note=notes.append)
    named = Loudspeaker("no such device 4711", notes.append)
    with pytest.raises(RequestError, match=r"sounddevice|PortAudio|no loudspeaker"):
        named.open()
    speaker.open()
    assert speaker.lead == 0
    assert not notes
    speaker.close()


def test_a_tap_gets_what_is_played_in_order_with_its_time() -> None:
    taken: list[tuple[Sound, float]] = []
    enough = threading.Event()

    def tap(sound: Sound, at: float) -> None:
        taken.append((sound.copy(), at))
        if len(taken) == 12:
            enough.set()

    speaker = Loudspeaker("null", tap=tap)
    before = monotonic()
    speaker.open()
    try:
        for number in range(4):
            speaker.hear(number * PIECE, voice(number * PIECE, PIECE), before + 0.05 + number * PIECE / RATE)
        assert enough.wait(30)
    finally:
        speaker.close()
    # Silence too.
    assert {len(sound) for sound, _ in taken} == {480}
    assert not taken[0][0].any()
    times = [at for _, at in taken]
    assert before <= times[0]
    assert times == sorted(times)
