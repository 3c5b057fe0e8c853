"""Two sessions and everything that can happen to them, in any order: honest, late, forged, broken."""

from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from models.lite.layout import DIMENSIONS, LAYOUT
from shared.codec.keypoint_codec import Block, PaperCodec
from shared.codec.packet import KeypointPacket
from shared.constants import (
    MAX_CTL_MESSAGE,
    MAX_PICTURE_BYTES,
    MAX_PICTURES,
    PICTURE_CHUNK,
    SECRET_BYTES,
    CallTerms,
)
from shared.errors import PeerError
from shared.media import picture as pictures
from shared.protocol.events import (
    Agreed,
    Ended,
    Event,
    FramesArrived,
    PeerReady,
    PeerReport,
    SourcePicture,
    State,
)
from shared.protocol.message_format import pack_message, parse_message
from shared.protocol.messages import Bye, Hello, Message, Ready, SourceChunk, Start, Status, Want
from shared.protocol.picture_transfer import PictureAssembler, PictureSender
from shared.protocol.receiver_session import MAX_WAITING_PICTURES, ReceiverSession
from shared.protocol.reports import Report
from shared.protocol.resumption import proof
from shared.protocol.sender_session import SenderSession
from tests.shared.session_pair import received

TERMS = CallTerms("lite", "abc", LAYOUT.keypoints, DIMENSIONS)
BINDING = b"the keys of both ends"
SMOOTH = np.linspace(0, 255, 256, dtype=np.uint8)[:, None, None] * np.ones((1, 256, 3), np.uint8)
PICTURE = pictures.encode(np.roll(SMOOTH, 64, 0) ^ np.transpose(SMOOTH, (1, 0, 2)), 95)
EVENTS: dict[str, tuple[type[Event], ...]] = {
    "sender": (Agreed, PeerReady, PeerReport, Ended),
    "receiver": (Agreed, SourcePicture, PeerReady, FramesArrived, Ended),
}


@st.composite
def chunks(draw: st.DrawFn) -> SourceChunk:
    total = draw(st.sampled_from([1, 700, len(PICTURE), MAX_PICTURE_BYTES]))
    offset = draw(st.sampled_from([0, PICTURE_CHUNK, total - 1]).filter(lambda offset: offset < total))
    size = draw(st.sampled_from([1, 700, PICTURE_CHUNK]))
    data = PICTURE[offset : offset + size] or b"x"
    return SourceChunk(
        draw(st.integers(0, 3)), draw(st.integers(0, 7)), total, offset, data[: total - offset]
    )


MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        Hello,
        st.sampled_from(
            [
                TERMS,
                CallTerms("fomm", "abc", LAYOUT.keypoints, DIMENSIONS),
                CallTerms("lite", "abc", LAYOUT.keypoints, DIMENSIONS, "coded", "tables"),
            ]
        ),
        st.booleans(),
        st.sampled_from(["", "hold", "../../etc/passwd"]),
    ),
    chunks(),
    st.builds(Ready, st.integers(0, 4)),
    st.builds(Start, st.integers(0, 2**32 - 1)),
    st.builds(Want, st.integers(0, 7)),
    st.builds(Status, st.booleans(), st.booleans()),
    st.builds(Report, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    st.builds(Bye, st.text(max_size=20), st.booleans()),
)
FORGED = st.one_of(MESSAGES.map(pack_message), st.binary(max_size=40), st.just(bytes(MAX_CTL_MESSAGE + 1)))
FRAMES = st.sampled_from([0.0, 0.5, 1e3, float("nan"), float("inf")])


class Calls(RuleBasedStateMachine):
    """Honest ends on a path that an attacker may write on."""

    @initialize(avatar=st.booleans(), picture=st.sampled_from([True, True, False]), settled=st.booleans())
    def begin(self, avatar: bool, picture: bool, settled: bool) -> None:
        self.sender = SenderSession(TERMS, PaperCodec(DIMENSIONS), PICTURE if picture else None)
        self.avatar, self.picture, self.receivers = avatar, picture, 0
        self.receiver = self.new_receiver()
        self.undecoded: list[SourcePicture] = []
        self.slow = False
        self.now, self.number = 0.0, 0
        self.up: list[bytes] = []
        self.down: list[bytes] = []
        self.over: dict[str, bool] = {"sender": False, "receiver": False}
        self.sender.start()
        self.collect()
        if settled:
            self.honest(40)

    def new_receiver(self) -> ReceiverSession:
        """Return one with a secret of its own."""
        self.receivers += 1
        secret = self.receivers.to_bytes(SECRET_BYTES, "big")
        return ReceiverSession(TERMS, {"paper": PaperCodec(DIMENSIONS)}, self.avatar, "hold", secret)

    def collect(self) -> None:
        """Take what both sides have to say; once over, a side says nothing more than its bye."""
        for side, session, queue in (
            ("sender", self.sender, self.up),
            ("receiver", self.receiver, self.down),
        ):
            said = session.outgoing()
            assert all(len(data) <= MAX_CTL_MESSAGE for data in said)
            assert sum(map(len, said)) <= 2 * len(PICTURE) + 10_000
            assert not (self.over[side] and said)
            self.over[side] = session.state is State.ENDED
            for data in said:
                message = parse_message(data)
                assert side == "sender" or not isinstance(message, SourceChunk)
                assert self.picture or not isinstance(message, SourceChunk)
            queue.extend(said)

    def took(self, side: str, events: list[Event], was: State) -> None:
        assert all(isinstance(event, EVENTS[side]) for event in events)
        session: SenderSession | ReceiverSession = self.sender if side == "sender" else self.receiver
        ends = [event for event in events if isinstance(event, Ended)]
        assert len(ends) == int(session.state is State.ENDED and was is not State.ENDED)
        assert not (was is State.ENDED and events)
        assert was is not State.ENDED or session.state is State.ENDED
        for event in events:
            if isinstance(event, FramesArrived):
                assert np.isfinite(event.frames).all()
            elif isinstance(event, SourcePicture):
                assert event.slot < MAX_PICTURES
                assert not self.avatar
                self.undecoded.append(event)
        self.collect()

    def to_receiver(self, data: bytes) -> None:
        was = self.receiver.state
        self.took("receiver", self.receiver.receive_ctl(data, self.now), was)
        if not self.slow:
            self.decodes()

    @rule(slow=st.booleans())
    def decoding_takes_its_time(self, slow: bool) -> None:
        self.slow = slow

    @rule()
    def decodes(self) -> None:
        """What has come is decoded, in turn, whatever has happened since."""
        while self.undecoded:
            source, was = self.undecoded.pop(0), self.receiver.state
            try:
                picture = pictures.decode(source.data)
            except PeerError as error:
                events = self.receiver.picture_broken(source, str(error))
            else:
                assert picture.shape == (256, 256, 3)
                events = self.receiver.picture_taken(source, self.now)
            self.took("receiver", events, was)

    def to_sender(self, data: bytes) -> None:
        was = self.sender.state
        self.took("sender", self.sender.receive_ctl(data, self.now), was)

    @rule(count=st.integers(1, 8))
    def honest(self, count: int) -> None:
        for _ in range(count):
            if self.up:
                self.to_receiver(self.up.pop(0))
            if self.down:
                self.to_sender(self.down.pop(0))

    @precondition(lambda self: self.sender.state is not State.ENDED)
    @rule(restarted=st.booleans(), promptly=st.booleans())
    def reconnects(self, restarted: bool, promptly: bool) -> None:
        """The connection is lost; the sender calls again: the same receiver, or one that knows nothing."""
        was = self.sender.state
        self.up.clear()
        self.down.clear()
        if restarted:
            self.replace_receiver()
        self.sender.restart(BINDING)
        (hello,) = self.sender.outgoing()
        message = parse_message(hello)
        assert isinstance(message, Hello)
        if self.receiver.matches(message, BINDING):
            assert not restarted
            self.receiver.rejoin(BINDING)
            self.collect()
            assert len(self.down) == 1
            if promptly:
                self.to_sender(self.down.pop())
                # No picture again: both sides have it.
                assert (self.sender.state, self.up) == (State.STREAMING, [])
        else:
            assert restarted or was is not State.STREAMING or self.receiver.state is not State.STREAMING
            if self.receiver.state is not State.START:
                self.replace_receiver()
            self.up.append(hello)

    def replace_receiver(self) -> None:
        self.receiver, self.over["receiver"] = self.new_receiver(), False
        self.undecoded.clear()

    @rule(secret=st.one_of(st.just(b""), st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES)))
    def a_stranger_takes_up_no_call(self, secret: bytes) -> None:
        known = self.receivers.to_bytes(SECRET_BYTES, "big")
        if secret != proof(known, "sender", BINDING):
            assert not self.receiver.matches(Hello(TERMS, secret=secret), BINDING)

    @rule(data=FORGED)
    def forged_to_receiver(self, data: bytes) -> None:
        self.to_receiver(data)

    @rule(data=FORGED)
    def forged_to_sender(self, data: bytes) -> None:
        self.to_sender(data)

    @precondition(lambda self: self.receiver.state is State.STREAMING)
    @rule(slot=st.integers(0, 7), good=st.booleans())
    def forged_picture(self, slot: int, good: bool) -> None:
        """A whole one, in turn: what only the sender itself can send."""
        data = PICTURE if good else PICTURE[:700]
        number = self.receiver._pictures._next
        for offset in range(0, len(data), PICTURE_CHUNK):
            piece = data[offset : offset + PICTURE_CHUNK]
            self.to_receiver(pack_message(SourceChunk(number, slot, len(data), offset, piece)))

    @precondition(lambda self: self.sender.state is State.STREAMING)
    @rule(slot=st.sampled_from([0, 0, 1]), times=st.integers(1, 3))
    def wanted_again(self, slot: int, times: int) -> None:
        for _ in range(times):
            self.to_sender(pack_message(Want(slot)))

    @precondition(lambda self: bool(self.up))
    @rule(at=st.integers(0, 2000), value=st.integers(0, 255))
    def spoiled(self, at: int, value: int) -> None:
        data = bytearray(self.up.pop(0))
        data[at % len(data)] = value
        self.to_receiver(bytes(data))

    @rule(first=st.integers(0, 2**16 - 1), count=st.integers(1, 4), value=FRAMES, cut=st.integers(0, 3))
    def keypoints(self, first: int, count: int, value: float, cut: int) -> None:
        payload = np.full((count, 60), value, "<f4").tobytes()
        data = KeypointPacket(first, 0, count, payload).pack()
        was = self.receiver.state
        self.took("receiver", received(self.receiver, data[: len(data) - cut], self.now), was)

    @rule(data=st.binary(max_size=60), times=st.sampled_from([1, 300]))
    def kp_noise(self, data: bytes, times: int) -> None:
        for _ in range(times):
            was = self.receiver.state
            self.took("receiver", received(self.receiver, data, self.now), was)

    @rule()
    def an_honest_packet(self) -> None:
        if self.sender.state is State.STREAMING:
            data = self.sender.packet(self.number, 0, Block(np.zeros((3, 60), np.float32)))
            self.number += 6
            was = self.receiver.state
            self.took("receiver", received(self.receiver, data, self.now), was)

    @rule(report=st.builds(Report, st.integers(0, 2**32 - 1)), slot=st.integers(0, 7))
    def reports(self, report: Report, slot: int) -> None:
        self.receiver.report(report)
        self.receiver.want_again(slot)
        self.collect()

    @rule(slot=st.integers(0, 7))
    def further_picture(self, slot: int) -> None:
        if self.sender.takes_pictures:
            assert self.sender.send_picture(slot, PICTURE)
            self.collect()

    @rule(seconds=st.sampled_from([0.0, 0.1, 3.0, 20.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        for side, session in (("sender", self.sender), ("receiver", self.receiver)):
            was = session.state
            self.took(side, session.tick(self.now), was)

    @rule(who=st.sampled_from(["sender", "receiver"]), lost=st.booleans())
    def somebody_ends(self, who: str, lost: bool) -> None:
        session: SenderSession | ReceiverSession = self.sender if who == "sender" else self.receiver
        was = session.state
        self.took(who, session.lost() if lost else session.end("Enough.", ok=True), was)

    @invariant()
    def memory_is_bounded(self) -> None:
        assembler = self.receiver._pictures
        assert sum(map(len, assembler._chunks)) == assembler._received <= MAX_PICTURE_BYTES
        assert len(self.undecoded) == self.receiver._waiting_pictures <= MAX_WAITING_PICTURES
        wanted = self.sender.pictures._wanted
        assert len(wanted) == len(set(wanted)) <= MAX_PICTURES
        assert set(self.sender.pictures._slots) <= set(range(MAX_PICTURES))
        assert not self.sender._outgoing
        assert not self.receiver._outgoing


class PictureTransfers(RuleBasedStateMachine):
    """A picture sender and an assembler, with a peer who asks for and confirms what it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.feed, self.assembler = PictureSender(), PictureAssembler()
        self.slots: dict[int, bytes] = {}
        self.now, self.received, self.first = 0.0, 0, True

    @precondition(lambda self: self.feed.idle)
    @rule(
        slot=st.integers(0, 7),
        size=st.sampled_from([600, 1024, 2500]),
        filler=st.binary(min_size=1, max_size=1),
    )
    def begins(self, slot: int, size: int, filler: bytes) -> None:
        slot = 0 if self.first else slot
        self.first = False
        self.slots[slot] = filler * size
        self.feed.begin(slot, self.slots[slot])

    @rule(seconds=st.sampled_from([0.05, 0.5, 2.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        """At most one chunk is due; put together, a picture is what its slot holds."""
        self.now += seconds
        chunk = self.feed.next(self.now)
        if chunk is None:
            return
        assert self.feed.next(self.now) is None
        whole = self.assembler.take(chunk, self.now)
        if whole is not None:
            assert whole == self.slots[chunk.slot]
            self.received += 1

    @rule(number=st.integers(0, 6))
    def confirms(self, number: int) -> None:
        before = self.feed.tally.pictures
        try:
            self.feed.confirm(number)
        except PeerError:
            assert number >= self.received
        else:
            assert number < self.received
        assert before <= self.feed.tally.pictures <= self.received

    @rule(slot=st.integers(0, 7))
    def asks_again(self, slot: int) -> None:
        try:
            self.feed.again(slot)
        except PeerError:
            assert slot not in self.slots
        else:
            assert slot in self.slots
            assert not self.feed.idle

    @rule(data=st.data())
    def a_forged_chunk_changes_nothing_or_is_refused(self, data: Any) -> None:
        """On an assembler of its own: a peer who forges ends its call."""
        assembler = PictureAssembler()
        for _ in range(4):
            chunk = data.draw(chunks())
            try:
                whole = assembler.take(chunk, self.now)
            except PeerError:
                return
            assert whole is None or len(whole) == chunk.total


# Derandomised: the same on every run, and nothing to remember between them.
QUICK = settings(max_examples=60, stateful_step_count=30, derandomize=True)
Calls.TestCase.settings = QUICK
PictureTransfers.TestCase.settings = QUICK
TestCalls = Calls.TestCase
TestFeeds = PictureTransfers.TestCase
