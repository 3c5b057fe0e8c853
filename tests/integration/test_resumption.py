"""Taking a call up again over real connections, with somebody else at the receiver's address."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from models.lite.layout import DIMENSIONS
from shared.codec.keypoint_codec import PaperCodec
from shared.protocol.events import PeerReady, State
from shared.protocol.message_format import parse_message
from shared.protocol.messages import Hello
from shared.protocol.receiver_session import ReceiverSession
from shared.protocol.sender_session import SenderSession
from shared.transport.datachannel import Link
from tests.shared.session_pair import PICTURE, SECRET, TERMS, with_pictures

pytestmark = pytest.mark.slow

Through = Callable[..., AbstractAsyncContextManager[Any]]


async def hello_of(link: Link) -> Hello:
    message = await asyncio.wait_for(link.recv(), 20)
    assert message is not None
    hello = parse_message(message[1])
    assert isinstance(hello, Hello)
    return hello


def send_all(session: SenderSession | ReceiverSession, link: Link) -> list[bytes]:
    said = session.outgoing()
    for data in said:
        link.send_ctl(data)
    return said


async def hear(session: SenderSession | ReceiverSession, link: Link, until: State) -> list[object]:
    events: list[object] = []
    while session.state is not until:
        message = await asyncio.wait_for(link.recv(), 20)
        assert message is not None
        happened = session.receive_ctl(message[1], 0.0)
        events += with_pictures(session, happened, 0.0) if isinstance(session, ReceiverSession) else happened
    return events


async def set_up(call: Any, sender: SenderSession, receiver: ReceiverSession) -> None:
    sender.start()
    send_all(sender, call.sender)
    await hear(receiver, call.receiver, State.PICTURE)
    send_all(receiver, call.receiver)
    await hear(sender, call.sender, State.PICTURE)
    send_all(sender, call.sender)
    await hear(receiver, call.receiver, State.STREAMING)
    send_all(receiver, call.receiver)
    await hear(sender, call.sender, State.STREAMING)


async def test_who_answers_in_the_receivers_place_cannot_take_the_call_up(call_through: Through) -> None:
    sender = SenderSession(TERMS, PaperCodec(DIMENSIONS), PICTURE)
    receiver = ReceiverSession(TERMS, {"paper": PaperCodec(DIMENSIONS)}, forecaster="hold", secret=SECRET)
    async with call_through() as call:
        await set_up(call, sender, receiver)
    # The connection is lost, and a thief answers at the address where the receiver was.
    async with call_through() as call:
        sender.restart(call.sender.binding)
        (said,) = send_all(sender, call.sender)
        assert SECRET not in said
        stolen = await hello_of(call.receiver)
    # With what it heard, it calls the receiver itself.
    async with call_through() as call:
        assert not receiver.matches(stolen, call.receiver.binding)
    # The sender's own way stays open.
    async with call_through() as call:
        assert call.sender.binding == call.receiver.binding
        assert len(call.sender.binding) == 64
        sender.restart(call.sender.binding)
        send_all(sender, call.sender)
        assert receiver.matches(await hello_of(call.receiver), call.receiver.binding)
        receiver.rejoin(call.receiver.binding)
        (said,) = send_all(receiver, call.receiver)
        assert SECRET not in said
        events = await hear(sender, call.sender, State.STREAMING)
        assert events[-1] == PeerReady(resumed=True)
