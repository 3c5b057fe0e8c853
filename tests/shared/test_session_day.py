"""Both sessions through 25 hours of packets: every number that wraps on the wire is resolved."""

import numpy as np
import pytest

from shared.codec.keypoint_codec import Block
from shared.media.opus import SAMPLES, OpusEncoder
from shared.media.voice_packet import BLOCK_SECONDS
from shared.protocol.events import FramesArrived, VoiceArrived
from tests.shared.session_pair import FRAMES, ConnectionPair, received

HOUR = 3600.0
OPUS = OpusEncoder(18).encode(np.random.default_rng(0).integers(-9000, 9000, SAMPLES, dtype=np.int16))
MAX_SPEECH = 70_000


def spoken() -> list[int]:
    """Return the blocks of somebody who speaks for over an hour, and then now and then."""
    last = int(25 * HOUR / BLOCK_SECONDS)
    return [*range(MAX_SPEECH), *range(MAX_SPEECH, last, 997)]


def test_a_day_of_pictures_with_pauses() -> None:
    pair = ConnectionPair()
    pair.settle()
    pair.sender.begin(2**32 - 4_000_000)
    pair.settle()
    moments = [float(s) for s in range(0, 90_000, 5) if not 3 * HOUR < s < 9 * HOUR and not s % 7200 < 1500]
    for moment in moments:
        number = round(moment * 30)
        data = pair.sender.packet(number, 3, Block(FRAMES))
        # Up to three seconds on its way, and the two clocks run apart by 0.02 %.
        (arrived,) = received(pair.receiver, data, moment * 1.0002 + number % 31 / 10)
        assert isinstance(arrived, FramesArrived)
        assert arrived.first == number
        assert arrived.timestamp_ms == (2**32 - 4_000_000 + round(number * 1000 / 30) + 3) % 2**32
    assert pair.receiver.tally.packets == len(moments)


@pytest.mark.slow
def test_a_day_of_sound_with_pauses() -> None:
    """Over 2**16 packets and 2**32 samples; one packet in a hundred is lost."""
    pair = ConnectionPair(offers_voice=True, wants_voice=True)
    pair.settle()
    lost = 0
    for count, number in enumerate(spoken()):
        data = pair.sender.voice(number, OPUS)
        if count % 100 == 50:
            lost += 1
            continue
        (arrived,) = pair.receiver.receive_voice(data, number * BLOCK_SECONDS + number % 31 / 100)
        assert arrived == VoiceArrived(number, OPUS)
    voice = pair.receiver.tally.voice
    assert voice.expected - voice.received == lost
    assert pair.sender.tally.voice.packets > 2**16
    assert number * SAMPLES > 2**32
