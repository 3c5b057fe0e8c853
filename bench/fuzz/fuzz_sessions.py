"""Targets of `bench fuzz --transport` above the transport: messages to sessions, requests to a receiver."""

from __future__ import annotations

import asyncio
import io
import os
from struct import pack

import numpy as np
from PIL import Image

from bench.fuzz.fuzz_inputs import Chance, Corpus
from models.lite.layout import LAYOUT
from receiver.http.signaling import SignalingServer
from shared.clock import SystemClock
from shared.codec.keypoint_codec import Block, Codec, PaperCodec
from shared.codec.packet import KeypointPacket
from shared.constants import MAX_CTL_MESSAGE, CallTerms
from shared.errors import PeerError
from shared.keypoints import Pictures
from shared.media import picture as pictures
from shared.protocol.events import Event, KeypointsArrived, SourcePicture, State
from shared.protocol.message_format import pack_message
from shared.protocol.messages import Bye, Hello, Message, Ready, Start, Still, Want
from shared.protocol.receiver_session import ReceiverSession
from shared.protocol.reports import Brief, Report
from shared.protocol.sender_session import SenderSession
from shared.transport.datachannel import Link

_LATER = 61.0
_ANSWER_SECONDS = 0.5
_CTL, _KP, _VOICE = range(3)
_CODEC = PaperCodec(LAYOUT.dimensions)


class MessagesTarget:
    """Sessions of both sides, which hear control messages, keypoint packets and sound."""

    name = "hello and wire packets"

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._terms = CallTerms("lite", "abc", LAYOUT.keypoints, LAYOUT.dimensions)
        grey = np.full((256, 256, 3), 90, np.uint8)
        self._picture = pictures.encode(grey)
        hello = Hello(self._terms, False, "hold", b"s" * 16)
        said: list[Message] = [
            hello, Ready(0), Start(5), Want(0), Still(), Report(), Brief(), Bye("Enough."),
        ]  # fmt: skip
        control = [pack_message(message) for message in said]
        self._of_receiver = control[:2]
        self._of_sender = [*self._said_with(self._picture), control[2]]
        packet = KeypointPacket(
            0, 0, 3, _CODEC.encode(Block(np.zeros((3, LAYOUT.dimensions), np.float32)))
        ).pack()
        sound = pack(">BBHII", 0x80, 111, 0, 0, 0) + b"\x58" * 40
        laden = sound[:1] + b"\x70" + sound[2:12] + bytes([len(packet[:200])]) + packet[:200] + sound[12:]
        seeds = [*control, *self._of_sender, *self._said_with(_as_jpeg(grey))], [packet], [sound, laden]
        self._corpora = [Corpus(some, chance) for some in seeds]
        self._now = 0.0
        self._session: ReceiverSession | SenderSession | None = None

    def _sender(self, picture: bytes | None = None) -> SenderSession:
        session = SenderSession(self._terms, _CODEC, picture or self._picture, True)
        session.start()
        return session

    def _said_with(self, picture: bytes) -> list[bytes]:
        """Return what a sender says until its picture is over."""
        sender = self._sender(picture)
        sender.receive_ctl(self._of_receiver[0], 0.0)
        return sender.outgoing()

    @property
    def alive(self) -> bool:
        """Whether it still listens."""
        return self._session is not None and self._session.state is not State.ENDED

    async def renew(self) -> None:
        """Make a receiver or a sender, in any state of its set-up."""
        if self._chance.random() < 0.3:
            self._session, steps = self._sender(), self._of_receiver
        else:
            codecs: dict[str, Codec] = {"paper": _CODEC}
            self._session = ReceiverSession(self._terms, codecs, False, "hold", b"s" * 16, voice=True)
            steps = self._of_sender
        done = len(steps) if self._chance.random() < 0.7 else int(self._chance.integers(len(steps)))
        for step in steps[:done]:
            await self._decoded(self._session.receive_ctl(step, self._now))

    async def _decoded(self, events: list[Event]) -> list[Event]:
        """Have pictures and keypoints decoded where a receiver does that: not on the event loop."""
        session = self._session
        if not isinstance(session, ReceiverSession):
            return events
        happened: list[Event] = []
        for event in events:
            happened.append(event)
            try:
                if isinstance(event, SourcePicture):
                    await asyncio.to_thread(pictures.decode, event.data)
                    happened += session.picture_taken(event, self._now)
                elif isinstance(event, KeypointsArrived):
                    happened += session.keypoints_decoded(event, await asyncio.to_thread(event.decode))
            except PeerError as error:
                happened += (
                    session.picture_broken(event, str(error))
                    if isinstance(event, SourcePicture)
                    else session.keypoints_broken()
                )
        return happened

    def input(self) -> bytes:
        """Return the channel's number and the message."""
        # Of control messages the first broken one is the last.
        channel = int(self._chance.choice([_CTL, _KP, _VOICE], p=[0.2, 0.5, 0.3]))
        return bytes([channel]) + self._corpora[channel].next(MAX_CTL_MESSAGE + 8)

    async def hit(self, data: bytes) -> object:
        """Send `data`, and return what can be seen of how that was taken."""
        session = self._session
        assert session is not None
        self._now += 0.1
        if data[0] == _KP and isinstance(session, ReceiverSession):
            events = session.receive_kp(data[1:], self._now)
        elif data[0] == _VOICE and isinstance(session, ReceiverSession):
            events = session.receive_voice(data[1:], self._now)
        else:
            events = session.receive_ctl(data[1:], self._now)
        events = await self._decoded(events)
        session.tick(self._now)
        session.outgoing()
        kinds = [getattr(event, "reason", type(event).__name__) for event in events]
        self._corpora[data[0]].learn(data[1:], (session.state, *kinds))
        return f"{session.state.name}: {', '.join(kinds)}"

    async def close(self) -> None:
        """Hold nothing."""


def _as_jpeg(picture: Pictures) -> bytes:
    """Return what a sender sends whose Pillow knows no AV1."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG")
    return file.getvalue()


class _Later(SystemClock):
    """Each request comes a minute after the one before, so that no wrong token locks the next one out."""

    def __init__(self) -> None:
        self.moment = 0.0

    def now(self) -> float:
        return self.moment


class HttpTarget:
    """A signaling server, which gets requests with the true token and others, over TCP."""

    name = "HTTP requests"

    def __init__(self, chance: Chance) -> None:
        self._chance, self._clock = chance, _Later()
        self._server: SignalingServer | None = None
        self._token = os.urandom(8).hex()

    @property
    def alive(self) -> bool:
        """Whether it still listens."""
        return self._server is not None

    async def renew(self) -> None:
        """Put another one in its place."""
        self._server = SignalingServer(
            "127.0.0.1", 0, self._token, lambda _: None, clock=self._clock, busy=lambda: False
        )
        await self._server.__aenter__()
        link = Link()
        offer = (await link.offer()).encode()
        await link.close()
        seeds = [self._request(b"POST /whip", offer), self._request(b"GET /stats"), self._request(b"GET /")]
        self._corpus = Corpus([*seeds, self._request(b"DELETE /session/abcdefghijkl")], self._chance)

    def _request(self, line: bytes, body: bytes = b"") -> bytes:
        assert self._server is not None
        return (
            line + b" HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer " % self._server.port
            + self._token.encode() + b"\r\nContent-Type: application/sdp\r\nConnection: close\r\n"
            + b"Content-Length: %d\r\n\r\n" % len(body) + body
        )  # fmt: skip

    def input(self) -> bytes:
        """Return what to send next."""
        data = self._corpus.next(1 << 17)
        head, blank, body = data.partition(b"\r\n\r\n")
        if self._chance.random() < 0.8 and blank and b"POST" in head:
            # The length sent is the true one, so that the body is looked at.
            lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
            data = b"\r\n".join([*lines, b"Content-Length: %d" % len(body)]) + blank + body
        return data

    async def hit(self, data: bytes) -> object:
        """Send `data`, and return what can be seen of how that was taken."""
        assert self._server is not None
        self._clock.moment += _LATER
        reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        try:
            writer.write(data)
            answer = await asyncio.wait_for(reader.read(200), _ANSWER_SECONDS)
        except (ConnectionError, TimeoutError):
            answer = b""
        finally:
            writer.close()
        if self._server._link is not None:
            await self._server._link.close()
        self._corpus.learn(data, answer[9:12] + data[:4])
        return answer[9:12].decode(errors="replace")

    async def close(self) -> None:
        """Release what it holds."""
        if self._server is not None:
            await self._server.__aexit__()
