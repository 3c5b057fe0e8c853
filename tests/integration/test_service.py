"""A receiver takes one call after the other, whatever became of the one before; over real sockets."""

import asyncio
import io
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiortc.rtcsctptransport import ReconfigChunk, StreamResetOutgoingParam, tsn_minus_one

from models.forecast.baselines import Hold
from models.lite.layout import DIMENSIONS
from receiver.incoming import Incoming, Models
from receiver.options import ReceiverOptions
from receiver.service import Replying, Service
from receiver.sinks import Sinks
from receiver.sinks.self_view import SelfView
from receiver.stage import Stage
from sender.calling import connect
from sender.pipeline import SenderCall
from sender.reconnecting import first_link
from sender.schedule import Alternate, Redundancy
from shared import interfaces
from shared.codec.keypoint_codec import PaperCodec
from shared.errors import BusyError, KeycastError
from shared.keypoints import Floats, Pictures
from shared.protocol.events import Ended
from shared.protocol.liveness import STALL_SECONDS
from shared.protocol.sender_session import SenderSession
from shared.runtime.console import Console, Part
from shared.runtime.controls import Controls
from shared.transport.datachannel import Link
from shared.transport.lane import MAX_UNCONFIRMED
from shared.transport.pairing import call_url
from tests.integration.hostile import CTL, KP, RawPeer, Through, received
from tests.integration.world import CODECS, PICTURE, TERMS, Backbone, FakeClock, Source, VirtualExecutor

pytestmark = pytest.mark.slow

TOKEN = "correct-horse"


class Screen:
    """Counts what it is shown, until the disk is full."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.full = False

    def open(self) -> None:
        pass

    def write(self, number: int, picture: Pictures) -> None:  # noqa: ARG002
        if self.full:
            raise KeycastError("Writing call.mp4 failed: No space left on device.")
        self.numbers.append(number)

    def close(self) -> None:
        pass


class Fragile(Backbone):
    """Cannot draw while `draws` is False."""

    draws = True

    def render(self, source: interfaces.Source, keypoints: Floats) -> Pictures:
        if not self.draws:
            raise RuntimeError("the network broke\nwith details")
        return super().render(source, keypoints)


@dataclass
class Serving:
    """A receiver's service, what it shows and says, and where it listens."""

    task: "asyncio.Task[int]"
    sink: Screen
    backbone: Fragile
    out: io.StringIO
    err: io.StringIO
    url: str

    async def said(self, text: str) -> None:
        async with asyncio.timeout(20):
            while text not in self.out.getvalue() + self.err.getvalue():
                assert not self.task.done(), self.task
                await asyncio.sleep(0.02)

    async def shows(self) -> None:
        before = len(self.sink.numbers)
        async with asyncio.timeout(20):
            while len(self.sink.numbers) < before + 5:
                assert not self.task.done(), self.task
                await asyncio.sleep(0.02)


@asynccontextmanager
async def serving(folder: Path, replying: Replying | None = None) -> AsyncIterator[Serving]:
    sink, backbone, out, err = Screen(), Fragile(), io.StringIO(), io.StringIO()
    with ThreadPoolExecutor(1) as inference, ThreadPoolExecutor(1) as output:
        options = ReceiverOptions("127.0.0.1", 0, TOKEN, stats=folder / "stats.jsonl", audio=False)
        sinks, controls = Sinks([sink]), Controls()
        service = Service(
            options,
            Incoming(
                options, Models(backbone, CODECS, Hold(), None), sinks,
                inference=inference, output=output, decoding=output, sound=output,
            ),
            Stage(sinks, None, controls, SelfView(controls), wants_sound=False),
            output,
            Console(out, err),
            replying=replying,
        )  # fmt: skip
        task = asyncio.create_task(service.serve())
        while "http://127.0.0.1:" not in out.getvalue():
            await asyncio.sleep(0.02)
        port = out.getvalue().partition("http://127.0.0.1:")[2].split()[0].rstrip("/.,")
        try:
            yield Serving(task, sink, backbone, out, err, call_url(f"http://127.0.0.1:{port}"))
        finally:
            service._hang_up()
            await asyncio.wait({task}, timeout=60)


@asynccontextmanager
async def calling(there: Serving, *, both: bool = False) -> AsyncIterator[tuple[Link, "asyncio.Task[Ended]"]]:
    link = await first_link(lambda: connect(there.url, TOKEN, two_way=both), FakeClock())
    call = SenderCall(
        connection=link,
        session=SenderSession(TERMS, PaperCodec(DIMENSIONS), PICTURE, both=both),
        source=Source(10**6),
        backbone=Backbone(),
        make_scheduler=lambda _: Alternate(TERMS.schedule, 3),
        redundancy=Redundancy(0),
        clock=FakeClock(),
        inference=VirtualExecutor(0.004),
    )
    task = asyncio.create_task(call.run())
    try:
        yield link, task
    finally:
        call.end("Enough.")
        await asyncio.wait({task}, timeout=60)


def resets(link: Link, *streams: int) -> ReconfigChunk:
    """Asks the other side of `link` to take its streams for closed."""
    sctp: Any = link._peer.sctp
    request = StreamResetOutgoingParam(
        sctp._reconfig_request_seq, 0, tsn_minus_one(sctp._local_tsn), list(streams)
    )
    chunk = ReconfigChunk()
    chunk.params.append((13, bytes(request)))
    return chunk


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


async def test_a_peer_that_closes_the_control_channel_ends_its_own_call_alone(tmp_path: Path) -> None:
    async with serving(tmp_path) as there:
        async with calling(there) as (link, _):
            await there.shows()
            # Nor does it answer what it is asked for in turn.
            link._peer.sctp._receive_chunk = ignore  # type: ignore[union-attr, method-assign]
            await RawPeer(link).chunks(resets(link, CTL))
            # It might still come back; the next one who calls has the receiver.
            assert await link.recv() is None
        async with calling(there) as _:
            await there.shows()


async def test_a_call_that_fails_inside_is_not_the_last_one(tmp_path: Path) -> None:
    async with serving(tmp_path) as there:
        async with calling(there) as (_, task):
            await there.shows()
            there.backbone.draws = False
            await there.said("The call failed here: RuntimeError: the network broke\n")
            assert await task == Ended("The receiver had to stop.", ok=False)
        there.backbone.draws = True
        async with calling(there) as _:
            await there.shows()


class Watched:
    """A reply, for who has ended his own video and goes on watching until it `ends`."""

    speaks = False

    def __init__(self) -> None:
        self.is_lively, self.ends = True, asyncio.Event()

    def begin(self, _: object) -> "Watched":
        return self

    async def finish(self, _: Ended) -> None:
        await self.ends.wait()
        self.is_lively = False

    def end(self, _: str) -> None:
        self.ends.set()

    def live(self) -> None:
        pass

    def status(self) -> list[Part]:
        return []

    def figures(self) -> None:
        pass

    async def close(self) -> None:
        pass


async def test_who_goes_on_watching_has_the_receiver_busy_for_others(tmp_path: Path) -> None:
    watched = Watched()
    async with serving(tmp_path, watched) as there:
        async with calling(there, both=True) as _:
            await there.shows()
        # That one's video has ended, in order, long enough ago to count as silent by itself.
        await asyncio.sleep(STALL_SECONDS + 0.5)
        with pytest.raises(BusyError):
            await connect(there.url, TOKEN)
        watched.ends.set()
        async with calling(there) as _:
            await there.shows()


async def test_a_sink_that_fails_is_the_end(tmp_path: Path) -> None:
    async with serving(tmp_path) as there, calling(there) as _:
        await there.shows()
        there.sink.full = True
        with pytest.raises(KeycastError, match="No space left"):
            await asyncio.wait_for(asyncio.shield(there.task), 20)


@pytest.mark.parametrize("streams", [(CTL,), (KP,), (KP, CTL)])
@pytest.mark.parametrize("side", ["sender", "receiver"])
async def test_a_channel_that_is_being_closed_is_the_end_of_the_link(
    call_through: Through, side: str, streams: tuple[int, ...]
) -> None:
    """From either side, and answered or not: nobody is left with half a connection."""
    async with call_through() as call:
        other, victim = (call.receiver, call.sender) if side == "sender" else (call.sender, call.receiver)
        other._peer.sctp._receive_chunk = ignore
        await RawPeer(other).chunks(resets(other, *streams))
        assert await received(victim) is None
        assert victim.reason == "The other side has closed a channel."
        victim.send_ctl(b"into the void")
        assert not victim.send_kp(b"into the void")


async def ignore(_: object) -> None:
    pass


async def test_a_channel_found_closing_is_the_end_of_the_link_too(call_through: Through) -> None:
    """However it came to be so."""
    async with call_through() as call:
        call.receiver._ctl._setReadyState("closing")
        call.receiver.send_ctl(b"a report")
        assert await received(call.receiver) is None
        assert "closed a channel" in call.receiver.reason


async def test_an_association_that_is_shut_down_is_the_end_in_order(call_through: Through) -> None:
    async with call_through() as call:
        await RawPeer(call.sender).chunks(b"\7\0\0\x08\0\0\0\0")
        assert await received(call.receiver) is None
        assert call.receiver.reason == ""


async def test_a_peer_that_takes_no_message_of_our_size_is_left(call_through: Through) -> None:
    async with call_through() as call:
        # What `a=max-message-size:10` in a session description comes to.
        call.receiver._peer.sctp._remote_max_message_size = 10
        call.receiver.send_ctl(bytes(1000))
        assert await received(call.receiver) is None
        assert call.receiver.reason == "The other side does not accept what it is sent."


async def test_a_peer_that_confirms_nothing_is_left(call_through: Through) -> None:
    async with call_through() as call:
        # It hears all, and says nothing.
        call.sender._peer.sctp._handle_data = ignore
        for _ in range(2 * MAX_UNCONFIRMED):
            call.receiver.send_ctl(np.random.default_rng(0).bytes(100))
            await asyncio.sleep(0)
        assert await received(call.receiver) is None
        assert call.receiver.reason == "The other side does not acknowledge what it is sent."
