"""Calls that outlive their connection, both sides over links in memory, in virtual time."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytest

from bench.network.memory_link import LoopbackConnection, pair
from models.forecast.baselines import Hold
from models.lite.layout import LAYOUT
from receiver.call_admission import CallAdmission
from receiver.pipeline import ReceiverCall
from receiver.playout import Playout
from receiver.renderer import Renderer
from sender.camera import CameraPausedError
from sender.pipeline import SenderCall
from sender.reconnecting import Reconnecting, first_link
from sender.schedule import Alternate, Redundancy
from shared.concealment import Concealer
from shared.constants import FPS
from shared.errors import BusyError, KeycastError, WrongTokenError
from shared.keypoints import Pictures
from shared.protocol.events import Ended
from shared.protocol.liveness import Phase
from shared.protocol.message_format import pack_message, parse_message
from shared.protocol.messages import Bye, Hello
from shared.protocol.receiver_session import ReceiverSession
from shared.protocol.sender_session import SenderSession
from tests.integration.world import (
    CODECS,
    PICTURE,
    TERMS,
    Backbone,
    FakeClock,
    Sink,
    Source,
    VirtualExecutor,
    VirtualLoop,
    run_virtually,
)

pytestmark = pytest.mark.slow

HOLD = 60.0
FOREVER = 10**6


@dataclass
class Wire:
    """One connection; while `cut`, nothing passes and neither end learns of it."""

    left: LoopbackConnection
    right: LoopbackConnection
    cut: bool = False
    media: ClassVar[bool] = False

    @classmethod
    def new(cls) -> "Wire":
        wire = cls(*pair(media=cls.media))
        for end in (wire.left, wire.right):
            wire._intercept(end)
        return wire

    def _intercept(self, end: LoopbackConnection) -> None:
        send_kp, send_ctl, close = end.send_kp, end.send_ctl, end.close
        send_report = end.send_report

        async def closing() -> None:
            if not self.cut:
                await close()
            # Of what an end does while the wire is cut, the other sees nothing.
            end._ended = True
            end._inbox.close()

        end.send_kp = lambda data: True if self.cut else send_kp(data)  # type: ignore[method-assign]
        end.send_ctl = lambda data: None if self.cut else send_ctl(data)  # type: ignore[method-assign]
        end.send_report = lambda data: self.cut or send_report(data)  # type: ignore[method-assign]
        end.close = closing  # type: ignore[method-assign]


@pytest.fixture(autouse=True, params=[False, True], ids=["messages", "media"])
def media(request: pytest.FixtureRequest) -> None:
    """Have each story told twice: with keypoints as messages, and as media, which nobody acknowledges."""
    Wire.media = request.param


@dataclass
class Place:
    """A receiver's machine: who runs on it may be replaced."""

    sinks: list[Sink] = field(default_factory=list)
    calls: list[ReceiverCall] = field(default_factory=list)
    ends: list[Ended] = field(default_factory=list)
    admission: CallAdmission | None = None
    backbone: Backbone = field(default_factory=Backbone)
    _task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.backbone, self.admission = Backbone(), CallAdmission()
        self._task = asyncio.create_task(self._serve(self.admission))

    def kill(self) -> None:
        """End it as kill -9 does: no last words."""
        assert self._task is not None
        for call in self.calls:
            call._reconnecting.connection.send_ctl = lambda _: None  # type: ignore[method-assign]
        self._task.cancel()
        self.admission = None

    async def stop(self) -> None:
        if self.admission is not None:
            self.admission.close()
        assert self._task is not None
        await asyncio.gather(self._task, return_exceptions=True)

    async def _serve(self, admission: CallAdmission) -> None:
        while (pending := await admission.next()) is not None:
            sink = Sink()
            self.sinks.append(sink)
            call = ReceiverCall(
                connection=pending.link,
                session=ReceiverSession(
                    TERMS, CODECS, False, "hold", bytes([len(self.calls) + 1]) * 16, media=Wire.media
                ),
                renderer=Renderer(self.backbone, Concealer(Hold(), LAYOUT)),
                sink=sink,
                playout=Playout(FPS),
                clock=FakeClock(),
                inference=VirtualExecutor(0.015),
                output=VirtualExecutor(0.001),
                decoding=VirtualExecutor(),
                hold=HOLD,
            )
            self.calls.append(call)
            admission.call = call
            self.ends.append(await call.run(pending.hello))
            admission.call = None


class World:
    """A sender that calls a place again and again; `story` makes the trouble."""

    def __init__(
        self,
        story: Callable[["World"], Coroutine[Any, Any, None]],
        source: Source | None = None,
        give_up: float = 1e9,
    ) -> None:
        self.story = story
        self.source = source or Source(FOREVER)
        self.give_up = give_up
        self.place = Place()
        self.wires: list[Wire] = []
        self.notes: list[str] = []
        self.refusal: KeycastError | None = None
        self.attempts: list[float] = []
        self.ended: Ended | None = None
        self.sending: SenderCall

    def run(self, limit: float = 600.0) -> "World":
        run_virtually(self._run(), limit)
        return self

    async def _run(self) -> None:
        self.place.start()
        self.sending = self.new_sender(await self._connect(), self.source)
        story = asyncio.create_task(self.story(self))
        self.ended = await self.sending.run()
        await story
        await asyncio.sleep(0.5)
        await self.place.stop()
        assert len(asyncio.all_tasks()) <= 2, "a task was left behind"

    def new_sender(self, connection: LoopbackConnection, source: Source) -> SenderCall:
        return SenderCall(
            connection=connection,
            session=SenderSession(TERMS, CODECS["paper"], PICTURE, media=Wire.media),
            source=source,
            backbone=Backbone(),
            make_scheduler=lambda _: Alternate(TERMS.schedule, 3),
            redundancy=Redundancy(0),
            clock=FakeClock(),
            inference=VirtualExecutor(0.004),
            again=Reconnecting(self._connect, self.give_up, self.notes.append, lambda: 0.5),
        )

    async def _connect(self) -> LoopbackConnection:
        self.attempts.append(self.now())
        await asyncio.sleep(0.03)
        admission = self.place.admission
        if self.refusal is not None:
            raise self.refusal
        if admission is None:
            raise KeycastError("No receiver answers.")
        if admission.busy:
            raise KeycastError("The receiver already has a call.")
        self.wires.append(Wire.new())
        admission.arrived(self.wires[-1].right)
        return self.wires[-1].left

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time() - 1000.0

    def values(self, call: int = -1) -> dict[str, Any]:
        return self.place.calls[call].summary.to_map()


def outage(seconds: float, then: float = 4.0) -> Callable[[World], Coroutine[Any, Any, None]]:
    """Cut the connection after three seconds for so long; then the video goes on and ends."""

    async def story(world: World) -> None:
        await asyncio.sleep(3.0)
        world.wires[0].cut = True
        await asyncio.sleep(seconds)
        world.wires[0].cut = False
        await asyncio.sleep(then)
        world.sending.end("Enough.")

    return story


def gap(numbers: list[int]) -> int:
    return int(np.diff(numbers).max())


@pytest.mark.parametrize("seconds", [1.0, 3.0])
def test_a_short_cut_heals_without_a_new_connection_and_the_picture_goes_on(seconds: float) -> None:
    world = World(outage(seconds)).run()
    assert world.ended == Ended("Enough.", ok=True)
    assert (len(world.wires), world.notes) == (1, [])
    values = world.values()
    assert (values["reconnects"], values["frames_dropped"]) == (0, 0)
    assert values["longest_freeze_ms"] <= 50
    assert gap(world.place.sinks[0].numbers) == 1


def test_after_a_long_cut_the_call_goes_on_over_a_new_connection() -> None:
    async def story(world: World) -> None:
        await asyncio.sleep(3.0)
        world.wires[0].cut = True
        await asyncio.sleep(3.0)
        assert world.place.calls[0].phase is Phase.STALLED
        await asyncio.sleep(7.0)
        assert world.place.calls[0].phase is Phase.LIVELY
        world.sending.end("Enough.")

    world = World(story).run()
    assert world.ended == Ended("Enough.", ok=True)
    assert world.place.ends == [world.ended]
    assert world.notes == ["The connection is lost; calling again.", "The call goes on."]
    assert len(world.wires) == 2
    # Nothing is sent twice: one picture, one call, frame numbers and their moments as they were.
    assert len(world.place.backbone.encoded) == 1
    sent, values = world.sending.summary.to_map(), world.values()
    assert (sent["pictures_sent"], sent["reconnects"], values["reconnects"]) == (1, 1, 1)
    assert sent["app_sent"] == sum(wire.left.app_sent for wire in world.wires)
    assert values["app_received"] == sum(wire.right.app_received for wire in world.wires)
    start = world.source.times[0]
    late = [at - start - n / FPS for at, n in zip(world.source.times, world.source.asked, strict=True)]
    assert max(late) < 1 / FPS
    assert values["frames_dropped"] == 0
    assert values["longest_freeze_ms"] <= 50
    assert values["frames_held"] > 30
    # Half a second after the connection was given up, frames flow again.
    away = 3.0 + 5.5
    # Of a call with media, the last sign of life may have been a second before the cut.
    assert away - 1.0 * Wire.media < world.attempts[1] < away + 0.6
    kinds = {n: kind for n, kind, _ in values["shown"]}
    back = min(n for n in range(200, 400) if kinds.get(n) == "observed")
    assert back / FPS < away + 1.2


def test_a_picture_that_was_under_way_is_sent_again_and_no_other() -> None:
    async def story(world: World) -> None:
        await asyncio.sleep(2.0)
        session = world.sending._session
        assert session.send_picture(3, PICTURE)
        world.wires[0].cut = True
        await asyncio.sleep(12.0)
        world.sending.end("Enough.")

    world = World(story).run()
    assert len(world.place.backbone.encoded) == 2
    assert world.sending.summary.to_map()["pictures_sent"] == 2
    assert world.ended == Ended("Enough.", ok=True)


def test_a_receiver_that_starts_again_gets_the_picture_and_the_video_where_it_is() -> None:
    async def story(world: World) -> None:
        await asyncio.sleep(3.0)
        world.wires[0].cut = True
        world.place.kill()
        await asyncio.sleep(4.0)
        world.place.start()
        await asyncio.sleep(6.0)
        world.sending.end("Enough.")

    world = World(story).run()
    assert world.ended == Ended("Enough.", ok=True)
    assert len(world.place.calls) == 2
    assert len(world.place.backbone.encoded) == 1
    sink = world.place.sinks[1]
    # For the new receiver the call begins now; the video does not.
    assert sink.numbers[0] < 12
    assert 8.5 - 1.0 * Wire.media < (256 * (sink.levels[0] < 128) + sink.levels[0]) / FPS < 9.5
    assert world.values()["longest_freeze_ms"] <= 50
    assert world.values()["bad_packets"] == 0
    base = world.sending.summary.to_map()["receiver_frame_0"]
    assert sink.levels[0] == (base + sink.numbers[0]) % 256
    assert world.sending.summary.report.packets > 2


def test_a_sender_that_starts_again_takes_the_place_of_its_silent_self_and_of_no_lively_one() -> None:
    refused: list[str] = []
    second: list[Ended] = []

    async def story(world: World) -> None:
        await asyncio.sleep(3.0)
        with pytest.raises(KeycastError, match="already has a call"):
            await world._connect()
        refused.append("lively")
        world.wires[0].cut = True
        with pytest.raises(KeycastError, match="already has a call"):
            await world._connect()
        await asyncio.sleep(2.0)
        sending = world.new_sender(await world._connect(), Source(90))
        second.append(await sending.run())
        world.sending.end("Enough.")

    world = World(story).run()
    assert refused == ["lively"]
    assert second == [Ended("The video has ended.", ok=True)]
    assert [end.ok for end in world.place.ends] == [False, True]
    assert "silent" in world.place.ends[0].reason
    assert world.place.sinks[1].numbers[0] < 12


def test_a_receiver_that_stays_away_is_given_up() -> None:
    async def story(world: World) -> None:
        await asyncio.sleep(3.0)
        world.wires[0].cut = True
        world.place.kill()

    world = World(story, give_up=120.0).run()
    assert world.ended is not None
    assert not world.ended.ok
    assert "120 seconds" in world.ended.reason
    waits = np.diff(world.attempts[1:])
    assert waits[0] < 1.0
    assert waits.max() < 10.0
    assert 14 <= len(waits) <= 26


def test_a_sender_that_stays_away_is_given_up() -> None:
    async def story(world: World) -> None:
        await asyncio.sleep(3.0)
        world.wires[0].cut = True
        world.sending.end("Enough.")
        await asyncio.sleep(5.0 + HOLD)
        assert world.place.ends == []
        assert world.place.admission is not None
        assert not world.place.admission.busy
        await asyncio.sleep(3.0)

    world = World(story).run()
    (ended,) = world.place.ends
    assert ended == Ended("The sender did not come back within 60 s.", ok=False)


def test_a_wrong_token_ends_a_call_that_only_looked_cut() -> None:
    async def story(world: World) -> None:
        await asyncio.sleep(3.0)
        world.wires[0].cut = True
        world.refusal = WrongTokenError("The receiver refuses the token.")

    world = World(story).run()
    assert world.ended == Ended("The receiver refuses the token.", ok=False)
    assert len(world.attempts) == 1 + 3


def test_only_the_calls_own_secret_takes_it_up_again() -> None:
    said: list[object] = []

    async def story(world: World) -> None:
        await asyncio.sleep(3.0)
        stranger = Wire.new()
        assert world.place.admission is not None
        world.place.admission.arrived(stranger.right)
        stranger.left.send_ctl(pack_message(Hello(TERMS, secret=b"x" * 16)))
        while (message := await stranger.left.recv()) is not None:
            said.append(parse_message(message[1]))
        await asyncio.sleep(1.0)
        world.sending.end("Enough.")

    world = World(story).run()
    assert said == [Bye("The receiver already has a call; wait until it has ended.", ok=False)]
    assert len(world.place.calls) == 1
    assert world.place.ends == [Ended("Enough.", ok=True)]
    assert world.values()["reconnects"] == 0


@pytest.mark.parametrize("hours", [0.6, 5.0, 60.0])
def test_a_call_goes_on_after_both_machines_have_slept(hours: float) -> None:
    async def story(world: World) -> None:
        await asyncio.sleep(3.0)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.leap(hours * 3600)
        await asyncio.sleep(8.0)
        world.sending.end("Enough.")

    world = World(story, Source(10**8)).run(limit=100 * 3600.0)
    assert world.ended == Ended("Enough.", ok=True)
    assert world.place.ends == [world.ended]
    assert len(world.place.backbone.encoded) == 1
    values = world.values()
    assert values["bad_packets"] == 0
    last = [(n, kind) for n, kind, _ in values["shown"]][-90:]
    assert last[-1][0] == pytest.approx((hours * 3600 + 11) * FPS, abs=30)
    assert sum(kind == "observed" for _, kind in last) > 30


class Webcam(Source):
    """Gives no pictures from 2 s to 10 s after it was first asked."""

    live, scene = True, 0

    def frame(self, n: int) -> Pictures | None:
        picture = super().frame(n)
        if 2.0 <= self.times[-1] - self.times[0] < 10.0:
            raise CameraPausedError
        return picture


def test_an_unplugged_camera_is_no_reason_to_hang_up() -> None:
    async def story(world: World) -> None:
        await asyncio.sleep(8.0)
        assert world.place.calls[0].phase is Phase.LIVELY
        await asyncio.sleep(5.0)
        world.sending.end("Enough.")

    world = World(story, Webcam(FOREVER)).run()
    assert world.ended == Ended("Enough.", ok=True)
    assert (len(world.wires), world.values()["reconnects"]) == (1, 0)
    kinds = {n: kind for n, kind, _ in world.values()["shown"]}
    assert all(kinds[n] != "observed" for n in range(70, 295))
    assert sum(kinds[n] == "observed" for n in range(305, 380)) > 25


@pytest.mark.parametrize(("busy_seconds", "connects"), [(2.4, True), (10.0, False)])
def test_a_first_call_waits_for_a_busy_receiver_as_long_as_a_dead_call_may_last(
    busy_seconds: float, connects: bool
) -> None:
    async def connect() -> str:
        if World.now() < busy_seconds:
            raise BusyError("The receiver already has a call.")
        return "link"

    async def call() -> None:
        if connects:
            assert await first_link(connect, FakeClock()) == "link"
        else:
            with pytest.raises(BusyError):
                await first_link(connect, FakeClock())
        assert World.now() == pytest.approx(2.5 if connects else 3.0, abs=0.01)

    run_virtually(call())
