"""Ends and refusals of calls, both sides over a link in memory, in virtual time."""

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bench.network.memory_link import LoopbackConnection, pair
from models.forecast.baselines import Hold
from models.lite.layout import LAYOUT
from receiver.pipeline import ReceiverCall
from receiver.playout import Playout
from receiver.renderer import Renderer
from receiver.sinks.window import WindowClosed
from shared.concealment import Concealer
from shared.constants import FPS, MAX_PICTURE_BYTES, PICTURE_CHUNK
from shared.errors import KeycastError
from shared.protocol.events import Ended
from shared.protocol.message_format import pack_message, parse_message
from shared.protocol.messages import Bye, Hello, SourceChunk
from shared.protocol.receiver_session import ReceiverSession
from tests.integration.world import (
    BLOCK,
    CODECS,
    ENDED,
    TERMS,
    Backbone,
    FakeClock,
    Sink,
    Source,
    VirtualExecutor,
    World,
    hang_up_after,
    run_virtually,
)


@pytest.mark.parametrize(("side", "other"), [("sending", "receiver"), ("receiving", "sender")])
def test_either_side_may_hang_up(side: str, other: str) -> None:
    world = World(source=Source(10**6), disturb=hang_up_after(1.0, side)).run()
    assert world.sender.ended == world.receiver.ended == Ended("Enough.", ok=True)
    # The sender stops at once; the receiver shows what it has.
    assert world.sender.at == pytest.approx(1001.0, abs=0.02)
    assert world.receiver.at == pytest.approx(1001.0, abs=0.25)
    assert getattr(world, other).error is None


def test_a_sender_in_a_long_skip_ends_at_once_when_its_peer_does() -> None:
    terms = replace(TERMS, observe=1, skip=300)
    disturb = hang_up_after(2.0, "receiving")
    world = World(source=Source(10**6), sender_terms=terms, disturb=disturb).run()
    assert world.source.asked == [0]
    assert world.sender.at == pytest.approx(1002.0, abs=0.02)


def test_the_receiver_hanging_up_before_the_call_is_set_up_is_a_failure_to_the_sender() -> None:
    world = World(disturb=hang_up_after(0.0, "receiving")).run()
    assert not world.receiving.streaming
    assert world.sender.ended == Ended("Enough.", ok=False)
    assert world.kinds == ""


def test_a_cut_link_ends_both_sides_and_says_why() -> None:
    async def cut(world: World) -> None:
        await asyncio.sleep(1.0)
        world.left.cut("The cable is out.")

    world = World(source=Source(10**6), disturb=cut).run()
    assert world.sender.ended == world.receiver.ended == Ended("The cable is out.", ok=False)
    assert world.receiver.at - 1001.0 < 0.2


def test_a_source_that_fails_ends_both_sides() -> None:
    world = World(source=Source(fails_at=25)).run()
    assert isinstance(world.sender.error, KeycastError)
    assert str(world.sender.error) == "The camera was unplugged."
    assert world.receiver.ended == Ended("The sender had to stop.", ok=False)
    assert world.kinds.startswith(BLOCK)


def test_a_sink_that_fails_ends_both_sides() -> None:
    world = World(source=Source(10**6), sink=Sink(fails_at=20)).run()
    assert isinstance(world.receiver.error, KeycastError)
    assert "No space left" in str(world.receiver.error)
    assert world.sender.ended == Ended("The receiver had to stop.", ok=False)
    assert world.sink.numbers == list(range(20))
    assert world.receiving.summary.to_map()["frames"] == 20


def test_closing_the_window_hangs_up() -> None:
    world = World(source=Source(10**6), sink=Sink(fails_at=20, error=WindowClosed())).run()
    assert world.receiver.ended == world.sender.ended == Ended("The receiver closed its window.", ok=True)


def test_a_fault_of_ours_is_raised_and_still_ends_the_other_side() -> None:
    world = World(source=Source(10**6), sink=Sink(fails_at=20, error=ZeroDivisionError("ours"))).run()
    assert isinstance(world.receiver.error, ZeroDivisionError)
    assert world.sender.ended == Ended("The receiver had to stop.", ok=False)


@pytest.mark.parametrize(
    ("changed", "both"),
    [
        ({"fingerprint": "def"}, ("abc", "def", "weights")),
        ({"backbone": "other"}, ("fake", "other", "backbone")),
        ({"protocol": 7}, ("protocol 2", "protocol 7", "version")),
        ({"fps": 25}, ("30", "25", "fps")),
    ],
)
def test_other_terms_are_refused_on_both_sides_in_one_sentence(
    changed: dict[str, Any], both: tuple[str, ...]
) -> None:
    world = World(sender_terms=replace(TERMS, **changed)).run()
    assert world.receiver.ended == world.sender.ended
    assert world.sender.ended is not None
    assert not world.sender.ended.ok
    assert all(value in world.sender.ended.reason for value in both)
    assert world.sender.ended.reason.count(".") == 1
    assert world.source.asked == []
    assert not world.receiving.streaming


def test_garbage_among_the_packets_is_counted_and_changes_nothing() -> None:
    def garbage(link: LoopbackConnection, data: bytes) -> None:
        for junk in (b"\0", b"\x41" * 9, data[:-1], data + b"!", b"\x21" + data[1:]):
            LoopbackConnection.send_kp(link, junk)

    world = World(spoil=garbage).run()
    assert world.kinds == (BLOCK * 5)[: len(world.kinds)]
    assert world.receiving.summary.to_map()["bad_packets"] == 50
    assert world.receiver.ended == ENDED


def test_nan_keypoints_never_leave_and_end_the_call_where_they_last() -> None:
    world = World(sender_backbone=Backbone(broken=True)).run()
    assert world.receiving.summary.to_map()["bad_packets"] == 0
    assert (world.kinds, world.receiver.ended) == ("", ENDED)
    world = World(source=Source(10**6), sender_backbone=Backbone(broken=True)).run()
    assert isinstance(world.sender.error, KeycastError)
    assert "finds no valid keypoints" in str(world.sender.error)
    assert world.receiver.ended == Ended("The sender had to stop.", ok=False)


def test_nan_in_one_packet_is_a_lost_packet() -> None:
    count = iter(range(10**6))

    def poison(link: LoopbackConnection, data: bytes) -> bool | None:
        if next(count) != 3:
            return None
        bad = data[:4] + np.full(180, np.nan, "<f4").tobytes()
        return LoopbackConnection.send_kp(link, bad)

    world = World(spoil=poison).run()
    assert world.kinds[:24] == BLOCK + "ooo" + "f" * 8 + "i"


@pytest.mark.slow
def test_a_timeline_thrown_far_off_does_not_keep_a_receiver_from_ending() -> None:
    def replay(link: LoopbackConnection, data: bytes) -> bool | None:
        # Ten thousand frames ahead, then for ever the same old frames.
        first = (10_000 if next(count) == 0 else 0).to_bytes(2, "little")
        return LoopbackConnection.send_kp(link, data[:1] + first + data[3:])

    count = iter(range(10**6))
    world = World(source=Source(10**6), spoil=replay, disturb=hang_up_after(20.0, "sending")).run()
    assert world.receiver.at == pytest.approx(1020.0, abs=0.5)


class Peer:
    """A sender of our own making, against a real receiver's call."""

    def __init__(self, *messages: bytes) -> None:
        self.messages = messages

    def against_receiver(self) -> Ended:
        return run_virtually(self._run())

    async def _run(self) -> Ended:
        left, right = pair()
        call = ReceiverCall(
            connection=right,
            session=ReceiverSession(TERMS, CODECS),
            renderer=Renderer(Backbone(), Concealer(Hold(), LAYOUT)),
            sink=Sink(),
            playout=Playout(FPS),
            clock=FakeClock(),
            inference=VirtualExecutor(),
            output=VirtualExecutor(),
            decoding=VirtualExecutor(),
        )
        for message in self.messages:
            left.send_ctl(message)
        ended = await call.run()
        said = []
        await right.close()
        while (message_ := await left.recv()) is not None:
            said.append(parse_message(message_[1]))
        assert said[-1] == Bye(ended.reason, ended.ok)
        assert not call.streaming
        return ended


def test_a_picture_that_is_too_large_is_refused() -> None:
    hello = pack_message(Hello(TERMS))
    too_large = SourceChunk(0, 0, MAX_PICTURE_BYTES + 1, 0, bytes(PICTURE_CHUNK))
    ended = Peer(hello, pack_message(too_large)).against_receiver()
    assert not ended.ok
    assert str(MAX_PICTURE_BYTES) in ended.reason


def test_a_picture_that_is_none_is_refused() -> None:
    chunk = pack_message(SourceChunk(0, 0, 4, 0, b"junk"))
    ended = Peer(pack_message(Hello(TERMS)), chunk).against_receiver()
    assert ended == Ended("The source picture is not a readable JPEG.", ok=False)


@pytest.mark.parametrize("message", [b"", b"\xc1", b"GET / HTTP/1.1", pack_message(Bye("x"))[:-1]])
def test_garbage_for_a_hello_is_refused(message: bytes) -> None:
    ended = Peer(message).against_receiver()
    assert not ended.ok


def test_a_peer_that_says_nothing_is_given_up() -> None:
    ended = Peer().against_receiver()
    assert ended == Ended("The call was not set up within 15 seconds; try again.", ok=False)
