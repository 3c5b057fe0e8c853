"""Log of a call with `--debug`: its whole story, and nothing that should stay secret."""

import asyncio
import itertools
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import numpy as np
import pytest

from models.forecast.baselines import Hold
from models.lite.layout import DIMENSIONS, LAYOUT
from receiver.call_admission import CallAdmission
from receiver.http.signaling import SignalingServer
from receiver.pipeline import ReceiverCall
from receiver.playout import Playout
from receiver.renderer import Renderer
from sender.calling import connect
from sender.pipeline import SenderCall
from sender.reconnecting import Reconnecting
from sender.schedule import Alternate, Redundancy
from shared.clock import SystemClock
from shared.codec.keypoint_codec import PaperCodec
from shared.concealment import Concealer
from shared.constants import FPS
from shared.errors import KeycastError
from shared.keypoints import Pictures
from shared.protocol.receiver_session import ReceiverSession
from shared.protocol.sender_session import SenderSession
from shared.runtime.logs import debug_log
from shared.transport import datachannel
from shared.transport.datachannel import Link
from tests.integration.world import CODECS, PICTURE, TERMS, Backbone, Sink

TOKEN = "correct-horse-battery"
SECRET = b"sixteen secrets!"
# What each side tells comes in order; the two are interleaved as it happens.
SENDER = [
    r"signaling: http://127\S+ answers 401",
    r"transport: connection 2: our candidate udp \S+ port \d+ host",
    r"signaling: offering a call to http://127",
    r"signaling: http://127\S+ answers 201",
    r"transport: connection 2: the other side's candidate udp",
    r"transport: connection 2: ICE checking",
    r"transport: connection 2: DTLS connecting",
    r"transport: connection 2: DTLS connected",
    r"transport: connection 2: open, \S+ port \d+ \(host, udp\) to",
    r"session: sender: hello with .*fake",
    r"session: sender: START -> HELLO",
    r"session: sender: the receiver forecasts with 'hold', wants a picture",
    r"pictures: sending picture 0 into slot 0, \d+ bytes",
    r"session: sender: HELLO -> PICTURE",
    r"pictures: the receiver has picture 0",
    r"session: sender: PICTURE -> STREAMING",
    r"call: Report\(packets=",
    r"transport: connection 2: closing",
    r"call: LIVELY -> AWAY \(GONE\)",
    r"call: calling again in 0\.\d s",
    r"call: AWAY -> TRYING",
    r"signaling: offering a call to http://127",
    r"session: sender: hello over a new connection, to take the call up",
    r"session: sender: STREAMING -> HELLO",
    r"session: sender: HELLO -> STREAMING",
    r"call: TRYING -> LIVELY \(LINKED\)",
    r"session: sender: ended in order: Enough \\x1b\[2J",
    r"session: sender: STREAMING -> ENDED",
]
RECEIVER = [
    r"signaling: 127\.0\.0\.1: POST /whip: 401 Wrong token",
    r"signaling: 127\.0\.0\.1: GET an unknown path: 404",
    r"transport: connection 3: the other side's candidate udp",
    r"transport: connection 3: our candidate udp",
    r"signaling: 127\.0\.0\.1: POST /whip: 201",
    r"transport: connection 3: ICE checking",
    r"transport: connection 3: DTLS connected",
    r"transport: connection 3: open, ",
    r"admission: a connection has opened \(direct\)",
    r"session: receiver: hello with .*fake",
    r"session: receiver: START -> PICTURE",
    r"pictures: picture 0 for slot 0 has come, \d+ bytes",
    r"pictures: picture 0 is in slot 0",
    r"session: receiver: PICTURE -> STREAMING",
    r"call: Report\(packets=.*playout delay \d+ ms",
    r"call: LIVELY -> AWAY \(GONE\)",
    r"admission: the call's own sender is back",
    r"session: receiver: the call goes on over a new connection",
    r"call: AWAY -> LIVELY \(LINKED\)",
    r"session: receiver: the other side says bye",
    r"session: receiver: STREAMING -> ENDED",
]


class Camera:
    """Never ends."""

    live, scene = True, 0

    def frame(self, n: int) -> Pictures | None:
        return np.full((256, 256, 3), n % 256, np.uint8)

    def close(self) -> None:
        pass


class Screen(Sink):
    """Shows nothing; works in any thread."""

    def write(self, number: int, picture: Pictures, note: str) -> None:
        pass


class Both:
    """Both ends of a call over real connections on this machine; `passwords` are those of ICE."""

    def __init__(self, threads: tuple[ThreadPoolExecutor, ThreadPoolExecutor]) -> None:
        self.threads = threads
        self.admission = CallAdmission()
        self.passwords: list[str] = []

    def note(self, link: Link) -> Link:
        for description in (link._peer.localDescription, link._peer.remoteDescription):
            self.passwords += re.findall("a=ice-pwd:(.+)", description.sdp.replace("\r", ""))
        return link

    async def receive(self) -> ReceiverCall:
        pending = await self.admission.next()
        assert pending is not None
        call = ReceiverCall(
            connection=pending.link,
            session=ReceiverSession(TERMS, CODECS, forecaster="hold", secret=SECRET),
            renderer=Renderer(Backbone(), Concealer(Hold(), LAYOUT)),
            sink=Screen(),
            playout=Playout(FPS),
            clock=SystemClock(),
            inference=self.threads[0],
            output=self.threads[0],
            decoding=self.threads[0],
            hold=20.0,
        )
        self.admission.call = call
        await call.run(pending.hello)
        return call

    async def send(self, url: str) -> SenderCall:
        async def again() -> Link:
            return self.note(await connect(url, TOKEN))

        call = SenderCall(
            connection=await again(),
            session=SenderSession(TERMS, PaperCodec(DIMENSIONS), PICTURE),
            source=Camera(),
            backbone=Backbone(),
            make_scheduler=lambda _: Alternate(TERMS.schedule, 3),
            redundancy=Redundancy(0),
            clock=SystemClock(),
            inference=self.threads[1],
            again=Reconnecting(again, 20.0),
        )
        ending = asyncio.create_task(self._disturb(call))
        await call.run()
        await ending
        return call

    async def _disturb(self, call: SenderCall) -> None:
        while call.summary.report.packets < 2:
            await asyncio.sleep(0.05)
        await call._reconnecting.connection.close()
        while call.summary.reconnects == 0:
            await asyncio.sleep(0.05)
        call.end("Enough \x1b[2J")


def check_story(story: list[str], log: str) -> None:
    at = 0
    for expected in story:
        found = re.compile(rf"keycast\.{expected}").search(log, at)
        assert found is not None, f"{expected} is not in what follows: {log[at:]}"
        at = found.end()


async def test_the_log_tells_the_story_of_a_call_in_order_and_no_secret(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(datachannel, "_count", itertools.count(1))
    with ThreadPoolExecutor(1) as here, ThreadPoolExecutor(1) as there, debug_log(True):
        both = Both((here, there))
        arrived = both.admission.arrived
        server = SignalingServer(
            "127.0.0.1", 0, TOKEN, lambda link: arrived(both.note(link)), busy=lambda: both.admission.busy
        )
        async with server, asyncio.timeout(60):
            with pytest.raises(KeycastError):
                await connect(server.url, "wrong-horse-battery")
            async with aiohttp.ClientSession() as web, web.get(f"{server.url}/{TOKEN}") as answer:
                assert answer.status == 404
            receiving = asyncio.create_task(both.receive())
            await both.send(server.url)
            await receiving
    log = capsys.readouterr().err
    check_story(SENDER, log)
    check_story(RECEIVER, log)
    assert len(set(both.passwords)) == 4
    secrets = [TOKEN, "wrong-horse-battery", SECRET.decode(), SECRET.hex(), repr(SECRET), *both.passwords]
    assert [secret for secret in secrets if secret in log] == []
    assert "ice-ufrag" not in log
    # Nor a picture, whole or in pieces, however it might be written.
    written = [PICTURE[at : at + 8] for at in range(0, len(PICTURE) - 8, 8)]
    assert len(written) > 2
    assert not [part for part in written if repr(part)[2:-1] in log or part.hex() in log]
    assert "\x1b" not in log
