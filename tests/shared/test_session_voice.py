"""Sound in a call's sessions: offered and taken or not, counted, and bounded like all that arrives."""

import numpy as np
import pytest

from shared.constants import FPS
from shared.media.opus import SAMPLES, OpusEncoder
from shared.media.voice_packet import BLOCK_SECONDS, VoicePacket
from shared.protocol.events import Ended, KeypointsArrived, State, VoiceArrived
from shared.protocol.message_format import pack_message, parse_message
from shared.protocol.messages import Hello
from shared.protocol.receiver_session import MAX_BAD_PACKETS
from shared.protocol.voice_intake import MAX_AWAY, MAX_BAD
from tests.shared.session_pair import BINDING, PROOF, TERMS, ConnectionPair, packet, received, reconnected

OPUS = OpusEncoder(18).encode(np.random.default_rng(0).integers(-9000, 9000, SAMPLES, dtype=np.int16))


def speaking() -> ConnectionPair:
    pair = ConnectionPair(offers_voice=True, wants_voice=True)
    pair.settle()
    assert pair.sender.takes_voice
    assert pair.receiver.takes_voice
    return pair


def sound(number: int, count: int) -> bytes:
    return VoicePacket(number, count, OPUS).pack()


def test_sound_goes_where_it_is_offered_and_wanted() -> None:
    pair = speaking()
    for number in (0, 1, 5, 4):
        (arrived,) = pair.receiver.receive_voice(pair.sender.voice(number, OPUS), 0.0)
        assert arrived == VoiceArrived(number, OPUS)
    assert pair.sender.tally.voice.packets == pair.receiver.tally.voice.packets == 4
    assert pair.sender.tally.voice.bytes == pair.receiver.tally.voice.bytes == 4 * len(OPUS)
    assert pair.receiver.tally.voice.received == pair.receiver.tally.voice.expected == 4


def test_keypoints_that_come_in_a_sound_packet_are_taken_as_any() -> None:
    pair = speaking()
    assert pair.sender.puts_into_voice
    # Raw frames of 240 bytes.
    assert (pair.sender.fits_voice(1), pair.sender.fits_voice(2)) == (True, False)
    voice, keypoints = pair.receiver.receive_voice(pair.sender.voice(3, OPUS, packet(6)), 0.3)
    assert voice == VoiceArrived(3, OPUS)
    assert isinstance(keypoints, KeypointsArrived)
    assert keypoints.packet.first == 6
    assert pair.sender.tally.said["keypoints"] == pair.receiver.tally.heard["keypoints"] == len(packet(6))
    # Sound of another time is left out, and what travels with it stands for itself.
    (late,) = pair.receiver.receive_voice(pair.sender.voice(3, OPUS, packet(9090)), 303.0)
    assert isinstance(late, KeypointsArrived)


def test_broken_keypoints_in_sound_packets_count_like_others() -> None:
    pair = speaking()
    for n in range(MAX_BAD_PACKETS):
        events = pair.receiver.receive_voice(pair.sender.voice(n, OPUS, b"garbage"), 0.06 * n)
        assert events == [VoiceArrived(n, OPUS)]
    *_, ended = pair.receiver.receive_voice(pair.sender.voice(n + 1, OPUS, b"garbage"), 0.06 * n)
    assert isinstance(ended, Ended)


@pytest.mark.parametrize("sound", [False, True])
def test_a_sender_that_does_not_offer_it_or_a_receiver_without_sound_puts_none_there(sound: bool) -> None:
    pair = ConnectionPair(offers_voice=True, wants_voice=sound)
    pair.sender.outgoing()
    pair.to_receiver(Hello(TERMS, voice=True))
    pair.settle()
    assert pair.sender.takes_voice is sound
    assert not pair.sender.puts_into_voice


@pytest.mark.parametrize(("offers", "wants"), [(True, False), (False, True), (False, False)])
def test_without_an_offer_or_a_wish_the_call_goes_on_without(offers: bool, wants: bool) -> None:
    pair = ConnectionPair(offers_voice=offers, wants_voice=wants)
    pair.settle()
    assert not pair.sender.takes_voice
    assert not pair.receiver.takes_voice
    assert pair.sender.refuses_voice is offers
    assert pair.receiver.receive_voice(sound(0, 0), 0.0) == []
    assert pair.receiver.tally.voice.unasked == 1
    assert len(received(pair.receiver, packet(), 0.0)) == 1


def test_a_hello_without_sound_does_not_know_the_word() -> None:
    assert b"voice" not in pack_message(Hello(TERMS))
    assert b"voice" in pack_message(Hello(TERMS, voice=True))
    assert b"laden" not in pack_message(Hello(TERMS, voice=True))
    assert parse_message(pack_message(Hello(TERMS, voice=True, laden=True))) == Hello(
        TERMS, voice=True, laden=True
    )


def test_sound_that_was_not_offered_cannot_be_taken() -> None:
    pair = ConnectionPair()
    (ended,) = pair.to_sender(Hello(TERMS, voice=True))
    assert isinstance(ended, Ended)
    assert "not offered" in ended.reason


def test_lost_packets_are_told_from_pauses() -> None:
    pair = speaking()
    for number in (0, 1, 2, 40, 41, 42, 43):
        data = pair.sender.voice(number, OPUS)
        if number not in (1, 41, 42):
            pair.receiver.receive_voice(data, 0.0)
    assert (pair.receiver.tally.voice.expected, pair.receiver.tally.voice.received) == (7, 4)
    reconnected(pair)
    for number in (60, 61, 62):
        data = pair.sender.voice(number, OPUS)
        if number != 61:
            assert len(pair.receiver.receive_voice(data, 0.0)) == 1
    assert (pair.receiver.tally.voice.expected, pair.receiver.tally.voice.received) == (10, 6)
    assert pair.receiver.tally.voice.packets == 6


def test_broken_packets_are_dropped_until_they_are_too_many() -> None:
    pair = speaking()
    for number in range(MAX_BAD):
        assert pair.receiver.receive_voice(b"\x80junk", number / 10) == []
    assert len(pair.receiver.receive_voice(sound(0, 0), 50.0)) == 1
    (ended,) = pair.receiver.receive_voice(b"", 51.0)
    assert isinstance(ended, Ended)
    assert "broken sound packets" in ended.reason


def test_sound_is_no_further_from_its_moment_than_a_minute() -> None:
    receiver = speaking().receiver
    assert receiver.receive_voice(sound(MAX_AWAY + 2, 0), 0.0) == []
    assert len(receiver.receive_voice(sound(MAX_AWAY, 0), 0.0)) == 1
    assert receiver.receive_voice(sound(2 * MAX_AWAY, 1), 0.0) == []
    assert (receiver.tally.voice.bad, receiver.tally.voice.late) == (0, 2)
    assert receiver.receive_voice(sound(MAX_AWAY, 2), 3 * MAX_AWAY * BLOCK_SECONDS) == []
    assert (receiver.tally.voice.bad, receiver.tally.voice.late) == (0, 3)


def test_sound_goes_on_with_the_pictures_after_a_clock_has_stood_still() -> None:
    """The receiver's, in the tenth minute, for five: a virtual machine on a laptop that slept."""
    pair = speaking()
    heard = []
    for n in range(0, 600, 2):
        now, frame = 600 + n / 30, 27_000 + n
        received(pair.receiver, packet(frame), now)
        heard += pair.receiver.receive_voice(sound(round(frame / FPS / BLOCK_SECONDS), n // 2), now)
    assert pair.receiver.state is State.STREAMING
    assert len(heard) == pytest.approx(300 - 75, abs=3)  # all but those of the first five seconds
    assert (pair.receiver.tally.bad_packets, pair.receiver.tally.voice.bad) == (0, 0)
    assert pair.receiver.tally.voice.late == 300 - len(heard)


def test_sound_runs_on_while_no_picture_comes_and_after_a_long_silence() -> None:
    receiver = speaking().receiver
    numbers = [*range(0, 4 * MAX_AWAY, 50), 100 * MAX_AWAY, 100 * MAX_AWAY + 1]
    for count, number in enumerate(numbers):
        assert len(receiver.receive_voice(sound(number, count), number * BLOCK_SECONDS)) == 1


def test_a_flood_is_dropped_and_a_lasting_one_ends_the_call() -> None:
    for wants in (True, False):
        pair = ConnectionPair(offers_voice=True, wants_voice=wants)
        pair.settle()
        events = []
        for number in range(10_000):
            events += pair.receiver.receive_voice(sound(number % 900, number), number / 200)
            if events and isinstance(events[-1], Ended):
                break
        assert "floods" in events[-1].reason
        assert pair.receiver.tally.voice.flood > 100
        assert number / 200 < 20


def test_after_the_end_nothing_is_taken() -> None:
    pair = speaking()
    pair.receiver.end("Enough.")
    assert pair.receiver.receive_voice(sound(0, 0), 0.0) == []
    assert pair.receiver.tally.voice.packets == 0


def test_a_sender_that_comes_back_with_sound_where_there_was_none_is_a_new_call() -> None:
    pair = speaking()
    assert pair.receiver.matches(Hello(TERMS, secret=PROOF, voice=True), BINDING)
    assert not pair.receiver.matches(Hello(TERMS, secret=PROOF), BINDING)
