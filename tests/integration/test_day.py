"""A call of 25 hours in virtual time. Both machines sleep through what is the same for hours."""

import asyncio
from pathlib import Path

import av
import numpy as np
import pytest

from receiver.live import Snapshot
from sender.camera import CameraPausedError
from shared.constants import FPS
from shared.keypoints import Pictures
from shared.media.opus import RATE
from shared.protocol.events import Ended
from tests.integration.test_sound_logic import skews_ms
from tests.integration.world import FakeClock, FileSink, Hum, Source, VirtualLoop, World

pytestmark = pytest.mark.slow

HOUR = 3600.0
AWAKE = 3.0
FRAME_WRAP = 2**16 / FPS
SAMPLE_WRAP = 2**32 / RATE
MOMENTS = (
    2.0, FRAME_WRAP - 2, HOUR, 1.25 * HOUR, 1.5 * HOUR, 5 * HOUR - 2, 8 * HOUR, 9 * HOUR, 10 * HOUR,
    20 * FRAME_WRAP - 2, SAMPLE_WRAP - 2, 25 * HOUR,
)  # fmt: skip
"""Seconds since frame 0 at which the machines wake."""


class Camera(Source):
    """Its pictures carry their numbers modulo 250; between two moments it gives none."""

    live, scene = True, 0
    paused = (1.0 * HOUR + 1, 1.5 * HOUR + 1)

    def frame(self, n: int) -> Pictures | None:
        super().frame(n)
        if self.paused[0] <= n / FPS < self.paused[1]:
            raise CameraPausedError
        return np.full((256, 256, 3), n % 250, np.uint8)


def wrapping_after(hours: float) -> FakeClock:
    """Return a clock whose wall time, in ms modulo 2**32, runs over so long after the test has begun."""
    clock = FakeClock()
    clock.offset_ms = 2**32 - 1_000_000 - round(hours * HOUR * 1000)
    return clock


class Day:
    """Wakes both machines for some seconds at each of the moments that matter."""

    def __init__(self) -> None:
        self.figures: dict[float, Snapshot] = {}

    async def pass_by(self, world: World) -> None:
        await asyncio.sleep(1.0)
        for moment in MOMENTS:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            loop.leap(max(0.0, world.sending._streamer._start + moment - loop.time()))
            self._set_clocks(moment, world)
            await asyncio.sleep(AWAKE)
            self.figures[moment] = world.receiving.live()
        world.sending.end("Good night.")

    def _set_clocks(self, moment: float, world: World) -> None:
        if moment == 8 * HOUR:
            world.receiver_clock.offset_ms += 7_200_000
        elif moment == 9 * HOUR:
            world.receiver_clock.offset_ms -= 7_200_000
        elif moment == 10 * HOUR:
            # The sender said at the beginning when frame 0 was, and its clock counts on from there.
            world.sender_clock.offset_ms -= 9_000_000


def test_a_call_of_a_day(tmp_path: Path) -> None:
    day, sink = Day(), FileSink(tmp_path / "day.mp4")
    world = World(
        source=Camera(), sink=sink, sound=Hum(), disturb=day.pass_by,
        sender_clock=wrapping_after(5.0), receiver_clock=wrapping_after(5.0), limit=30 * HOUR,
    ).run()  # fmt: skip
    sink.file.close()
    assert world.sender.ended == world.receiver.ended == Ended("Good night.", ok=True)
    values, sent = world.receiving.summary.to_map(), world.sending.summary.to_map()
    assert (values["bad_packets"], values["audio_packets_bad"], values["clocks_apart_s"] > 0) == (0, 0, True)
    assert (sent["held_back_packets"], sent["rate_halved"]) == (0, 0)
    assert values["playout_delay_ms"] == pytest.approx(50, abs=2)
    for moment, figures in day.figures.items():
        paused = moment in (HOUR, 1.25 * HOUR)
        assert figures["state"] == ("stalled" if paused else "live"), moment
        assert figures["fps_shown"] == pytest.approx(30, abs=0.6)
        assert figures["loss_percent"] == 0
        assert figures["frame"] == pytest.approx(30 * (moment + AWAKE), abs=8)
        if not paused and moment != 1.5 * HOUR:
            assert ("oooooo" + "ffffff") * 4 in str(figures["strip"]).replace("i", "f")
        if moment == 8 * HOUR:
            assert (figures["latency_ms"], round(float(figures["clocks_apart_s"] or 0))) == (None, 7200)
        else:
            # What was under way when they fell asleep, a wrap before, seems to come from the future.
            most = 40 if moment == FRAME_WRAP - 2 else 5
            assert figures["latency_ms"] == pytest.approx(125, abs=most)
    assert_shown(sink)
    assert max(map(abs, skews_ms(world))) <= 40
    # The file has what was seen, and goes on where the machines woke.
    with av.open(str(tmp_path / "day.mp4")) as file:
        assert (file.duration or 0) / 1e6 == pytest.approx(len(sink.numbers) / FPS, abs=1.5)


def assert_shown(sink: FileSink) -> None:
    """Whenever the machines were awake, each frame was shown once, in order, and its own picture."""
    steps = np.diff(sink.numbers)
    assert steps.min() == 1
    assert np.count_nonzero(steps > 1) == len(MOMENTS)
    observed = [(n, level) for n, level in zip(sink.numbers, sink.levels, strict=True) if n % 12 in (3, 4, 5)]
    right = [n for n, level in observed if level == n % 250]
    assert len(right) / len(observed) > 0.75
