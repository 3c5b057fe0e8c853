"""Sound of files, of the demo and of a microphone, by the call's sample numbers."""

import logging
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from sender.__main__ import main
from sender.capture import FileSource
from sender.demo_sound import DemoSound
from sender.microphone import Recording
from sender.sound import FileSound
from sender.sounds import open_sound
from shared.constants import FPS
from shared.errors import RequestError
from shared.media.opus import RATE, SAMPLES, OpusEncoder, Sound
from shared.media.voice_packet import SAMPLES_PER_FRAME


def write_clip(
    path: Path,
    frames: int = 30,
    beeps: tuple[int, ...] = (10,),
    *,
    rate: int = RATE,
    layout: str = "mono",
    sound_frames: int | None = None,
    codec: str = "pcm_s16le",
) -> Path:
    """Write a clip whose picture flashes, and whose sound beeps, for the length of some frames."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS, options={"crf": "20", "preset": "ultrafast"})
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        audio = container.add_stream(codec, rate=rate, layout=layout) if sound_frames != 0 else None
        for number in range(frames):
            level = 230 if number in beeps else 20
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), level, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            n = np.arange((frames if sound_frames is None else sound_frames) * rate // FPS)
            on = np.isin(n * FPS // rate, beeps)
            tone = np.where(on, 12000 * np.sin(2 * np.pi * 1000 * n / rate), 0).astype(np.int16)
            channels = 2 if layout == "stereo" else 1
            piece = av.AudioFrame.from_ndarray(np.repeat(tone, channels)[None], format="s16", layout=layout)
            piece.sample_rate, piece.pts, piece.time_base = rate, 0, Fraction(1, rate)
            fifo = av.AudioFifo()
            fifo.write(piece)
            size = 1024 if codec == "aac" else 4096
            resampler = av.AudioResampler(format=audio.format.name, layout=layout, rate=rate)
            while (part := fifo.read(size, partial=True)) is not None:
                for converted in resampler.resample(part):
                    container.mux(audio.encode(converted))
            container.mux(audio.encode(None))
    return path


def begins(sound: Sound) -> list[int]:
    loud = np.flatnonzero(np.abs(sound) > 3000)
    return [int(at) for i, at in enumerate(loud) if i == 0 or at - loud[i - 1] > RATE // 20]


@pytest.mark.parametrize(
    ("name", "rate", "layout", "codec"),
    [
        ("clip.mkv", 48000, "mono", "pcm_s16le"),
        ("clip.mkv", 44100, "stereo", "pcm_s16le"),
        ("clip.mp4", 48000, "mono", "aac"),
        ("clip.mp4", 44100, "stereo", "aac"),
    ],
)
def test_a_files_sound_stands_where_its_pictures_do(
    tmp_path: Path, name: str, rate: int, layout: str, codec: str
) -> None:
    clip = write_clip(tmp_path / name, 30, (10, 20), rate=rate, layout=layout, codec=codec)
    sound = FileSound(clip)
    heard = np.concatenate([sound.read(first, SAMPLES) for first in range(0, RATE, SAMPLES)])
    sound.close()
    wanted = [10 * SAMPLES_PER_FRAME, 20 * SAMPLES_PER_FRAME]
    assert begins(heard) == pytest.approx(wanted, abs=0.005 * RATE)


@pytest.mark.parametrize("sound_frames", [30, 21, 44])
def test_sound_loops_as_the_pictures_do_however_long_it_is(tmp_path: Path, sound_frames: int) -> None:
    clip = write_clip(tmp_path / "clip.mkv", 30, (10,), sound_frames=sound_frames)
    pictures, sound = FileSource(clip, loop=True), FileSound(clip, loop=True)
    flashes = [n for n in range(300) if (picture := pictures.frame(n)) is not None and picture.mean() > 120]
    heard = np.concatenate([sound.read(first, 4800) for first in range(0, 10 * RATE, 4800)])
    pictures.close()
    sound.close()
    assert len(flashes) == 10
    assert begins(heard) == pytest.approx([n * SAMPLES_PER_FRAME for n in flashes], abs=0.003 * RATE)


def test_sound_may_be_asked_for_ahead_and_past_its_end(tmp_path: Path) -> None:
    sound = FileSound(write_clip(tmp_path / "clip.mkv", 30, (20,)))
    assert begins(sound.read(19 * SAMPLES_PER_FRAME, 4800)) == pytest.approx([1600], abs=100)
    assert not sound.read(5 * RATE, SAMPLES).any()
    assert not sound.read(50 * RATE, SAMPLES).any()
    sound.close()
    sound.close()


def test_a_damaged_file_is_silent_from_there_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clip = write_clip(tmp_path / "clip.mkv", 60, (10,))
    data = bytearray(clip.read_bytes())
    data[len(data) * 3 // 4 :] = b""
    clip.write_bytes(bytes(data))
    with caplog.at_level(logging.WARNING):
        sound = FileSound(clip)
        assert sound.read(0, 2 * RATE).shape == (2 * RATE,)
    sound.close()


def test_the_demo_speaks_when_its_mouth_moves() -> None:
    sound = open_sound("auto", "demo", loop=False)
    assert isinstance(sound, DemoSound)
    sound.begin(5.0)
    speaking, silent = sound.read(2 * RATE, RATE // 2), sound.read(3 * RATE, RATE // 2)
    assert np.abs(speaking.astype(float)).mean() > 10 * np.abs(silent.astype(float)).mean()
    np.testing.assert_array_equal(sound.read(8 * RATE, 100), sound.read(2 * RATE, 100))
    assert 40 < len(OpusEncoder(18).encode(sound.read(2 * RATE, SAMPLES))) < 250
    sound.close()


def test_what_has_no_sound_is_said_in_a_sentence(tmp_path: Path) -> None:
    silent = write_clip(tmp_path / "silent.mkv", sound_frames=0)
    with pytest.raises(RequestError, match=r"has no sound; leave out --audio"):
        FileSound(silent)
    with pytest.raises(RequestError, match="camera has no sound of its own"):
        open_sound("file", "cam0", loop=False)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--source", "demo", "--audio", "--anonymous"], "voice tells who is speaking"),
        (["--source", "demo", "--audio", "--audio-kbps", "3"], "not 3; give another --audio-kbps"),
        (
            ["--source", "demo", "--audio", "no such microphone 4711"],
            "--audio|sounddevice|PortAudio|no microphone",
        ),
    ],
)
def test_wrong_wishes_end_with_a_sentence_before_anyone_is_called(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert any(part in said for part in sentence.split("|"))
    assert "internal" not in said


# The microphone's samples on the call's time.


def tone(first: int, count: int) -> Sound:
    return np.asarray(8000 * np.sin(2 * np.pi * 200 * np.arange(first, first + count) / RATE), np.int16)


def test_recordings_stand_where_the_device_says() -> None:
    recording = Recording()
    recording.add(tone(0, 480), 3.0)  # before the call
    recording.begin(10.0)
    for k in range(100):
        recording.add(tone(480 * k, 480), 10.5 + k * 0.01)
    assert not recording.read(0, RATE // 2 - 10).any()
    np.testing.assert_array_equal(recording.read(RATE // 2, RATE), tone(0, RATE))
    assert not recording.read(2 * RATE, 100).any()


@pytest.mark.parametrize("ppm", [300, -300])
def test_a_device_that_counts_too_fast_or_too_slow_stays_on_time(ppm: float) -> None:
    recording, random = Recording(), np.random.default_rng(0)
    recording.begin(0.0)
    for k in range(6000):  # a minute
        recorded = k * 0.01 * (1 + ppm * 1e-6)
        recording.add(tone(480 * k, 480), recorded + random.uniform(-0.002, 0.002))
    end = 60 * (1 + ppm * 1e-6) * RATE
    assert abs(recording._end - end) < 0.005 * RATE
    last = recording.read(recording._end - 4800, 4800).astype(float)
    assert np.abs(np.diff(last, 2)).max() < 3 * np.abs(np.diff(tone(0, 4800).astype(float), 2)).max() + 400


def test_a_device_that_stood_still_leaves_silence() -> None:
    recording = Recording()
    recording.begin(0.0)
    for k in range(20):
        recording.add(tone(0, 480), k * 0.01 + (0.5 if k >= 10 else 0.0))
    assert not recording.read(4800 + 200, RATE // 2 - 400).any()
    assert recording.read(RATE // 2 + 4800, 480).any()
    recording.add(tone(0, 480), 100.0)
    assert recording.read(100 * RATE, 480).any()
    assert not recording.read(0, 480).any()
    recording.add(tone(0, 480), 1.0)  # its clock went back: it goes on where it was
    assert recording._end == 100 * RATE + 2 * 480
    recording.add(tone(0, 480), 100.02 - 0.1)  # this much is there already
    assert recording._end == 100 * RATE + 2 * 480
