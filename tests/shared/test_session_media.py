"""Short forms of other messages where keypoints travel as media, and long ones elsewhere."""

import pytest

from shared.protocol.events import PeerReport, State
from shared.protocol.message_format import pack_message, parse_message
from shared.protocol.messages import SourceChunk
from shared.protocol.reports import Brief, Report
from tests.shared.session_pair import PICTURE, ConnectionPair, reconnected, streaming

REPORT = Report(packets=70_000, highest=200_000, delay_ms=20, jitter_ms=4, frames_observed=100_000)


def pair_with(offers: bool, wants: bool) -> tuple[ConnectionPair, list[bytes]]:
    """Return a pair that streams, and what its sender said on the way."""
    pair, said = ConnectionPair(offers_media=offers, wants_media=wants), list[bytes]()
    outgoing = pair.sender.outgoing

    def noted() -> list[bytes]:
        messages = outgoing()
        said.extend(messages)
        return messages

    pair.sender.outgoing = noted  # type: ignore[method-assign]
    pair.settle()
    assert pair.sender.state is pair.receiver.state is State.STREAMING
    return pair, said


@pytest.mark.parametrize(("offers", "wants"), [(False, False), (True, False), (False, True), (True, True)])
def test_pieces_of_pictures_are_short_where_both_sides_have_media(offers: bool, wants: bool) -> None:
    _, said = pair_with(offers, wants)
    pieces = [data for data in said if isinstance(parse_message(data), SourceChunk)]
    around = sum(map(len, pieces)) - len(PICTURE)
    assert around == 14 * len(pieces) if offers and wants else around > 40 * len(pieces)


@pytest.mark.parametrize("media", [False, True])
def test_a_report_is_what_was_reported(media: bool) -> None:
    pair, _ = pair_with(media, media)
    for n in range(4):
        report = Report(20_000 * n, 5_000_000 * n, n, n, 30_000 * n, 20_000 * n, n)
        pair.receiver.report(report)
        (data,) = pair.receiver.outgoing()
        assert len(data) == (15 if media else 25)
        assert pair.sender.receive_ctl(data, pair.now) == [PeerReport(report)]


def test_over_a_new_connection_messages_are_counted_anew_and_frames_are_not() -> None:
    pair, _ = pair_with(True, True)
    for count in (30_000, 60_000, 70_000):
        pair.sender.receive_ctl(pack_message(Brief.of(Report(count, count, frames_held=count))), pair.now)
    reconnected(pair)
    after = Report(packets=3, highest=70_010, frames_held=70_009)
    assert pair.to_sender(Brief.of(after)) == [PeerReport(after)]


def test_a_short_report_that_nobody_offered_to_read_ends_the_call() -> None:
    pair = streaming()
    pair.to_sender(Brief.of(REPORT))
    assert pair.sender.state is State.ENDED


def test_a_short_report_before_its_time_is_not_listened_to() -> None:
    pair = ConnectionPair(offers_media=True)
    assert pair.to_sender(Brief.of(REPORT)) == []
    assert pair.sender.state is State.HELLO
