"""Messages as RTP packets: what is read, and what is not."""

import struct

import pytest

from shared.constants import MAX_PACKET
from shared.errors import PeerError
from shared.interfaces import Channel
from shared.media.voice_packet import is_sound
from shared.protocol.message_format import pack_message
from shared.protocol.messages import Still
from shared.protocol.reports import Report
from shared.transport.lane import Media
from shared.transport.media import channel_of, pack, parse

REPORT = pack_message(Report(packets=7))


@pytest.mark.parametrize(("channel", "data"), [("kp", b"kkkkk"), ("kp", bytes(MAX_PACKET)), ("ctl", REPORT)])
@pytest.mark.parametrize("count", [0, 1, 2**16 - 1, 2**16, 10**6])
def test_there_and_back(channel: Channel, data: bytes, count: int) -> None:
    packet = pack(channel, count, data)
    assert parse(packet, count) == (channel, count, data)
    # Encrypted, the header stays as it is; that is all there is to tell it from sound by.
    assert channel_of(packet[:12] + bytes(20)) == channel
    assert not is_sound(packet)


@pytest.mark.parametrize("away", [-(2**15), -300, 0, 300, 2**15 - 1])
def test_counts_go_on_where_their_field_begins_anew(away: int) -> None:
    count = 3 * 2**16 + 5
    assert parse(pack("kp", count, b"kkkkk"), count - away)[1] == count


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        pack("kp", 0, b"kkkkk")[:12],
        pack("kp", 0, bytes(MAX_PACKET + 1)),
        pack("ctl", 0, pack_message(Still())),  # all but reports goes the reliable way
        pack("ctl", 0, b"\x81\xa4type\xa3bye"),
        b"\x90" + pack("kp", 0, b"kkkkk")[1:],  # an extension is announced
        struct.pack(">BBHII", 0x80, 113, 0, 0, 2) + b"k",  # another source
        struct.pack(">BBHII", 0x80, 115, 0, 0, 1) + b"k",
    ],
)
def test_what_is_not_ours_is_refused(packet: bytes) -> None:
    with pytest.raises(PeerError):
        parse(packet, 0)


def test_a_message_that_would_end_in_the_header_is_none() -> None:
    with pytest.raises(ValueError, match="4 bytes"):
        pack("kp", 0, b"kkkk")


def test_a_report_that_was_overtaken_is_no_news_and_keypoints_always_are() -> None:
    media = Media()
    assert media.came("ctl", 4)
    assert not media.came("ctl", 2)
    assert media.came("kp", 3)
    assert media.came("ctl", 5)
    assert (media.newest, media.arrivals.expected, media.arrivals.received) == (5, 2, 2)
