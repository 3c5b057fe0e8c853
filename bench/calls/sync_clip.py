"""A clip that shows and sounds at once: the drawn portrait turns its head at a stroke, with a beep."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from shared.constants import FPS, SIZE
from shared.keypoints import Pictures
from shared.media.opus import RATE, Sound
from shared.media.voice_packet import SAMPLES_PER_FRAME
from shared.portrait.portrait import Portrait
from shared.portrait.pose import Pose

FIRST, EVERY = 37, 36
"""Turns lie within what schedules of 3-3 and 6-6 ship, not first: a forecast could only guess at them."""
_TURN = 0.16
_TONE_HZ, _BEEP_SECONDS = 1000, 0.08
_MIN_APART_SECONDS = 0.4
_LOUD_SHARE = 0.2
Moments = npt.NDArray[np.float64]


def turns(frames: int) -> list[int]:
    """Return the numbers of the frames in which the head turns."""
    return list(range(FIRST, frames, EVERY))


def write_clip(path: Path, seconds: float) -> int:
    """Write the clip (Matroska: H.264 and PCM); return how often it turns. Raises OSError, av.FFmpegError."""
    frames = round(seconds * FPS)
    portrait = Portrait()
    poses = [portrait.draw(Pose(yaw=side * _TURN, sway=(side * 0.05, 0.0))) for side in (-1, 1)]
    with av.open(str(path), "w", format="matroska") as container:
        video = container.add_stream("libx264", rate=FPS, options={"crf": "12", "preset": "veryfast"})
        video.width = video.height = SIZE
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        moments = turns(frames)
        for number in range(frames):
            side = sum(number >= turn for turn in moments) % 2
            frame = av.VideoFrame.from_ndarray(poses[side], format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(video.encode(frame))
            sound = _beeping(number * SAMPLES_PER_FRAME, SAMPLES_PER_FRAME, moments)
            heard = av.AudioFrame.from_ndarray(sound[None], format="s16", layout="mono")
            heard.sample_rate, heard.pts = RATE, number * SAMPLES_PER_FRAME
            heard.time_base = Fraction(1, RATE)
            container.mux(audio.encode(heard))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return len(moments)


def _beeping(first: int, count: int, moments: list[int]) -> Sound:
    n = np.arange(first, first + count)
    on = np.zeros(count, bool)
    for turn in moments:
        begin = turn * SAMPLES_PER_FRAME
        on |= (n >= begin) & (n < begin + round(_BEEP_SECONDS * RATE))
    return np.asarray(np.where(on, 12_000 * np.sin(2 * np.pi * _TONE_HZ * n / RATE), 0), np.int16)


def seen_turns(path: Path) -> Moments:
    """Return when the head turns in the video of a file, in seconds; a frame's first moment counts."""
    pictures, moments = [], []
    for moment, picture in _pictures(path):
        pictures.append(picture[::8, ::8].astype(np.float32).mean(axis=2))
        moments.append(moment)
    if len(pictures) < FIRST:
        return np.zeros(0)
    # Where each picture stands between the two poses: along the direction in which pictures differ most.
    stack = np.stack(pictures).reshape(len(pictures), -1)
    stack -= stack.mean(axis=0)
    _, _, axes = np.linalg.svd(stack[:: max(len(stack) // 200, 1)], full_matrices=False)
    place = stack @ axes[0]
    middle = (np.percentile(place, 10) + np.percentile(place, 90)) / 2
    crossed = np.flatnonzero(np.diff(place > middle)) + 1
    return _apart(np.asarray([moments[index] for index in crossed]))


def heard_beeps(path: Path) -> Moments:
    """Return when beeps begin in the sound of a file, in seconds."""
    loud: list[Moments] = []
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return np.zeros(0)
        pieces = [(float(frame.time or 0), _plain(frame)) for frame in container.decode(audio=0)]
    loudest = max((float(np.abs(sound).max(initial=0)) for _, sound in pieces), default=0.0)
    for moment, sound in pieces:
        loud.append(moment + np.flatnonzero(np.abs(sound) > _LOUD_SHARE * loudest) / RATE)
    return _apart(np.concatenate(loud)) if loudest else np.zeros(0)


def skews_ms(seen: Moments, heard: Moments) -> Moments:
    """Return for every turn that has a beep within 0.4 s how much later the beep is, in ms."""
    if not len(heard):
        return np.zeros(0)
    nearest = [float(heard[np.argmin(np.abs(heard - moment))] - moment) for moment in seen]
    return np.asarray([1000 * skew for skew in nearest if abs(skew) < _MIN_APART_SECONDS])


def _pictures(path: Path) -> Iterator[tuple[float, Pictures]]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield float(frame.time or 0), np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def _plain(frame: av.AudioFrame) -> Moments:
    samples = frame.to_ndarray().reshape(-1)
    return np.asarray(samples, np.float64) / (32768 if samples.dtype == np.int16 else 1)


def _apart(moments: Moments) -> Moments:
    """Return the first of moments that belong together."""
    if not len(moments):
        return moments
    first = np.concatenate([[True], np.diff(moments) > _MIN_APART_SECONDS])
    return np.asarray(moments[first], np.float64)
