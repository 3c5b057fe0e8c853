"""Sound in the mp4: it is where it belongs beside the pictures, whatever is missing of it."""

import tracemalloc
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from receiver.sinks import Sinks
from receiver.sinks.mp4 import Mp4Sink
from shared.media.opus import RATE, Sound
from shared.media.voice_packet import SAMPLES_PER_FRAME

FRAMES = 90
FLASHES = (20, 50, 71)
PIECE = 960


def picture(number: int) -> npt.NDArray[np.uint8]:
    return np.full((256, 256, 3), 230 if number in FLASHES else 20, np.uint8)


def beeps(first: int, count: int) -> Sound:
    """A beep of a frame's length with each flash."""
    n = np.arange(first, first + count)
    on = np.isin(n // SAMPLES_PER_FRAME, FLASHES)
    return np.asarray(np.where(on, 9000 * np.sin(2 * np.pi * 1000 * n / RATE), 0), np.int16)


def watched(path: Path) -> tuple[list[float], list[float], float]:
    """Return when the flashes and the beeps of a file begin, and how long its sound is; in seconds."""
    with av.open(str(path)) as file:
        flashes = [
            float(frame.time)
            for frame in file.decode(video=0)
            if frame.to_ndarray(format="gray").mean() > 120
        ]
    with av.open(str(path)) as file:
        pieces = [(float(frame.time), frame.to_ndarray().reshape(-1)) for frame in file.decode(audio=0)]
    loud = [(at + np.flatnonzero(np.abs(samples) > 0.03) / RATE) for at, samples in pieces if samples.size]
    moments = np.concatenate(loud)
    begins = [float(t) for i, t in enumerate(moments) if i == 0 or t - moments[i - 1] > 0.1]
    return flashes, begins, pieces[-1][0] + pieces[-1][1].size / RATE


def record(path: Path, sound: bool = True, first_frame: int = 0, missing: range = range(0)) -> Mp4Sink:
    sink = Mp4Sink(path)
    sinks = Sinks([sink])
    sinks.open()
    if sound:
        sinks.expect_sound()
    position = first_frame * SAMPLES_PER_FRAME
    for number in range(first_frame, FRAMES):
        sinks.write(number, picture(number))
        while position < (number + 1) * SAMPLES_PER_FRAME:
            if position // PIECE not in missing:
                sinks.hear(position, beeps(position, PIECE), 0.0)
            position += PIECE
    sinks.close()
    return sink


@pytest.mark.parametrize("first_frame", [0, 13])
def test_beeps_stand_with_their_flashes(tmp_path: Path, first_frame: int) -> None:
    record(tmp_path / "call.mp4", first_frame=first_frame)
    flashes, begins, seconds = watched(tmp_path / "call.mp4")
    assert len(flashes) == len(begins) == len(FLASHES)
    skews = [begin - flash for begin, flash in zip(begins, flashes, strict=True)]
    assert max(map(abs, skews)) < 0.005
    assert flashes == pytest.approx([(number - first_frame) / 30 for number in FLASHES], abs=0.001)
    assert abs(seconds - (FRAMES - first_frame) / 30) < 0.05


def test_what_is_missing_is_silence_and_moves_nothing(tmp_path: Path) -> None:
    record(tmp_path / "call.mp4", missing=range(60, 100))
    flashes, begins, _ = watched(tmp_path / "call.mp4")
    assert len(flashes) == 3
    assert begins == pytest.approx([flashes[0], flashes[2]], abs=0.005)


def test_without_sound_the_file_is_as_it_was(tmp_path: Path) -> None:
    record(tmp_path / "call.mp4", sound=False)
    with av.open(str(tmp_path / "call.mp4")) as file:
        assert not file.streams.audio
        assert sum(1 for _ in file.decode(video=0)) == FRAMES


def test_sound_that_stops_does_not_hold_the_pictures_back(tmp_path: Path) -> None:
    sink = Mp4Sink(tmp_path / "call.mp4")
    sink.open()
    sink.expect_sound()
    for number in range(FRAMES):
        sink.write(number, picture(number))
    with av.open(str(tmp_path / "call.mp4")) as file:
        assert sum(1 for _ in file.decode(video=0)) >= FRAMES - 61
    sink.close()


def test_a_second_call_follows_the_first_with_its_sound(tmp_path: Path) -> None:
    sinks = Sinks([Mp4Sink(tmp_path / "call.mp4")])
    sinks.open()
    for call in range(2):
        if call:
            sinks.new_call()
        sinks.expect_sound()
        sinks.hear(0, beeps(0, PIECE), 0.0)  # before there is a picture: left out
        for number in range(100 * call, 100 * call + 30):
            sinks.write(number, picture(number - 100 * call))
            for half in range(2):
                at = number * SAMPLES_PER_FRAME + half * 800
                sinks.hear(at, beeps(at - 100 * call * SAMPLES_PER_FRAME, 800), 0.0)
    sinks.close()
    flashes, begins, _ = watched(tmp_path / "call.mp4")
    assert [round(flash * 30) for flash in flashes] == [20, 50]
    assert [round(begin * 30) for begin in begins] == [20, 50]


def test_a_timeline_that_leaps_or_falls_back_leaves_a_file_that_goes_on(tmp_path: Path) -> None:
    """Frame numbers run on by two days, then fall behind by a minute: what was seen follows itself."""
    sinks = Sinks([Mp4Sink(tmp_path / "call.mp4")])
    sinks.open()
    sinks.expect_sound()
    beep, silence = beeps(20 * SAMPLES_PER_FRAME, SAMPLES_PER_FRAME), np.zeros(SAMPLES_PER_FRAME, np.int16)
    for start in (0, 5_000_000, 5_000_000 - 1800):
        for number in range(start, start + 60):
            # Sound is handed on a little before its picture: at a leap, as if far ahead.
            heard = number + 2
            sinks.hear(heard * SAMPLES_PER_FRAME, beep if heard == start + 20 else silence, 0.0)
            sinks.write(number, picture(number - start if number == start + 20 else 0))
    sinks.close()
    flashes, begins, seconds = watched(tmp_path / "call.mp4")
    assert [round(flash * 30) for flash in flashes] == [20, 80, 140]
    assert begins == pytest.approx(flashes, abs=0.005)
    assert seconds == pytest.approx(6.0, abs=0.1)


@pytest.mark.slow
def test_long_silence_is_written_in_pieces(tmp_path: Path) -> None:
    sink = Mp4Sink(tmp_path / "call.mp4")
    sink.open()
    sink.expect_sound()
    sink.write(0, picture(0))
    tracemalloc.start()
    sink.write(60 * 30, picture(1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    sink.close()
    assert peak < 2e6
