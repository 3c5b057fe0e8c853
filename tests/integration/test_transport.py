"""The transport over real aiortc connections on this machine."""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import aioice.ice
import pytest
import pytest_asyncio
from aiohttp import web
from yarl import URL

from receiver.http.signaling import SignalingServer
from sender.calling import connect
from shared.constants import MAX_CTL_MESSAGE, MAX_PACKET
from shared.errors import KeycastError, PeerError, RequestError
from shared.transport import aiortc_patches, token_file
from shared.transport.datachannel import Link

pytestmark = pytest.mark.slow

TOKEN = "correct-horse"
SDP = {"Content-Type": "application/sdp"}
AUTH = {"Authorization": f"Bearer {TOKEN}"}


@dataclass
class Receiver:
    server: SignalingServer
    links: asyncio.Queue[Link]
    opened: list[Link] = field(default_factory=list)

    async def call(self) -> tuple[Link, Link]:
        """Return the sender's and the receiver's end of a new call."""
        ends = await connect(self.server.url, TOKEN), await self.links.get()
        self.opened += ends
        return ends


@pytest_asyncio.fixture
async def receiver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Receiver]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    links: asyncio.Queue[Link] = asyncio.Queue()
    async with SignalingServer("127.0.0.1", 0, TOKEN, links.put_nowait, stats=lambda: {"fps": 30}) as server:
        receiver = Receiver(server, links)
        yield receiver
        for link in receiver.opened:
            await link.close()


async def received(link: Link) -> tuple[str, bytes] | None:
    return await asyncio.wait_for(link.recv(), 20)


async def test_hello_there_and_back_and_every_byte_counted(receiver: Receiver) -> None:
    sender, other = await receiver.call()
    sender.send_ctl(b"hello")
    assert await received(other) == ("ctl", b"hello")
    other.send_ctl(bytes(MAX_CTL_MESSAGE))
    assert await received(sender) == ("ctl", bytes(MAX_CTL_MESSAGE))
    before = sender.wire_sent
    for n in range(6):
        assert sender.send_kp(bytes([n]) * MAX_PACKET)
    assert sorted([await received(other) for _ in range(6)]) == [
        ("kp", bytes([n]) * MAX_PACKET) for n in range(6)
    ]
    assert await sender.drained()
    # 93 bytes of headers a message, IP included, and nothing but small change besides.
    assert 0 <= sender.wire_sent - before - 6 * (MAX_PACKET + 93) < 1000
    assert sender.app_sent == other.app_received == 5 + 6 * MAX_PACKET
    assert sender.app_received == other.app_sent == MAX_CTL_MESSAGE
    for one, two in ((sender, other), (other, sender)):
        assert one.wire_sent > one.app_sent
        # A consent check may just be on its way.
        assert one.wire_sent == pytest.approx(two.wire_received, abs=300)


@pytest.mark.parametrize("side", [0, 1])
async def test_a_close_from_either_side_ends_both_after_the_last_word(receiver: Receiver, side: int) -> None:
    ends = await receiver.call()
    ends[side].send_ctl(b"bye")
    assert await ends[side].drained()
    await ends[side].close()
    other = ends[1 - side]
    assert await received(other) == ("ctl", b"bye")
    assert await received(other) is None
    assert (other.ended, other.reason) == (True, "")
    other.send_ctl(b"late")
    assert not other.send_kp(b"late")
    await other.close()
    await other.close()


async def test_what_cannot_leave_is_dropped_and_not_queued(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender, _ = await receiver.call()

    async def into_the_void(*_: object) -> None:
        return

    monkeypatch.setattr(aioice.ice.StunProtocol, "send_data", into_the_void)
    sent = []
    for _ in range(40):
        sent.append(sender.send_kp(bytes(MAX_PACKET)))
        await asyncio.sleep(0.005)
    assert sent[0]
    assert not any(sent[-15:])
    assert sender._kp.bufferedAmount < 30 * MAX_PACKET
    assert sender.app_sent == sum(sent) * MAX_PACKET


@pytest.mark.parametrize(
    ("channel", "message", "reason"),
    [
        ("kp", bytes(MAX_PACKET + 1), "a keypoint message in fragments"),
        ("ctl", bytes(MAX_CTL_MESSAGE + 1), "message on ctl"),
        ("kp", "text", "message on kp"),
        ("ctl", "text", "message on ctl"),
    ],
)
async def test_text_and_oversize_messages_end_the_link(
    receiver: Receiver, channel: str, message: bytes | str, reason: str
) -> None:
    sender, other = await receiver.call()
    (sender._kp if channel == "kp" else sender._ctl).send(message)
    assert await received(other) is None
    assert reason in other.reason


async def test_an_unexpected_channel_ends_the_link(receiver: Receiver) -> None:
    sender, other = await receiver.call()
    sender._peer.createDataChannel("more")
    assert await received(other) is None
    assert "unexpected channel 'more'" in other.reason


async def test_a_ctl_flood_that_nobody_reads_ends_the_link(receiver: Receiver) -> None:
    sender, other = await receiver.call()
    for count in range(1, 1101):
        sender.send_ctl(b"x")
        # More at once than anybody confirms would end the sending side.
        if count % 500 == 0:
            await sender.drained()
    for _ in range(500):
        if other.ended:
            break
        await asyncio.sleep(0.01)
    assert "faster than they can be read" in other.reason


async def test_a_second_call_is_busy_and_welcome_after_the_first(receiver: Receiver) -> None:
    sender, other = await receiver.call()
    with pytest.raises(KeycastError, match="already has a call"):
        await connect(receiver.server.url, TOKEN)
    await sender.close()
    assert await received(other) is None
    await receiver.call()


async def test_a_sender_on_this_machine_needs_no_token(receiver: Receiver) -> None:
    sender, other = await connect(receiver.server.url), await receiver.links.get()
    receiver.opened += [sender, other]
    sender.send_ctl(b"hello")
    assert await received(other) == ("ctl", b"hello")


async def test_a_wrong_token_is_refused_and_after_five_the_right_one_too(receiver: Receiver) -> None:
    for _ in range(5):
        with pytest.raises(RequestError, match="rejected the token"):
            await connect(receiver.server.url, "guess")
    with pytest.raises(KeycastError, match="wait a minute"):
        await connect(receiver.server.url, TOKEN)


async def test_a_receiver_for_the_network_answers_to_its_own_names_and_its_certificates(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    own = socket.gethostname().partition(".")[0]
    known = [
        "192.0.2.7",
        "[2001:db8::1]",
        "localhost",
        own.upper(),
        f"{own}.local",
        "a.example.org",
        "b.test",
    ]
    strange = ["elsewhere.example", "example.org", "a.b.example.org", f"{own}.elsewhere.example"]
    names = ("*.example.org", "b.test")
    async with (
        SignalingServer("0.0.0.0", 0, TOKEN, lambda _: None, names=names) as server,
        aiohttp.ClientSession(headers=AUTH) as http,
    ):
        for host, status in [*((name, 200) for name in known), *((name, 421) for name in strange)]:
            answer = await http.get(f"http://127.0.0.1:{server.port}/stats", headers={"Host": f"{host}:8470"})
            assert answer.status == status, host


async def test_a_sender_that_uses_another_name_is_told_which_to_use(receiver: Receiver) -> None:
    # Systems take it for this machine.
    with pytest.raises(RequestError, match="does not answer to that name"):
        await connect(f"http://0.0.0.0:{receiver.server.port}", TOKEN)
    await receiver.call()


async def test_without_a_receiver_there_is_a_sentence(receiver: Receiver) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(RequestError, match="No receiver answers"):
            await connect(url, TOKEN)
        with pytest.raises(RequestError, match="start one first"):
            await connect(url)
    assert receiver.links.empty()


async def test_a_taken_port_gives_a_sentence_and_spoils_nothing(receiver: Receiver) -> None:
    taken = SignalingServer("127.0.0.1", receiver.server.port, "other", receiver.links.put_nowait)
    with pytest.raises(RequestError, match="it is taken"):
        async with taken:
            pass
    assert token_file.find(receiver.server.url) == (TOKEN, receiver.server.url)


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 0), ("127.0.0.1", 70_000)])
async def test_a_bad_address_gives_a_sentence(host: str, port: int) -> None:
    with pytest.raises(RequestError, match="not an address of this machine"):
        async with SignalingServer(host, port, TOKEN, lambda _: None):
            pass


async def test_a_spoiled_pairing_folder_keeps_no_receiver_from_listening(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "gone"))
    async with SignalingServer("127.0.0.1", 0, TOKEN, lambda _: None) as server:
        assert "cannot be written" in server.unpublished


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (SDP, b"v=0", 401),
        (SDP | {"Authorization": "Bearer "}, b"v=0", 401),
        (AUTH, b"v=0", 415),
        (AUTH | {"Content-Type": "text/plain"}, b"v=0", 415),
        (AUTH | SDP, b"", 400),
        (AUTH | SDP, b"\xff\xfe", 400),
        (AUTH | SDP, b"v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n", 400),
        (AUTH | SDP, b"v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n", 400),
        (AUTH | SDP, bytes(65 * 1024), 413),
    ],
)
async def test_a_bad_offer_has_its_status(
    receiver: Receiver, headers: dict[str, str], body: bytes, status: int
) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{receiver.server.url}/whip", data=body, headers=headers) as response,
    ):
        assert response.status == status
    await receiver.call()


async def test_an_offer_with_a_spoiled_line_is_answered_or_refused() -> None:
    offering = Link()
    lines = (await offering.offer()).splitlines()
    await offering.close()
    refused = 0
    for n, line in enumerate(lines):
        for spoiled in ([], [line.partition(":")[0]], [line, line], [line[:-1] + "\u00ff"]):
            link = Link()
            try:
                await link.answer("\r\n".join(lines[:n] + spoiled + lines[n + 1 :]))
            except PeerError:
                refused += 1
            await link.close()
    assert 0 < refused < 4 * len(lines)


async def test_stats_and_sessions_are_behind_the_token(receiver: Receiver) -> None:
    offering = Link()
    receiver.opened.append(offering)
    url = receiver.server.url
    async with aiohttp.ClientSession() as http:
        assert (await http.get(f"{url}/stats")).status == 401
        assert await (await http.get(f"{url}/stats", headers=AUTH)).json() == {"fps": 30}
        response = await http.post(f"{url}/whip", data=await offering.offer(), headers=AUTH | SDP)
        assert response.status == 201
        assert response.content_type == "application/sdp"
        session = url + response.headers["Location"]
        await offering.accept(await response.text())
        await offering.opened()
        assert (await http.delete(session)).status == 401
        for other in ("other", "%C3%A4", "%ED%A0%80", "%FF"):
            named = URL(f"{url}/session/{other}", encoded=True)
            assert (await http.delete(named, headers=AUTH)).status == 404
        assert (await http.delete(session, headers=AUTH)).status == 200
        assert await received(offering) is None


async def serve(handler: Callable[[web.Request], object]) -> tuple[web.AppRunner, str]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (200, {}, b"<html>"),
        (404, {}, b""),
        (301, {"Location": "/session/1"}, b""),
        (201, SDP, b"v=0"),
        (201, SDP | {"Location": "http://elsewhere.example/session/1"}, b"v=0"),
        (201, SDP | {"Location": "/session/../whip"}, b"v=0"),
        (201, SDP | {"Location": "/session/1"}, b"nonsense"),
        (201, SDP | {"Location": "/session/1"}, b"\xff\xfe"),
        (201, SDP | {"Location": "/session/1"}, bytes(65 * 1024)),
    ],
)
async def test_another_server_is_not_taken_for_a_receiver(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers=headers, body=body)

    runner, url = await serve(answer)
    with pytest.raises(RequestError, match="not a keycast receiver"):
        await connect(url, TOKEN)
    await runner.cleanup()


async def test_a_set_up_that_never_opens_is_tried_twice_and_cleaned_up() -> None:
    seen = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(f"{request.method} {request.path}")
        if request.method == "DELETE":
            return web.Response()
        silent = Link()
        sdp = await silent.answer(await request.text())
        await silent.close()
        return web.Response(status=201, text=sdp, headers=SDP | {"Location": "/session/1"})

    runner, url = await serve(answer)
    with pytest.raises(KeycastError, match=r"two attempts to connect to it timed out \(0 s each\)"):
        await connect(url, TOKEN, timeout=0.2)
    assert seen == ["POST /whip", "DELETE /session/1"] * 2
    await runner.cleanup()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_receiver_sends_its_sender_nowhere_else(status: int) -> None:
    """Whoever answers may mean harm, and the sender may stand in a network that he cannot reach."""
    heard = []

    async def inside(request: web.Request) -> web.Response:
        heard.append(f"{request.method} {request.path} {request.headers.get('Authorization')}")
        return web.Response()

    async def answer(request: web.Request) -> web.Response:
        if request.method == "DELETE":
            return web.Response(status=status, headers={"Location": f"{within}/shut-down"})
        silent = Link()
        sdp = await silent.answer(await request.text())
        await silent.close()
        return web.Response(status=201, text=sdp, headers=SDP | {"Location": "/session/1"})

    hidden, within = await serve(inside)
    runner, url = await serve(answer)
    with pytest.raises(KeycastError, match="two attempts to connect"):
        await connect(url, TOKEN, timeout=0.2)
    assert heard == []
    await runner.cleanup()
    await hidden.cleanup()


async def test_an_answer_is_not_unpacked() -> None:
    """A compressed one may unpack to anything."""

    async def answer(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        link = Link()
        sdp = await link.answer(await request.text())
        await link.close()
        headers = SDP | {"Location": "/session/1", "Content-Encoding": "gzip"}
        return web.Response(status=201, body=gzip.compress(sdp.encode()), headers=headers)

    runner, url = await serve(answer)
    with pytest.raises(RequestError, match="not a keycast receiver"):
        await connect(url, TOKEN, timeout=0.2)
    await runner.cleanup()


async def test_nothing_is_sent_before_the_link_is_open() -> None:
    link = Link()
    assert not link.send_kp(b"early")
    with pytest.raises(KeycastError, match="not open yet"):
        link.send_ctl(b"early")
    with pytest.raises(KeycastError, match="did not open within 0 seconds"):
        await link.opened(timeout=0.01)
    await link.close()


def test_the_guard_is_put_in_once() -> None:
    aiortc_patches.install()
    before = aioice.ice.StunProtocol.datagram_received
    aiortc_patches.install()
    assert aioice.ice.StunProtocol.datagram_received is before


def test_a_machine_without_a_network_still_has_itself() -> None:
    assert aiortc_patches._or_loopback(lambda _v4, _v6: [])(True, True) == ["127.0.0.1"]
    assert aiortc_patches._or_loopback(lambda _v4, _v6: ["192.0.2.1"])(True, True) == ["192.0.2.1"]
