"""Calls over a real coturn. Between two networks that reach nothing but the relay, where such can be made."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.harness.processes import ANY_PORT, Process
from receiver.__main__ import main as receiver_main
from receiver.http.signaling import SignalingServer
from sender.calling import connect
from shared.errors import KeycastError, RequestError
from shared.transport import relay
from shared.transport.datachannel import Link
from shared.transport.servers import DIRECT, IceOptions, ice_options
from tests.coturn import start_coturn

TURNSERVER = shutil.which("turnserver")
TOKEN, USER, PASSWORD = "correct-horse", "alice", "wonderland"
SECONDS = 120.0
pytestmark = [pytest.mark.slow, pytest.mark.skipif(TURNSERVER is None, reason="needs coturn")]


@dataclass
class Coturn:
    """A coturn with a configuration of its own; `within` are the words that run it in another network."""

    folder: Path
    host: str = "127.0.0.1"
    other: str = "127.0.0.1"
    within: Sequence[str] = ()

    def __post_init__(self) -> None:
        self.log = self.folder / "turn.log"
        self.process, self.port = start_coturn(self._words, self.log)

    def _words(self, port: int) -> list[str]:
        settings = f"""
            listening-ip={self.host}
            relay-ip={self.other}
            listening-port={port}
            no-tls
            no-dtls
            no-cli
            lt-cred-mech
            user={USER}:{PASSWORD}
            realm=example.org
            allow-loopback-peers
            simple-log
            log-file=stdout
            pidfile={self.folder}/turn.pid
            userdb={self.folder}/turn.db
        """
        file = self.folder / "turn.conf"
        file.write_text("\n".join(map(str.strip, settings.splitlines())))
        return [*self.within, str(TURNSERVER), "-c", str(file)]

    @property
    def url(self) -> str:
        return f"turn:{self.host}:{self.port}"

    def ice(self, *ways: str, password: str = PASSWORD, relay_only: bool = True) -> IceOptions:
        """Options for this server, reached in each of `ways`, such as "?transport=tcp"."""
        urls = [f"{self.url}{way}" for way in ways or ("",)]
        return ice_options(urls, USER, password, relay_only=relay_only)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def until(true: Callable[[], object], seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def coturn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Coturn]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    server = Coturn(tmp_path)
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def silent_port(kind: socket.SocketKind = socket.SOCK_DGRAM) -> Iterator[int]:
    """A UDP port that takes everything and answers nothing, or a TCP port that nobody listens at."""
    with socket.socket(socket.AF_INET, kind) as silent:
        silent.bind(("127.0.0.1", 0))
        yield silent.getsockname()[1]


async def exchanged(sender: Link, receiver: Link) -> None:
    """Both channels carry: a large message the reliable way, a small one the other."""
    sender.send_ctl(b"picture" * 1000)
    assert await asyncio.wait_for(receiver.recv(), SECONDS) == ("ctl", b"picture" * 1000)
    assert receiver.send_kp(b"keypoints")
    assert await asyncio.wait_for(sender.recv(), SECONDS) == ("kp", b"keypoints")


@pytest.mark.parametrize("way", ["", "?transport=tcp"])
@pytest.mark.parametrize("both", [True, False])
async def test_a_link_over_the_relay_alone(coturn: Coturn, way: str, both: bool) -> None:
    ice, links = coturn.ice(way), asyncio.Queue[Link]()
    there = ice if both else coturn.ice(way, relay_only=False)
    async with SignalingServer("127.0.0.1", 0, TOKEN, links.put_nowait, ice=there) as server:
        here = await connect(server.url, TOKEN, ice)
        other = await links.get()
        assert (here.path, other.path) == ("relay", "relay")
        await exchanged(here, other)
        await here.close()
        await other.close()
        assert (here.path, other.path) == ("relay", "relay")


async def test_relay_only_tells_no_address_of_this_machine(coturn: Coturn) -> None:
    link = Link(coturn.ice())
    sdp = await link.offer()
    await link.close()
    candidates = [line.split() for line in sdp.splitlines() if line.startswith("a=candidate:")]
    assert [words[7] for words in candidates] == ["relay"]
    assert candidates[0][8:12] == ["raddr", "0.0.0.0", "rport", "9"]


async def test_where_there_is_a_direct_way_it_is_taken(coturn: Coturn) -> None:
    links: asyncio.Queue[Link] = asyncio.Queue()
    async with SignalingServer("127.0.0.1", 0, TOKEN, links.put_nowait) as server:
        here = await connect(server.url, TOKEN, coturn.ice(relay_only=False))
        assert (here.path, (await links.get()).path) == ("direct", "direct")
        assert here.ice_problem is None
        await here.close()


async def test_the_next_server_is_asked_where_one_is_silent_or_refuses(coturn: Coturn) -> None:
    with silent_port() as silent, silent_port(socket.SOCK_STREAM) as nobody:
        for bad in (f"turn:127.0.0.1:{silent}", f"turn:127.0.0.1:{nobody}?transport=tcp"):
            link = Link(ice_options([bad, coturn.url], USER, PASSWORD, relay_only=True))
            assert " typ relay " in await link.offer()
            assert link.ice_problem is None
            await link.close()


async def test_a_wrong_password_is_told_in_one_sentence(coturn: Coturn) -> None:
    for relay_only in (True, False):
        link = Link(coturn.ice(password="looking-glass", relay_only=relay_only))
        with pytest.raises(
            RequestError, match=rf"^The TURN server {coturn.url} rejected the user name or the pass"
        ):
            await link.offer()
        await link.close()


async def test_a_receiver_answers_without_its_relay_where_it_may(coturn: Coturn) -> None:
    links, said = asyncio.Queue[Link](), list[str]()
    wrong = coturn.ice(password="looking-glass", relay_only=False)
    async with SignalingServer("127.0.0.1", 0, TOKEN, links.put_nowait, ice=wrong, say=said.append) as server:
        here = await connect(server.url, TOKEN)
        assert here.path == "direct"
        assert len(said) == 1
        assert "rejected the user name or the password" in said[0]
        await here.close()
    never = coturn.ice(password="looking-glass")
    async with SignalingServer("127.0.0.1", 0, TOKEN, links.put_nowait, ice=never, say=said.append) as server:
        with pytest.raises(KeycastError, match="only calls over a relay, and has none at the moment"):
            await connect(server.url, TOKEN)
        assert said[-1].startswith("a call was refused: The TURN server")


async def test_silent_servers_are_told_and_cost_five_seconds_at_most() -> None:
    began = time.monotonic()
    with silent_port() as silent:
        alone = Link(ice_options([f"turn:127.0.0.1:{silent}"], USER, PASSWORD, relay_only=True))
        beside = Link(ice_options([f"stun:127.0.0.1:{silent}", f"turn:127.0.0.1:{silent}"], USER, PASSWORD))
        reflexive = Link(ice_options([f"stun:127.0.0.1:{silent}"]))
        failed, offer, _ = await asyncio.gather(
            alone.offer(), beside.offer(), reflexive.offer(), return_exceptions=True
        )
    assert time.monotonic() - began < 25
    assert isinstance(failed, KeycastError)
    assert not isinstance(failed, RequestError)
    assert "does not answer; check the address, and whether a firewall lets UDP through." in str(failed)
    assert " typ host" in str(offer)
    assert str(beside.ice_problem) == str(failed)
    assert "The STUN server" in str(reflexive.ice_problem)
    for link in (alone, beside, reflexive):
        await link.close()


async def test_what_cannot_be_reached_is_told_at_once() -> None:
    with silent_port(socket.SOCK_STREAM) as nobody:
        for url, why in (
            (f"turn:127.0.0.1:{nobody}?transport=tcp", "Connection refused"),
            ("turn:nowhere.invalid", "cannot be reached"),
        ):
            link = Link(ice_options([url], USER, PASSWORD, relay_only=True))
            with pytest.raises(KeycastError, match=why):
                await link.offer()
            await link.close()


async def test_a_relay_that_dies_holds_nobody_up_at_the_end(coturn: Coturn) -> None:
    links: asyncio.Queue[Link] = asyncio.Queue()
    async with SignalingServer("127.0.0.1", 0, TOKEN, links.put_nowait, ice=coturn.ice()) as server:
        here, other = await connect(server.url, TOKEN, coturn.ice()), await links.get()
        coturn.kill()
        began = time.monotonic()
        await asyncio.gather(here.close(), other.close())
        # aioice would wait for the relay's answers far longer.
        assert time.monotonic() - began < 30
        assert here.ended
        assert other.ended


def test_a_receiver_finds_a_wrong_password_before_anybody_calls(
    coturn: Coturn, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["--ice-server", coturn.url, "--turn-user", USER, "--turn-password", "looking-glass"]
    assert receiver_main(["--view", "none", "--listen", ":0", *words]) == 2
    error = capfd.readouterr().err
    assert error.startswith(f"error: The TURN server {coturn.url} rejected the user name or the password")
    assert error.count("\n") == 1
    assert PASSWORD not in error


def test_several_servers_are_asked_through_a_name_that_aioice_has() -> None:
    with relay.gathering(DIRECT):
        pass
    with relay.gathering(ice_options(["turn:a"], USER, PASSWORD)):
        assert relay.aioice.ice.relayed_candidate.__name__ == "race"


@dataclass(frozen=True)
class Networks:
    """Where the sender, the receiver and the relay between them run; `url` is "" for the receiver's own."""

    sender: Sequence[str]
    receiver: Sequence[str]
    listen: str
    url: str
    coturn: Coturn
    apart: bool


_FORWARD = """
import asyncio, sys
async def pump(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
async def serve(reader, writer):
    there, out = await asyncio.open_connection(sys.argv[3], 8470)
    await asyncio.gather(pump(reader, out), pump(there, writer), return_exceptions=True)
async def main():
    await (await asyncio.start_server(serve, sys.argv[1], int(sys.argv[2]))).serve_forever()
asyncio.run(main())
"""


def ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True, capture_output=True)


def within(name: str) -> list[str]:
    return ["ip", "netns", "exec", name]


def may_make_networks() -> bool:
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"keycast-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode == 0
    if made:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
    return made


@pytest.fixture
def networks(tmp_path: Path) -> Iterator[Networks]:
    """Two networks with only a relay, and a forwarder of the set-up's HTTP, between them; or one machine."""
    with ExitStack() as stack:
        if not may_make_networks():
            coturn = Coturn(tmp_path)
            stack.callback(coturn.kill)
            yield Networks((), (), ANY_PORT, "", coturn, apart=False)
            return
        here, between, there = (f"keycast-{os.getpid()}-{side}" for side in ("s", "m", "r"))
        for name in (here, between, there):
            ip(f"netns add {name}")
            stack.callback(ip, f"netns delete {name}")
            ip(f"-n {name} link set lo up")
        for name, net in ((here, "10.77.1"), (there, "10.77.2")):
            far = f"to-{name[-1]}"
            ip(f"-n {name} link add near type veth peer name {far} netns {between}")
            ip(f"-n {name} address add {net}.1/30 dev near")
            ip(f"-n {between} address add {net}.2/30 dev {far}")
            ip(f"-n {name} link set near up")
            ip(f"-n {between} link set {far} up")
        coturn = Coturn(tmp_path, "10.77.1.2", "10.77.2.2", within(between))
        stack.callback(coturn.kill)
        words = [*within(between), sys.executable, "-c", _FORWARD, "10.77.1.2", "8470", "10.77.2.1"]
        forward = subprocess.Popen(words)
        stack.callback(forward.wait)
        stack.callback(forward.kill)
        yield Networks(
            within(here), within(there), "10.77.2.1:8470", "http://10.77.1.2:8470", coturn, apart=True
        )


def summaries(file: Path, event: str = "summary") -> list[dict[str, Any]]:
    """What was written down at the end of each call, by default of what the sender sent."""
    lines = file.read_text().split("\n")[:-1] if file.exists() else []
    return [values for values in map(json.loads, lines) if values["event"] == event]


def shows(file: Path, call: int) -> bool:
    """Whether the receiver has written down that it showed something in that call."""
    return any(line["call"] == call and line["fps_shown"] for line in summaries(file, "second"))


def has_moved(frames: Path) -> bool:
    """Whether the latest of the frames written so far, behind 128 bytes of header, differs from the first."""
    size = 3 * 256 * 256
    count = (frames.stat().st_size - 128) // size if frames.exists() else 0
    if count < 2:
        return False
    with frames.open("rb") as file:
        file.seek(128)
        first = file.read(size)
        file.seek(128 + (count - 1) * size)
        return file.read(size) != first


@pytest.mark.usefixtures("drawn_people")
def test_whole_calls_whose_only_way_is_the_relay(
    networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other, over UDP and over TCP to the relay; SIGTERM ends the senders in order.

    The second one is a two-way call.
    """
    monkeypatch.setenv("KEYCAST_TOKEN", TOKEN)
    monkeypatch.setenv("KEYCAST_TURN_USER", USER)
    monkeypatch.setenv("KEYCAST_TURN_PASSWORD", PASSWORD)
    if networks.apart:
        reached = ["ip", "-n", networks.sender[-1], "route", "get", "10.77.2.1"]
        assert subprocess.run(reached, capture_output=True, check=False).returncode
    received = tmp_path / "receiver.json"
    words = ["--listen", networks.listen, "--view", "none", "--stats", str(received), "--forecaster", "hold"]
    words += ["--source", "demo2"]
    back = tmp_path / "back.npy"
    # The receiver needs no relay of its own: the sender's reaches it.
    there = Process("receiver", words, networks.receiver)
    try:
        for calls, way in enumerate(("", "?transport=tcp"), 1):
            assert there.answered.wait(SECONDS)
            sent = tmp_path / f"sender-{calls}.json"
            words = ["--source", "demo", "--connect", networks.url or there.url, "--stats", str(sent)]
            words += ["--ice-server", f"{networks.coturn.url}{way}"]
            words += [] if networks.apart else ["--relay-only"]
            words += ["--view", "none", "--output", str(back)] if calls == 2 else []
            here = Process("sender", words, networks.sender)
            try:
                assert here.answered.wait(SECONDS)
                assert here.is_up, here.failure()
                until(lambda calls=calls: shows(received, calls))
                if calls == 2:
                    # The other direction's person stands until they move.
                    until(lambda: has_moved(back))
            finally:
                here.stop(SECONDS)
            assert not here.failed, here.failure()
            until(lambda calls=calls: len(summaries(received)) == calls)
            (ours,), theirs = summaries(sent), summaries(received)[-1]
            assert (ours["path"], theirs["path"]) == ("relay", "relay")
            assert ours["pictures_sent"] >= 1
            assert theirs["frames_observed"] > 0
            assert theirs["packets"] > 0
        (shown,), (answered,) = summaries(sent, "summary_back"), summaries(received, "summary_back")
        assert (shown["path"], answered["path"]) == ("relay", "relay")
        assert answered["pictures_sent"] >= 1
        assert shown["frames_observed"] > 0
    finally:
        there.stop(SECONDS)
    assert not there.failed, there.failure()
