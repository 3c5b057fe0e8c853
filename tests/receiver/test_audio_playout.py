"""Sound is decoded and handed on in a thread of its own: no device and no codec holds the event loop up."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest

from receiver.audio_playout import AudioPlayout
from receiver.playout import Playout
from shared.clock import SystemClock
from shared.constants import FPS
from shared.media.opus import RATE, SAMPLES, OpusDecoder, OpusEncoder, Sound
from shared.protocol.events import VoiceArrived


@dataclass
class Slow:
    """A loudspeaker that opens when it is `released`; knows which threads it was used in."""

    lead: float = 0.0
    released: threading.Event = field(default_factory=threading.Event)
    threads: set[str] = field(default_factory=set)
    heard: list[Sound] = field(default_factory=list)

    def expect_sound(self) -> None:
        self.threads.add(threading.current_thread().name)
        assert self.released.wait(20)

    def hear(self, _first: int, sound: Sound, _heard_at: float) -> None:
        self.threads.add(threading.current_thread().name)
        self.heard.append(sound)


async def test_neither_device_nor_decoder_holds_the_loop_up(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: set[str] = set()
    decode = OpusDecoder.decode

    def noted(decoder: OpusDecoder, payload: bytes) -> Sound:
        decoded.add(threading.current_thread().name)
        return decode(decoder, payload)

    monkeypatch.setattr(OpusDecoder, "decode", noted)
    encoder, speaker, clock, playout = OpusEncoder(18), Slow(), SystemClock(), Playout(FPS)
    tone = np.asarray(12000 * np.sin(2 * np.pi * 440 * np.arange(5 * SAMPLES) / RATE), np.int16)
    with ThreadPoolExecutor(1, "sound") as executor:
        playing = AudioPlayout(playout, clock, speaker, executor)
        preparing = asyncio.create_task(playing.prepare())
        await asyncio.sleep(0.01)
        assert not preparing.done()
        speaker.released.set()
        await preparing
        playout.arrived(0, clock.now())
        for number in range(5):
            block = encoder.encode(tone[number * SAMPLES : (number + 1) * SAMPLES])
            assert block
            playing.arrived(VoiceArrived(number, block))
        running = asyncio.create_task(playing.run(lambda: 0.0))
        while len(speaker.heard) < 10:
            await asyncio.sleep(0.01)
        running.cancel()
        await playing.settled()
        count = len(speaker.heard)
        await asyncio.sleep(0.05)
        assert len(speaker.heard) == count
    assert {*speaker.threads, *decoded} == {"sound_0"}
    assert np.abs(np.concatenate(speaker.heard)).max() > 3000
