"""Every byte that leaves a sender: no picture with --anonymous, and never a name of its machine."""

import asyncio
import getpass
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from bench.network.memory_link import LoopbackConnection, pair
from models.build import load_backbone
from models.lite.layout import DIMENSIONS, LAYOUT
from sender import app, outgoing
from sender.gallery import GalleryOptions
from sender.options import SenderOptions
from sender.outgoing import Encoded
from sender.presets import Sending
from shared.clock import SystemClock
from shared.codec.keypoint_codec import PaperCodec
from shared.constants import CallTerms
from shared.errors import KeycastError
from shared.interfaces import Backbone
from shared.protocol.events import Ended, PeerReady
from shared.protocol.message_format import pack_message, parse_message
from shared.protocol.messages import Hello, Message, SourceChunk, Start, Want
from shared.protocol.receiver_session import ReceiverSession
from shared.protocol.sender_session import SenderSession
from shared.transport.datachannel import Link
from tests.shared.session_pair import with_pictures
from tests.tiny_lite import save_lite, untrained

pytestmark = pytest.mark.slow

SECONDS = 2.0
FACELESS = {"Hello", "Start", "Still", "Bye"}


@dataclass(frozen=True)
class Network:
    """A small untrained one: its weights, and what a call with it is held under."""

    folder: Path
    backbone: Backbone
    terms: CallTerms


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Network:
    torch.set_num_threads(1)
    folder = save_lite(tmp_path_factory.mktemp("weights"), untrained())
    backbone = load_backbone("lite", folder, "cpu")
    terms = CallTerms(backbone.name, backbone.fingerprint, LAYOUT.keypoints, DIMENSIONS)
    return Network(folder, backbone, terms)


@dataclass
class Left:
    """All that a sender handed to its connection."""

    ctl: list[bytes] = field(default_factory=list)
    kp: list[bytes] = field(default_factory=list)

    def record(self, connection: LoopbackConnection) -> LoopbackConnection:
        send_ctl, send_kp = connection.send_ctl, connection.send_kp

        def ctl(data: bytes) -> None:
            self.ctl.append(data)
            send_ctl(data)

        def kp(data: bytes) -> bool:
            self.kp.append(data)
            return send_kp(data)

        connection.send_ctl, connection.send_kp = ctl, kp  # type: ignore[method-assign]
        return connection

    @property
    def kinds(self) -> set[str]:
        return {type(message).__name__ for message in self.messages}

    @property
    def messages(self) -> list[Message]:
        return [parse_message(data) for data in self.ctl]


async def receive(
    connection: LoopbackConnection, terms: CallTerms, avatar: bool, asks: tuple[Message, ...]
) -> Ended:
    """A receiver that is interested in pictures only: once streaming it asks, and later it ends the call."""
    clock = SystemClock()
    session = ReceiverSession(terms, {"paper": PaperCodec(DIMENSIONS)}, avatar, "hold")
    until = float("inf")
    while True:
        try:
            message = await asyncio.wait_for(connection.recv(), 0.1)
        except TimeoutError:
            events = session.end("Enough.") if clock.now() > until else []
        else:
            if message is None:
                return Ended("gone", False)
            events = getattr(session, f"receive_{message[0]}")(message[1], clock.now())
            events = with_pictures(session, events, clock.now())
        for reply in session.outgoing():
            connection.send_ctl(reply)
        for event in events:
            if isinstance(event, PeerReady):
                until = clock.now() + SECONDS
                for ask in asks:
                    connection.send_ctl(pack_message(ask))
            elif isinstance(event, Ended):
                return event


async def call(
    monkeypatch: pytest.MonkeyPatch,
    weights: Network,
    anonymous: bool,
    avatar: bool,
    asks: tuple[Message, ...] = (),
) -> tuple[Left, Ended, str]:
    """Return what left the sender, how the receiver saw the end, and what the sender complained of."""
    ours, theirs = pair()
    left = Left()

    async def connect(*_: object, **__: object) -> LoopbackConnection:
        return left.record(ours)

    monkeypatch.setattr(app, "connect", connect)
    # Loaded once for all tests.
    monkeypatch.setattr(app, "load_backbone", lambda *_: weights.backbone)
    options = SenderOptions(
        source="demo", checkpoint=weights.folder, anonymous=anonymous, gallery=GalleryOptions(8, 1000.0),
        sending=Sending(preset="paper"),
    )  # fmt: skip
    receiving = asyncio.create_task(receive(theirs, weights.terms, avatar, asks))
    failed = ""
    try:
        await app.run(options)
    except KeycastError as error:
        failed = str(error)
    return left, await asyncio.wait_for(receiving, 20), failed


async def test_an_anonymous_call_carries_motion_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, weights: Network
) -> None:
    left, ended, _ = await call(monkeypatch, weights, anonymous=True, avatar=True)
    assert ended == Ended("Enough.", True)
    assert [type(message) for message in left.messages[:2]] == [Hello, Start]
    assert left.kinds <= FACELESS
    assert sum(map(len, left.ctl)) < 1000
    assert len(left.kp) > 5
    assert max(map(len, left.kp)) <= 4 + 3 * 240


async def test_the_same_call_with_a_face_carries_pictures(
    monkeypatch: pytest.MonkeyPatch, weights: Network
) -> None:
    """So that the test above could fail."""
    left, *_ = await call(monkeypatch, weights, anonymous=False, avatar=False)
    chunks = [message for message in left.messages if isinstance(message, SourceChunk)]
    assert sum(len(chunk.data) for chunk in chunks) > 1000


async def test_a_receiver_that_asks_for_a_picture_all_the_same_gets_none(
    monkeypatch: pytest.MonkeyPatch, weights: Network
) -> None:
    left, ended, _ = await call(monkeypatch, weights, anonymous=True, avatar=True, asks=(Want(0),))
    assert not ended.ok
    assert "never sent" in ended.reason
    assert left.kinds <= FACELESS


async def test_without_an_avatar_it_is_refused_in_one_sentence_on_both_sides(
    monkeypatch: pytest.MonkeyPatch, weights: Network
) -> None:
    left, ended, failed = await call(monkeypatch, weights, anonymous=True, avatar=False)
    sentence = "The sending side is anonymous and sends no picture; use --avatar IMAGE where it is shown."
    assert failed == sentence
    assert ended == Ended(sentence, False)
    assert left.kp == []


async def test_no_name_and_no_path_of_the_machine_leaves_it(
    monkeypatch: pytest.MonkeyPatch, weights: Network
) -> None:
    """A face that is sent has no metadata either: it is made from pixels."""
    left, *_ = await call(monkeypatch, weights, anonymous=False, avatar=False)
    offering = Link()
    answering = Link()
    offer = await offering.offer()
    said = b"\n".join([*left.ctl, *left.kp, offer.encode(), (await answering.answer(offer)).encode()]).lower()
    for link in (offering, answering):
        await link.close()
    ours = {
        socket.gethostname(),
        getpass.getuser(),
        str(Path.home()),
        str(Path.cwd()),
        str(weights.folder),
        Path.cwd().name,
    }
    assert [name for name in ours if len(name) > 5 and name.lower().encode() in said] == []
    # What remains is the addresses of its network cards; SECURITY.md says so.
    assert b"a=candidate" in said


def test_further_pictures_are_off_without_a_first_one() -> None:
    codec = PaperCodec(DIMENSIONS)
    session = SenderSession(CallTerms("lite", "abc", LAYOUT.keypoints, DIMENSIONS), codec, None)
    with ThreadPoolExecutor(1) as encoding:
        options = SenderOptions(source="demo", anonymous=True)
        none, one = Encoded(None, None), Encoded(b"a picture", None)
        assert outgoing.further_pictures(options, session, none, encoding, LAYOUT.distance) is None
        assert outgoing.further_pictures(options, session, one, encoding, LAYOUT.distance) is not None
