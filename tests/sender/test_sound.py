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


@pytest.mark.slow
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


def heard(path: Path, seconds: float) -> Sound:
    sound = FileSound(path)
    count = round(seconds * RATE / SAMPLES)
    whole = np.concatenate([sound.read(n * SAMPLES, SAMPLES) for n in range(count)])
    sound.close()
    return whole


def test_rate_and_channels_may_change_midway(tmp_path: Path) -> None:
    forms = ((48000, "mono", 10), (44100, "stereo", 20), (32000, "mono", 15))
    parts = [
        write_clip(tmp_path / f"{rate}.ts", 30, (beep,), rate=rate, layout=layout, codec="aac").read_bytes()
        for rate, layout, beep in forms
    ]
    (tmp_path / "a.ts").write_bytes(b"".join(parts))
    source = FileSource(tmp_path / "a.ts")
    flashes = [n for n in range(90) if (picture := source.frame(n)) is not None and picture.mean() > 120]
    source.close()
    assert flashes == [10, 50, 75]
    wanted = [n * SAMPLES_PER_FRAME for n in flashes]
    assert begins(heard(tmp_path / "a.ts", 3)) == pytest.approx(wanted, abs=0.04 * RATE)


@pytest.mark.parametrize(("channels", "layout"), [(6, "5.1"), (8, "7.1"), (4, "quad")])
def test_more_channels_are_brought_together(tmp_path: Path, channels: int, layout: str) -> None:
    """Speech stands in the middle, which is the third channel, or left and right."""
    path, beep = tmp_path / "a.mkv", 10
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS)
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=RATE, layout=layout)
        container.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))))
        container.mux(video.encode(None))
        samples = np.zeros((RATE, channels), np.int16)
        start = beep * SAMPLES_PER_FRAME
        spoken = slice(2, 3) if channels > 4 else slice(0, 2)
        samples[start : start + 4800, spoken] = tone(0, 4800)[:, None]
        piece = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "s16", layout)
        piece.sample_rate, piece.pts, piece.time_base = RATE, 0, Fraction(1, RATE)
        container.mux(audio.encode(piece))
        container.mux(audio.encode(None))
    sound = FileSound(path)
    loud = np.abs(sound.read(0, RATE).astype(int)) > 1000
    sound.close()
    assert np.flatnonzero(loud)[0] == pytest.approx(start, abs=300)
    assert np.flatnonzero(loud)[-1] == pytest.approx(start + 4800, abs=300)


@pytest.mark.parametrize("frames", [1, 12, 47])
def test_sound_may_end_early_or_late(tmp_path: Path, frames: int) -> None:
    clip = write_clip(tmp_path / "a.mkv", 30, (0, 11, 40), sound_frames=frames)
    wanted = [n * SAMPLES_PER_FRAME for n in (0, 11, 40) if n < frames]
    assert begins(heard(clip, 2)) == pytest.approx(wanted, abs=0.01 * RATE)


@pytest.mark.parametrize("shift", [-0.3, 0.5])
def test_sound_may_begin_before_or_after_the_pictures(tmp_path: Path, shift: float) -> None:
    clip = write_clip(tmp_path / "a.mkv", 30, (15,))
    with av.open(str(clip)) as whole, av.open(str(tmp_path / "b.mkv"), "w") as late:
        to = {stream: late.add_stream_from_template(stream) for stream in whole.streams}
        for packet in whole.demux():
            if packet.dts is not None and packet.pts is not None and packet.time_base is not None:
                moved = 1 + (shift if packet.stream.type == "audio" else 0)
                packet.pts += round(moved / packet.time_base)
                packet.dts += round(moved / packet.time_base)
                packet.stream = to[packet.stream]
                late.mux(packet)
    wanted = 15 * SAMPLES_PER_FRAME + shift * RATE
    assert begins(heard(tmp_path / "b.mkv", 2)) == pytest.approx([wanted], abs=0.01 * RATE)


@pytest.mark.slow
def test_pictures_and_sound_are_in_step_after_ten_minutes(tmp_path: Path) -> None:
    """At 29.97 frames per second; the first minutes of pictures are one frame that stands."""
    rate, last, path = Fraction(30000, 1001), 17982, tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate, options={"bf": "0"})
        audio = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        video.width = video.height = 64
        video.pix_fmt, video.codec_context.time_base = "yuv420p", 1 / rate
        for number in (0, 1, *range(last - 5, last + 10)):
            picture = np.full((64, 64, 3), 230 if number == last else 20, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture)
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        n = np.arange(601 * 8000)
        beep = np.abs(n / 8000 - last / float(rate) - 0.05) < 0.05
        samples = np.where(beep, 12000 * np.sin(2 * np.pi * 1000 * n / 8000), 0).astype(np.int16)
        for first in range(0, len(samples), 4000):
            piece = av.AudioFrame.from_ndarray(samples[None, first : first + 4000], "s16", "mono")
            piece.sample_rate, piece.pts, piece.time_base = 8000, first, Fraction(1, 8000)
            container.mux(audio.encode(piece))
        container.mux(audio.encode(None))
    source, sound = FileSource(path), FileSound(path)
    flash = next(n for n in range(17990, 18020) if (p := source.frame(n)) is not None and p.mean() > 120)
    ahead = begins(sound.read(599 * RATE, 2 * RATE))[0] + 599 * RATE - flash * SAMPLES_PER_FRAME
    source.close()
    sound.close()
    assert abs(ahead) <= 0.04 * RATE


def test_damaged_sound_is_silent_and_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clip = write_clip(tmp_path / "a.mp4", 60, (10, 50), codec="aac")
    with av.open(str(clip)) as container:
        places = [(p.pos, p.size, p.pts * p.time_base) for p in container.demux(audio=0) if p.size]
    data = bytearray(clip.read_bytes())
    for start, size, at in places:
        if 0.8 < at < 1.0:
            data[start : start + size] = bytes([0xFF]) * size
    clip.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        wanted = [10 * SAMPLES_PER_FRAME, 50 * SAMPLES_PER_FRAME]
        assert begins(heard(clip, 2)) == pytest.approx(wanted, abs=0.02 * RATE)
    assert "damaged pieces of its sound skipped" in caplog.text


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--source", "demo", "--audio", "--anonymous"], "voice gives away who is speaking"),
        (["--source", "demo", "--audio", "--audio-kbps", "3"], "not 3; change --audio-kbps"),
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


def test_times_that_are_only_rough_cost_hardly_a_sample() -> None:
    recording, random = Recording(), np.random.default_rng(0)
    recording.begin(0.0)
    given = np.zeros(RATE * 30, np.int16)
    given[::480] = 1  # one in each block
    for k in range(3000):
        recording.add(given[480 * k : 480 * (k + 1)], k * 0.01 + random.uniform(-0.002, 0.002))
    last = recording.read(recording._end - 3 * RATE, 3 * RATE)
    apart = np.diff(np.flatnonzero(last))
    # No block has lost or gained more than one, and nearly all are as they were.
    assert set(apart) <= {479, 480, 481}
    assert np.count_nonzero(apart != 480) <= 6
