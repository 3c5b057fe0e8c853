"""Whole calls with sound, in virtual time: what is heard, when, and beside which picture."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from unittest.mock import Mock

import numpy as np
import pytest

from bench.network.memory_link import Impairment
from receiver.audio_playout import PIECE, AudioPlayout
from receiver.playout import Playout
from sender.voice import REFUSED, Voice
from shared.codec.keypoint_codec import Codec, CodedCodec
from shared.constants import FPS, MESSAGE_OVERHEAD
from shared.media.opus import RATE, OpusEncoder, Sound
from shared.media.voice_packet import MAX_LOAD, SAMPLES_PER_FRAME
from shared.protocol.messages import Hello
from shared.protocol.receiver_session import ReceiverSession
from tests.integration.world import (
    ENDED,
    TABLES,
    TERMS,
    FakeClock,
    Source,
    VirtualExecutor,
    World,
    run_virtually,
)

BEEPS = range(15, 200, 24)


class Beeping:
    """A beep of 80 ms at the beginning of some frames, over a faint hum."""

    lag = 0.0

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


@pytest.mark.slow
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


@pytest.mark.slow
def test_what_is_lost_is_counted_and_filled_in() -> None:
    world = World(sound=Beeping(), source=Source(200), impairment=Impairment(loss=0.2, seed=7)).run()
    figures = world.receiving.summary.to_map()
    sent = world.sending.summary.to_map()
    assert sent["audio_packets"] > 90
    assert figures["audio_packets"] + figures["audio_packets_lost"] == pytest.approx(
        sent["audio_packets"], abs=3
    )
    assert figures["audio_packets_lost"] > 8
    filled = world.receiving.summary.tally.voice.filled + figures["audio_recovered"]
    assert filled >= figures["audio_packets_lost"] - 3
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


class Talking(Beeping):
    """A voice, as Opus takes it, for two seconds, then silence."""

    def read(self, first: int, count: int) -> Sound:
        n = np.arange(first, first + count)
        voice = sum(3000 / k * np.sin(2 * np.pi * 140 * k * n / RATE) for k in range(1, 9))
        return np.asarray(voice * (1 + 0.5 * np.sin(2 * np.pi * 4 * n / RATE)) * (n < 2 * RATE), np.int16)


CODED: dict[str, Codec] = {"coded": CodedCodec(TABLES)}
CODED_TERMS = replace(TERMS, codec="coded", tables=TABLES.hash, observe=3, skip=3)


def talking() -> tuple[World, list[int]]:
    """Return a call with sound, and the first frames of packets that left alone."""
    alone: list[int] = []
    world = World(
        sound=Talking(), source=Source(200), codecs=CODED,
        sender_terms=CODED_TERMS, receiver_terms=CODED_TERMS, detect_seconds=0.002, media=False,
        spoil=lambda _, data: alone.append(int.from_bytes(data[1:3], "little")),
    ).run()  # fmt: skip
    assert (world.sender.ended, world.receiver.ended) == (ENDED, ENDED)
    return world, alone


@pytest.mark.slow
def test_keypoints_travel_in_sound_packets_and_alone_in_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    world, alone = talking()
    figures, sent = world.receiving.summary.to_map(), world.sending.summary.to_map()
    assert figures["packets"] == sent["packets"]
    assert figures["bad_packets"] == figures["audio_packets_bad"] == 0
    # As speech begins, the timeline does not know yet that some will wait for a little longer.
    assert figures["late_frames"] <= 2
    # Sound begins with the call, and tells with its third packet that it goes on.
    assert [number for number in alone if 6 < number < 54] == []
    assert [number for number in alone if number > 70] == list(range(72, 200, 6))
    assert max(map(abs, skews_ms(world))) <= 40
    assert figures["wire_received_by_cause"] == sent["wire_sent_by_cause"]

    monkeypatch.setattr(Voice, "carry", lambda *_: False)
    monkeypatch.setattr(Voice, "leaves", None)
    plain, all_alone = talking()
    assert len(all_alone) == 34
    # As much is seen, as soon; each of ten blocks cost a message of its own.
    before = plain.receiving.summary.to_map()
    assert abs(world.kinds.count("o") - plain.kinds.count("o")) <= 2
    for name in ("latency_p50_ms", "latency_p95_ms"):
        assert figures[name] <= before[name] + 3
    # These keypoints are nearly all in a message's first frame, of which some blocks have two now; how much
    # that takes, tables say.
    assert plain.left.wire_sent - world.left.wire_sent > 2 * MESSAGE_OVERHEAD


@pytest.mark.slow
def test_a_receiver_that_does_not_know_of_it_gets_keypoints_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = ReceiverSession._hello

    def as_before(session: ReceiverSession, secret: bytes) -> Hello:
        return replace(answer(session, secret), laden=False)

    monkeypatch.setattr(ReceiverSession, "_hello", as_before)
    _, alone = talking()
    assert alone == list(range(0, 200, 6))


def test_what_was_to_travel_along_is_not_lost_with_the_connection_nor_late() -> None:
    async def story() -> None:
        line, session = Mock(streaming=True), Mock(takes_voice=True)
        session.voice = lambda number, _, load: b"%d %s" % (number, load)
        voice = Voice(Talking(), OpusEncoder(18), FakeClock(), VirtualExecutor())
        assert not voice.carry(b"before anything is said")
        voice.begin(asyncio.get_running_loop().time(), 0)
        task = asyncio.create_task(voice.run(line, session))
        await asyncio.sleep(0.16)
        assert voice.carry(b"one")
        assert not voice.carry(b"two at once")
        await asyncio.sleep(0.061)
        line.connection.send_voice.assert_called_with(b"2 one")
        assert not voice.carry(bytes(MAX_LOAD + 1))
        assert voice.carry(b"three")
        # The call goes on from another frame: what is said there is not due yet.
        voice.begin(asyncio.get_running_loop().time(), 0)
        await asyncio.sleep(0.061)
        line.connection.send_kp.assert_called_once_with(b"three")
        task.cancel()

    run_virtually(story())


def test_a_long_wait_for_pictures_does_not_hold_the_sound_back() -> None:
    world = World(sound=Beeping(), source=Source(120), detect_seconds=0.09).run()
    assert max(map(abs, skews_ms(world))) <= 40


@dataclass
class AudioRecorder:
    """Tells of each piece of sound which sample is its first, and when it is to be heard."""

    told: Callable[[int, float], None]
    lead: float

    def expect_sound(self) -> None:
        pass

    def hear(self, first: int, _: Sound, heard_at: float) -> None:
        self.told(first, heard_at)


def test_sound_follows_a_timeline_that_slides_and_one_that_jumps() -> None:
    heard: list[tuple[int, float, float]] = []

    async def listen() -> None:
        clock, playout = FakeClock(), Playout(FPS)
        start = clock.now()
        playout.arrived(0, start)
        recorder = AudioRecorder(lambda at, when: heard.append((at, when, clock.now())), 0.03)
        audio_playout = AudioPlayout(playout, clock, recorder, VirtualExecutor())
        task = asyncio.create_task(audio_playout.run(lambda: 0.01))
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
        recorder = AudioRecorder(lambda at, when: heard.append((at, when)), lead)
        audio_playout = AudioPlayout(playout, clock, recorder, VirtualExecutor())
        task = asyncio.create_task(audio_playout.run(lambda: 0.02))
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
