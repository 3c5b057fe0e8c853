"""Whole calls with sound, in virtual time: what is heard, when, and beside which picture."""

import asyncio

import numpy as np
import pytest

from bench.network.memory_link import Impairment
from receiver.audio_playout import PIECE, AudioPlayout
from receiver.playout import Playout
from sender.voice import REFUSED
from shared.constants import FPS
from shared.media.opus import RATE, Sound
from shared.media.voice_packet import SAMPLES_PER_FRAME
from tests.integration.world import ENDED, FakeClock, Source, World, run_virtually

BEEPS = range(15, 200, 24)


class Beeping:
    """A beep of 80 ms at the beginning of some frames, over a faint hum."""

    def __init__(self) -> None:
        self.start: float | None = None

    def begin(self, start: float) -> None:
        self.start = start

    def read(self, first: int, count: int) -> Sound:
        n = np.arange(first, first + count)
        since = np.min([np.where(n >= b * 1600, n - b * 1600, 10**9) for b in BEEPS], axis=0)
        tone = 12000 * np.sin(2 * np.pi * 1000 * n / RATE) * (since < 0.08 * RATE)
        return np.asarray(tone + 200 * np.sin(2 * np.pi * 150 * n / RATE), np.int16)

    def close(self) -> None:
        pass


def beeps_of(world: World) -> list[int]:
    """Return the samples at which beeps begin in what was heard."""
    loud = np.concatenate(
        [first + np.flatnonzero(np.abs(piece) > 2500) for first, piece, _ in world.sink.heard]
    )
    return [int(at) for i, at in enumerate(loud) if i == 0 or at - loud[i - 1] > RATE // 5]


def skews_ms(world: World) -> list[float]:
    """Return for every frame shown how much later the sound of its moment is heard."""
    heard = {first: at for first, _, at in world.sink.heard}
    skews = []
    for number, shown in world.sink.times.items():
        sample = number * SAMPLES_PER_FRAME
        first = sample - sample % PIECE
        if first in heard:
            skews.append(1000 * (heard[first] + (sample - first) / RATE - shown))
    return skews


@pytest.mark.parametrize(
    "impairment",
    [
        Impairment(),
        Impairment(loss=0.05, reorder=0.2, jitter=2, seed=4),
        Impairment(loss=0.2, duplicate=0.1, seed=5),
    ],
)
def test_sound_is_whole_and_heard_with_its_picture(impairment: Impairment) -> None:
    world = World(sound=Beeping(), source=Source(200), impairment=impairment).run()
    assert (world.sender.ended, world.receiver.ended) == (ENDED, ENDED)
    assert world.sink.expects_sound
    firsts = [first for first, _, _ in world.sink.heard]
    assert firsts == list(range(firsts[0], firsts[0] + PIECE * len(firsts), PIECE))
    skews = skews_ms(world)
    assert len(skews) > 150
    assert max(map(abs, skews)) <= 40
    found = beeps_of(world)
    wanted = [number * SAMPLES_PER_FRAME for number in BEEPS if number < 190]
    matched = [min(found, key=lambda at, beep=beep: abs(at - beep)) - beep for beep in wanted]  # type: ignore[misc]
    near = [abs(off) for off in matched if abs(off) < RATE // 10]
    assert len(near) >= len(wanted) - (2 if impairment.loss else 0)
    assert np.median(near) < 0.005 * RATE
    # Where the very packet is lost in which a beep begins, what stands in for it may be silent.
    assert sorted(near)[-2 if impairment.loss else -1] < 0.04 * RATE


def test_what_is_lost_is_counted_and_filled_in() -> None:
    world = World(sound=Beeping(), source=Source(200), impairment=Impairment(loss=0.2, seed=7)).run()
    figures = world.receiving.summary.to_map()
    sent = world.sending.summary.to_map()
    assert sent["audio_packets"] > 90
    assert figures["audio_packets"] + figures["audio_packets_lost"] == pytest.approx(
        sent["audio_packets"], abs=3
    )
    assert figures["audio_packets_lost"] > 8
    assert world.hearing.track.filled + figures["audio_recovered"] >= figures["audio_packets_lost"] - 3
    assert 5 < figures["audio_kbps"] < 20
    assert figures["audio_wire_kbps"] > figures["audio_kbps"] + 3
    assert any("Opus" in line for line in world.receiving.summary.lines())
    assert any("Opus" in line for line in world.sending.summary.lines())


def test_a_receiver_that_wants_no_sound_gets_none_and_the_call_goes_on() -> None:
    world = World(sound=Beeping(), takes_sound=False).run()
    assert (world.sender.ended, world.receiver.ended) == (ENDED, ENDED)
    assert world.sound_notes == [REFUSED]
    assert not world.sink.expects_sound
    assert world.sending.summary.to_map()["audio_packets"] == 0


def test_a_call_without_sound_says_nothing_of_it() -> None:
    world = World().run()
    plain = World(takes_sound=False).run()
    assert not world.sink.heard
    assert not world.sink.expects_sound
    assert world.receiving.summary.to_map()["audio_kbps"] == 0
    assert len(world.receiving.summary.lines()) == 2
    assert world.left.wire_sent == plain.left.wire_sent
    assert world.right.wire_sent == plain.right.wire_sent


def test_a_long_wait_for_pictures_does_not_hold_the_sound_back() -> None:
    world = World(sound=Beeping(), source=Source(120), detect_seconds=0.09).run()
    assert max(map(abs, skews_ms(world))) <= 40


def test_sound_follows_a_timeline_that_slides_and_one_that_jumps() -> None:
    heard: list[tuple[int, float, float]] = []

    async def listen() -> None:
        clock, playout = FakeClock(), Playout(FPS)
        start = clock.now()
        playout.arrived(0, start)
        hearing = AudioPlayout(
            playout, clock, lambda at, _, when: heard.append((at, when, clock.now())), lambda: 0.03
        )
        task = asyncio.create_task(hearing.run(lambda: 0.01))
        for number in range(3, 600, 3):
            # From frame 150 on packets take 0.3 s more, and from frame 400 on 3 s more.
            late = 0.0 if number < 150 else 0.3 if number < 400 else 3.0
            await clock.sleep_until(start + number / FPS + late)
            playout.arrived(number, clock.now())
            for step in range(3):
                await clock.sleep_until(start + (number + step) / FPS + late)
                playout.advance(clock.now())
            moment = playout.due((heard[-1][0] + PIECE) / SAMPLES_PER_FRAME) + 0.01 - clock.now()
            assert moment > -0.3
        task.cancel()

    run_virtually(listen())
    ahead = [when - now for _, when, now in heard]
    assert min(ahead) >= 0.0
    assert max(ahead) < 0.05
    steps = np.diff([first for first, _, _ in heard])
    assert sum(steps != PIECE) <= 3


class CountingClock(FakeClock):
    """Counts how often it is read between two moments at which somebody waits."""

    def __init__(self) -> None:
        self.reads = self.most_reads = 0

    def now(self) -> float:
        self.reads += 1
        self.most_reads = max(self.most_reads, self.reads)
        assert self.reads < 1000, "the loop is held up"
        return super().now()

    async def sleep_until(self, deadline: float) -> None:
        await super().sleep_until(deadline)
        self.reads = 0


@pytest.mark.parametrize("delay", [0.05, 1.0, 2.0])
@pytest.mark.parametrize("lead", [0.0, 0.06])
def test_waiting_for_sound_and_catching_up_never_hold_the_loop_up(delay: float, lead: float) -> None:
    heard: list[tuple[int, float]] = []

    async def listen() -> int:
        clock = CountingClock()
        start = FakeClock().now()
        playout = Playout(FPS, delay)
        playout.arrived(0, start)
        hearing = AudioPlayout(playout, clock, lambda at, _, when: heard.append((at, when)), lambda: lead)
        task = asyncio.create_task(hearing.run(lambda: 0.02))
        await asyncio.sleep(delay + 1.0)
        # The loop itself was held up, by something else.
        asyncio.get_running_loop()._jump.time += 0.2  # type: ignore[attr-defined]
        await asyncio.sleep(0.5)
        task.cancel()
        return clock.most_reads

    assert run_virtually(listen()) <= 4
    assert heard[0] == (0, pytest.approx(1000 + delay + 0.02, abs=0.001))
    assert [first for first, _ in heard] == list(range(0, PIECE * len(heard), PIECE))
    assert len(heard) == pytest.approx((1.7 + lead - 0.02) / 0.02, abs=2)
