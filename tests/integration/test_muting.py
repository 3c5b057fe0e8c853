"""A microphone that is late, and one that is muted: what a receiver hears, and when packets leave."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from unittest.mock import Mock

import numpy as np
import pytest

from receiver.audio_jitter_buffer import AudioJitterBuffer
from sender.voice import Voice
from shared.media.opus import RATE, SAMPLES, OpusEncoder, Sound
from tests.integration.world import FakeClock, VirtualExecutor, run_virtually

BLOCK = SAMPLES / RATE


@dataclass
class Speaking:
    """A voice that goes on and on; a sample is there `lag` seconds after its moment, before that silence."""

    lag: float = 0.0
    start: float = 0.0
    reads: list[int] = field(default_factory=list)

    def begin(self, start: float) -> None:
        self.start = start

    def read(self, first: int, count: int) -> Sound:
        self.reads.append(first)
        n = np.arange(first, first + count)
        voice = sum(3000 / k * np.sin(2 * np.pi * 140 * k * n / RATE) for k in range(1, 9))
        there = self.start + n / RATE + self.lag <= FakeClock().now() + 1e-3
        return np.asarray(voice * (1 + 0.3 * np.sin(2 * np.pi * 3 * n / RATE)) * there, np.int16)

    def close(self) -> None:
        pass


@dataclass
class Heard:
    """What was sent, block number and when; and all of it as a receiver decodes it."""

    sent: list[tuple[int, float]]
    sound: Sound
    reads: list[int]


def call(seconds: float, script: Callable[[Voice], list[tuple[float, bool]]], lag: float = 0.0) -> Heard:
    """Send for `seconds`; `script` says when to mute (True) and when no longer."""
    source, sent = Speaking(lag), list[tuple[int, float]]()
    buffer = AudioJitterBuffer()

    async def story() -> None:
        session = Mock(takes_voice=True, refuses_voice=False)
        session.voice = lambda number, payload, _: (number, payload)
        line = Mock(streaming=True)

        def send(packet: tuple[int, bytes]) -> None:
            sent.append((packet[0], FakeClock().now() - source.start))
            buffer.put(*packet)

        line.connection.send_voice = send
        voice = Voice(source, OpusEncoder(18), FakeClock(), VirtualExecutor())
        voice.begin(FakeClock().now(), 0)
        task = asyncio.create_task(voice.run(line, session))
        for at, muted in script(voice):
            await FakeClock().sleep_until(source.start + at)
            voice.mute(muted)
            assert voice.muted is muted
        await FakeClock().sleep_until(source.start + seconds)
        task.cancel()

    run_virtually(story())
    count = round(seconds / BLOCK) - 3
    sound = np.concatenate([buffer.read(number * SAMPLES, SAMPLES) for number in range(count)])
    return Heard(sent, sound, source.reads)


def loudness(sound: Sound, begins: float, ends: float) -> float:
    return float(np.abs(sound[round(begins * RATE) : round(ends * RATE)].astype(float)).mean())


def roughness(sound: Sound) -> float:
    return float(np.abs(np.diff(sound.astype(float), 2)).max())


@pytest.mark.parametrize("lag", [0.0, 0.05, 0.13])
def test_sound_that_comes_late_is_waited_for_and_whole(lag: float) -> None:
    heard = call(4.0, lambda _: [], lag)
    whole = call(4.0, lambda _: [])
    np.testing.assert_array_equal(heard.sound, whole.sound)
    late = [at - (number + 1) * BLOCK for number, at in heard.sent]
    assert max(late) - min(late) < 1e-6
    assert min(late) == pytest.approx(lag, abs=0.01)


def test_muted_is_silent_and_unmuting_neither_clicks_nor_comes_late() -> None:
    heard, plain = call(8.0, lambda _: [(3.02, True), (5.03, False)]), call(8.0, lambda _: [])
    usual = loudness(plain.sound, 1, 3)
    assert loudness(heard.sound, 1, 2.9) == pytest.approx(usual, rel=0.05)
    assert loudness(heard.sound, 5.2, 7) == pytest.approx(loudness(plain.sound, 5.2, 7), rel=0.1)
    # From the block in which it was muted on, to the first that was begun when it no longer was.
    assert loudness(heard.sound, 3.07, 5.0) < usual / 500
    assert loudness(heard.sound, 3.2, 5.0) < usual / 900
    assert roughness(heard.sound) < 1.3 * roughness(plain.sound)
    # Nothing waits: a packet leaves when its block is complete, if it leaves.
    late = [at - (number + 1) * BLOCK for number, at in heard.sent]
    assert max(late) - min(late) < 1e-6
    muted = [number for number, at in heard.sent if 3.1 < at < 5.0]
    assert len(muted) < 12
    # The source is read on, so that what it cleans its sound of is not unlearned.
    assert set(np.diff(heard.reads)) == {SAMPLES}


def test_what_was_said_before_unmuting_is_never_sent() -> None:
    heard = call(4.0, lambda _: [(0.0, True), (2.0, False), (2.01, True), (3.0, True), (3.01, False)])
    assert loudness(heard.sound, 0.0, 3.0) < 5
    assert loudness(heard.sound, 3.2, 3.7) > 500
