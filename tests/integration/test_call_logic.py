"""Whole calls without sockets, networks or waiting: both sides over a link in memory, in virtual time."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import pytest

from models.build import SHIPPED
from models.forecast.baselines import Hold
from receiver.hearing import Hearing
from receiver.live import Snapshot
from receiver.pipeline import WAITING, ReceiverCall
from receiver.playout import DELAY_SECONDS, Playout
from receiver.renderer import Renderer
from receiver.sinks.window import WindowClosed
from sender.gallery import FurtherPictures, GalleryOptions, GalleryPolicy
from sender.pipeline import SenderCall
from sender.rate import RateController
from sender.schedule import Adaptive, Alternate, Redundancy, Scheduler
from sender.sound import SoundSource
from sender.voice import Voice
from shared import picture as pictures
from shared.codec import Codec, CodedCodec, PaperCodec
from shared.config import FPS, MAX_PICTURE_BYTES, PICTURE_CHUNK, CallTerms, Schedule
from shared.errors import KeycastError
from shared.events import Ended
from shared.fill import Filler
from shared.keypoints import DIMENSIONS, Floats, Pictures
from shared.messages import Bye, Hello, SourceChunk, pack_message, parse_message
from shared.opus import OpusEncoder, Sound
from shared.receiver_session import ReceiverSession
from shared.sender_session import SenderSession
from shared.tables import CodecTables
from shared.transport.loopback import Impairment, LoopbackConnection, pair

Result = TypeVar("Result")
TERMS = CallTerms("fake", "abc")
CODECS: dict[str, Codec] = {"paper": PaperCodec()}
TABLES = CodecTables.load(SHIPPED / "lite" / "codec.safetensors")
PICTURE = pictures.encode(np.full((256, 256, 3), 77, np.uint8))


class _Jump(selectors.DefaultSelector):
    """Where nothing is ready, time passes at once."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise AssertionError("everyone waits for everyone")
        self.time += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.time


def run_virtually(work: Coroutine[Any, Any, Result]) -> Result:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(asyncio.wait_for(work, 600))


class FakeClock:
    """The virtual loop's time; the wall clock shows the same in ms, and `offset_ms` more."""

    offset_ms = 0

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def wall_ms(self) -> int:
        return round(self.now() * 1000) + self.offset_ms

    async def sleep_until(self, deadline: float) -> None:
        await asyncio.sleep(max(0.0, deadline - self.now()))


class VirtualExecutor(Executor):
    """Does the work at once; `seconds` of virtual time pass before anyone learns of it.

    Every twelfth piece of work takes `hesitates` seconds more.
    """

    def __init__(self, seconds: float = 0.0, hesitates: float = 0.0) -> None:
        self.seconds, self.hesitates = seconds, hesitates
        self._count = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            finish = future.set_result, fn(*args, **kwargs)
        except Exception as error:
            finish = future.set_exception, error  # type: ignore[assignment]
        self._count += 1
        seconds = self.seconds + (self.hesitates if self._count % 12 == 0 else 0.0)
        asyncio.get_running_loop().call_later(seconds, self._finish, future, *finish)
        return future

    @staticmethod
    def _finish(future: Future[Any], how: Callable[[Any], None], value: Any) -> None:
        if not future.cancelled():
            how(value)


class Source:
    """`frames` pictures that carry their number; fails at frame `fails_at`."""

    live = False

    def __init__(self, frames: int = 60, fails_at: int | None = None) -> None:
        self.frames, self.fails_at = frames, fails_at
        self.asked: list[int] = []
        self.times: list[float] = []

    def frame(self, n: int) -> Pictures | None:
        self.asked.append(n)
        self.times.append(asyncio.get_running_loop().time())
        if n == self.fails_at:
            raise KeycastError("The camera was unplugged.")
        return np.full((256, 256, 3), n % 256, np.uint8) if n < self.frames else None

    def close(self) -> None:
        pass


class Backbone:
    """A frame's keypoints are its number / 1000; a rendered picture is the keypoints' number again."""

    name = "fake"

    def __init__(self, fingerprint: str = "abc", broken: bool = False) -> None:
        self.fingerprint, self.broken = fingerprint, broken
        self.source: Pictures | None = None
        self.slots: list[int] = []

    def detect(self, frames: Pictures) -> Floats:
        found = np.repeat(frames[:, 0, 0, :1] / np.float32(1000), DIMENSIONS, axis=1).astype(np.float32)
        return np.full_like(found, np.nan) if self.broken else found

    def set_source(self, image: Pictures, slot: int = 0) -> Floats:
        self.source = image
        self.slots.append(slot)
        return self.detect(image[None])[0]

    def render(self, keypoints: Floats, slot: int = 0) -> Pictures:  # noqa: ARG002
        assert self.source is not None
        levels = np.round(keypoints[:, 0] * 1000).astype(np.uint8)
        return np.broadcast_to(levels[:, None, None, None], (len(levels), 256, 256, 3))

    def warmup(self) -> None:
        pass


class Sink:
    """Keeps what is shown; fails or is closed by the user at frame `fails_at`."""

    def __init__(self, fails_at: int | None = None, error: Exception | None = None) -> None:
        self.fails_at = fails_at
        self.error = error or KeycastError("Writing call.mp4 failed: No space left on device.")
        self.numbers: list[int] = []
        self.levels: list[int] = []
        self.notes: list[str] = []
        self.times: dict[int, float] = {}
        self.expects_sound = False
        self.heard: list[tuple[int, Sound, float]] = []

    def expect_sound(self) -> None:
        self.expects_sound = True

    def hear(self, first: int, sound: Sound, heard_at: float) -> None:
        self.heard.append((first, sound, heard_at))

    def open(self) -> None:
        pass

    def write(self, number: int, picture: Pictures, note: str) -> None:
        if self.fails_at is not None and number >= self.fails_at:
            raise self.error
        self.numbers.append(number)
        self.times[number] = asyncio.get_running_loop().time()
        self.levels.append(int(picture[0, 0, 0]))
        self.notes.append(note)

    def close(self) -> None:
        pass


@dataclass
class Side:
    """How a side's call ended, or the error it raised, and when."""

    ended: Ended | None = None
    error: BaseException | None = None
    at: float = 0.0


@dataclass
class World:
    """Both sides of one call; fields are replaced before `run`."""

    impairment: Impairment = field(default_factory=Impairment)
    source: Source = field(default_factory=Source)
    sink: Sink = field(default_factory=Sink)
    sender_terms: CallTerms = TERMS
    receiver_terms: CallTerms = TERMS
    sender_backbone: Backbone = field(default_factory=Backbone)
    receiver_backbone: Backbone = field(default_factory=Backbone)
    avatar: Floats | None = None
    per_message: int = 3
    playout_delay: float = DELAY_SECONDS
    make_scheduler: Callable[[str], Scheduler] | None = None
    redundancy: int = 0
    codecs: dict[str, Codec] = field(default_factory=lambda: CODECS)
    max_kbps: float | None = None
    detect_seconds: float = 0.004
    render_seconds: float = 0.015
    hesitates: float = 0.0
    gallery: GalleryOptions | None = None
    sound: SoundSource | None = None
    takes_sound: bool = True
    sound_notes: list[str] = field(default_factory=list)
    spoil: Callable[[LoopbackConnection, bytes], bool | None] | None = None
    disturb: Callable[["World"], Coroutine[Any, Any, None]] | None = None
    sender: Side = field(default_factory=Side)
    receiver: Side = field(default_factory=Side)

    def run(self) -> "World":
        run_virtually(self._run())
        return self

    async def _run(self) -> None:
        self.left, self.right = pair(self.impairment)
        if self.spoil is not None:
            self._intercept(self.spoil)
        codec = self.codecs.get(self.sender_terms.codec, PaperCodec())
        session = SenderSession(self.sender_terms, codec, PICTURE, self.sound is not None)
        voice = None
        if self.sound is not None:
            voice = Voice(
                self.sound, OpusEncoder(18), FakeClock(), VirtualExecutor(0.003), self.sound_notes.append
            )
        further = None
        if self.gallery is not None:
            policy = GalleryPolicy(self.gallery, len(PICTURE))
            further = FurtherPictures(session, policy, VirtualExecutor(0.06))
        self.sending = SenderCall(
            connection=self.left,
            session=session,
            source=self.source,
            backbone=self.sender_backbone,
            make_scheduler=self.make_scheduler or self._alternate,
            redundancy=Redundancy(self.redundancy),
            clock=FakeClock(),
            inference=VirtualExecutor(self.detect_seconds),
            gallery=further,
            rate=RateController(self.max_kbps),
            voice=voice,
        )
        playout = Playout(FPS, self.playout_delay)
        self.hearing = Hearing(playout, FakeClock(), self.sink.hear, lambda: 0.0)
        self.receiving = ReceiverCall(
            connection=self.right,
            session=ReceiverSession(
                self.receiver_terms, self.codecs, self.avatar is not None, "hold", voice=self.takes_sound
            ),
            renderer=Renderer(self.receiver_backbone, Filler(Hold()), self.avatar),
            sink=self.sink,
            playout=playout,
            clock=FakeClock(),
            inference=VirtualExecutor(self.render_seconds, self.hesitates),
            output=VirtualExecutor(0.001),
            hearing=self.hearing if self.takes_sound else None,
        )
        tasks = [
            asyncio.create_task(self._side(self.sender, self.sending, self.left)),
            asyncio.create_task(self._side(self.receiver, self.receiving, self.right)),
        ]
        if self.disturb is not None:
            tasks.append(asyncio.create_task(self.disturb(self)))
        await asyncio.gather(*tasks)
        assert len(asyncio.all_tasks()) <= 2, "a task was left behind"

    def _alternate(self, _: str) -> Scheduler:
        return Alternate(self.sender_terms.schedule, self.per_message)

    async def _side(self, side: Side, call: SenderCall | ReceiverCall, link: LoopbackConnection) -> None:
        try:
            side.ended = await call.run()
        except Exception as error:
            side.error = error
        side.at = asyncio.get_running_loop().time()
        await link.close()

    def _intercept(self, spoil: Callable[[LoopbackConnection, bytes], bool | None]) -> None:
        send = self.left.send_kp

        def send_kp(data: bytes) -> bool:
            replaced = spoil(self.left, data)
            return send(data) if replaced is None else replaced

        self.left.send_kp = send_kp  # type: ignore[method-assign]

    @property
    def kinds(self) -> str:
        """What was shown, from frame 0: o observed, f forecast, h held, - not shown."""
        letters = {n: kind[0] for n, kind, _ in self.receiving.summary.to_map()["shown"]}
        return "".join(letters.get(n, "-") for n in range(max(letters, default=-1) + 1))


def hang_up_after(seconds: float, side: str) -> Callable[[World], Coroutine[Any, Any, None]]:
    async def disturb(world: World) -> None:
        await asyncio.sleep(seconds)
        getattr(world, side).end("Enough.")

    return disturb


def drop(*numbers: int) -> Callable[[LoopbackConnection, bytes], bool | None]:
    """Lose the packets with these numbers, counted from 0."""
    count = iter(range(10**6))
    return lambda _, __: True if next(count) in numbers else None


# With 50 ms of delay, the block that follows has come when the last skipped frame is due.
BLOCK = "oooooo" + "fffffi"
ENDED = Ended("The video has ended.", ok=True)


def test_a_clean_call() -> None:
    world = World().run()
    assert (world.sender.ended, world.receiver.ended) == (ENDED, ENDED)
    # The sender asks for frame 60 to learn that the video has ended.
    assert world.source.asked == [n for n in range(60) if n % 12 < 6] + [60]
    assert world.kinds == (BLOCK * 5)[: len(world.kinds)]
    assert len(world.kinds) >= 54
    values, sent = world.receiving.summary.to_map(), world.sending.summary.to_map()
    assert (values["frames_held"], values["frames_dropped"], values["late_frames"]) == (0, 0, 0)
    assert values["fps_shown"] == pytest.approx(30)
    assert values["longest_freeze_ms"] <= 34
    assert (sent["packets"], sent["frames"], sent["payload_bytes"]) == (10, 30, 30 * 240)
    assert values["payload_bytes"] == 30 * 240
    assert sent["seconds"] == 2.0
    assert world.receiver_backbone.source is not None
    # An observed frame that no blend is under way at shows its own number.
    shown = dict(zip(world.sink.numbers, world.sink.levels, strict=True))
    assert [shown[n] for n in (0, 1, 5, 15, 16, 17, 29)] == [0, 1, 5, 15, 16, 17, 29]
    # Hold forecasts the last frame observed.
    assert [shown[n] for n in range(6, 11)] == [5] * 5


class Turning(Source):
    """Looks one way for two seconds, then the other, and so on."""

    def frame(self, n: int) -> Pictures | None:
        picture = super().frame(n)
        return None if picture is None else np.full_like(picture, 240 if n // 60 % 2 else 77)


def test_a_turned_head_gets_a_picture_of_its_own_while_frames_flow() -> None:
    world = World(source=Turning(480), gallery=GalleryOptions(4, 2.0)).run()
    assert (world.sender.ended, world.receiver.ended) == (ENDED, ENDED)
    assert world.receiver_backbone.slots == [0, 1]
    assert world.receiving._renderer.gallery.switches >= 3
    sent, values = world.sending.summary.to_map(), world.receiving.summary.to_map()
    assert sent["pictures_sent"] == 2
    assert 2 * len(PICTURE) < sent["source_bytes"] < 2000
    assert (values["frames_dropped"], values["frames_held"]) == (0, 0)
    assert values["longest_freeze_ms"] <= 50


def test_a_gallery_of_one_sends_one_picture() -> None:
    world = World(source=Turning(240), gallery=GalleryOptions(1, 2.0)).run()
    assert world.receiver_backbone.slots == [0]
    assert world.sending.summary.to_map()["pictures_sent"] == 1


def test_a_receiver_with_an_avatar_is_sent_no_pictures() -> None:
    own = np.zeros(DIMENSIONS, np.float32)
    own[20:] = np.tile([1, 0, 0, 1], 10)
    receiver = Backbone()
    receiver.set_source(np.zeros((256, 256, 3), np.uint8))
    options = GalleryOptions(4, 2.0)
    world = World(source=Turning(240), receiver_backbone=receiver, avatar=own, gallery=options).run()
    assert receiver.slots == [0]
    assert world.sending.summary.to_map()["source_bytes"] == 0


def test_a_frame_that_takes_too_long_to_draw_is_made_up_for() -> None:
    world = World(source=Source(300), render_seconds=0.027, hesitates=0.015)
    values = world.run().receiving.summary.to_map()
    assert values["fps_shown"] == pytest.approx(30)
    assert (values["frames_dropped"], values["frames_held"]) == (0, 0)
    assert values["longest_freeze_ms"] < 50


def test_frames_are_captured_and_shown_on_time() -> None:
    world = World(source=Source(1200)).run()
    start = world.source.times[0]
    np.testing.assert_allclose(world.source.times, [start + n / 30 for n in world.source.asked], atol=1e-6)
    values = world.receiving.summary.to_map()
    # Three frames share a message, then 50 ms against jitter, of which 12 are spent on drawing.
    assert values["latency_p50_ms"] == pytest.approx(2000 / 30 + 4 + 50 + 16 - 12, abs=3)
    assert values["latency_p95_ms"] - values["latency_p50_ms"] < 3


def test_the_sender_learns_what_the_receiver_shows() -> None:
    world = World(source=Source(150)).run()
    report = world.sending.summary.report
    assert report.frames_observed == pytest.approx(report.frames_forecast, abs=7)
    # Five messages a second; the last report is at most half a second old.
    assert report.packets == pytest.approx(5 * 5, abs=3)
    assert report.highest == pytest.approx(150, abs=18)
    assert (report.delay_ms, world.sending.summary.rate_halved) == (0, 0)


def test_a_ceiling_holds_messages_back_and_the_receiver_forecasts_them() -> None:
    world = World(source=Source(300), max_kbps=16.0).run()
    sent = world.sending.summary.to_map()
    assert sent["held_back_packets"] > 15
    assert sent["packets"] + sent["held_back_packets"] == 50
    assert sent["packets"] * (730 + 93) * 8 / 1000 / 10 <= 1.1 * 16
    assert world.receiving.summary.to_map()["frames_observed"] == 3 * sent["packets"]
    assert world.receiver.ended == ENDED


@pytest.mark.parametrize(
    ("lost", "kinds"),
    [
        ((3,), BLOCK + "ooo" + "f" * 8 + "i" + BLOCK),
        ((2,), "oooooo" + "f" * 8 + "i" + "ooo" + "fffffi" + BLOCK),
        ((2, 3), "oooooo" + "f" * 17 + "i" + BLOCK),
        ((2, 3, 4, 5, 6, 7), "oooooo" + "f" * 41 + "i" + BLOCK),
        (range(2, 10), "oooooo" + "f" * 45 + "h" * 8 + "i" + BLOCK),
    ],
)
def test_a_lost_packet_is_forecast_as_a_skipped_block_is(lost: tuple[int, ...], kinds: str) -> None:
    world = World(source=Source(84), spoil=drop(*lost)).run()
    assert world.kinds[: len(kinds)] == kinds
    assert world.receiver.ended == ENDED


def test_a_call_may_begin_with_a_loss() -> None:
    world = World(spoil=drop(0)).run()
    assert world.kinds[:12] == "---ooo" + "fffffi"
    assert world.receiver.ended == ENDED


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "impairment",
    [
        Impairment(loss=0.2),
        Impairment(reorder=0.5, jitter=2),
        Impairment(duplicate=0.5, reorder=0.3),
        Impairment(loss=0.2, duplicate=0.2, reorder=0.3, jitter=4),
        Impairment(delay=1),
    ],
)
def test_a_bad_link_costs_truth_and_no_frames(impairment: Impairment, seed: int) -> None:
    world = World(source=Source(240), impairment=replace(impairment, seed=seed)).run()
    assert (world.sender.ended, world.receiver.ended) == (ENDED, ENDED)
    values = world.receiving.summary.to_map()
    # Loss shows as forecasts; only a timeline that finds itself anew may leave numbers out.
    shown = world.kinds.lstrip("-")
    assert len(shown) >= 215
    assert shown.count("-") == values["frames_dropped"] <= 12
    assert world.sink.numbers == sorted(set(world.sink.numbers))
    assert values["frames_observed"] <= 120
    # Never more than a blend's step and a held block's worth between two frames shown.
    assert np.abs(np.diff(world.sink.levels)).max() <= 30


def test_without_loss_no_order_of_arrival_changes_which_packets_count() -> None:
    world = World(source=Source(240), impairment=Impairment(duplicate=1.0)).run()
    values = world.receiving.summary.to_map()
    assert values["frames_observed"] == 120
    assert values["late_frames"] == 0


def test_late_packets_are_followed_by_the_timeline() -> None:
    """Each packet comes when the one after it leaves: by turns 100 ms and 300 ms later."""
    world = World(source=Source(360), impairment=Impairment(delay=1)).run()
    last_blocks = world.kinds[-49:-1]
    assert last_blocks.count("o") >= 20


def test_a_long_delay_interpolates_what_was_skipped() -> None:
    world = World(playout_delay=0.25).run()
    assert world.kinds == ("oooooo" + "iiiiii") * 4 + "oooooo"[: len(world.kinds) - 48]
    # Between known frames whose numbers are their keypoints, the line is the truth.
    off = [abs(a - b) for a, b in zip(world.sink.levels, world.sink.numbers, strict=True)]
    assert max(off) == 0
    assert world.receiving.summary.kinds() == (30, 24, 0)


def watched(seconds: float, seen: list[Snapshot]) -> Callable[[World], Coroutine[Any, Any, None]]:
    """Look at the live figures every `seconds`, until the call ends."""

    async def look(world: World) -> None:
        while world.receiver.ended is None:
            seen.append(world.receiving.live())
            await asyncio.sleep(seconds)

    return look


def test_the_live_figures_are_those_of_the_call() -> None:
    seen: list[Snapshot] = []
    world = World(
        source=Source(300), impairment=Impairment(loss=0.2, seed=1), disturb=watched(0.1, seen)
    ).run()
    assert world.receiver.ended == ENDED
    states = [values["state"] for values in seen]
    assert states[0] == "connecting"
    assert states.count("live") > 80
    last = seen[-10]
    assert last["fps_shown"] == pytest.approx(30, abs=1)
    assert last["latency_ms"] == pytest.approx(2000 / 30 + 4 + 50 + 16, abs=60)
    sent = world.sending.summary.to_map()
    rates = [float(values["payload_kbps"]) for values in seen[30:-10]]
    assert np.mean(rates) == pytest.approx(0.8 * sent["payload_bytes"] * 8 / 1000 / 10, rel=0.2)
    losses = [float(values["loss_percent"]) for values in seen[50:-10]]
    assert 5 < np.mean(losses) < 40
    assert max(float(values["pictures_kbps"]) for values in seen) > 0
    assert str(last["strip"]) in world.kinds


def test_the_live_state_follows_what_happens() -> None:
    seen: list[Snapshot] = []
    world = World(source=Source(240), spoil=drop(*range(10, 25)), disturb=watched(0.1, seen)).run()
    order = [seen[0]["state"]]
    for values in seen:
        if values["state"] != order[-1]:
            order.append(values["state"])
    assert order[:5] == ["connecting", "live", "forecasting", "stalled", "live"]
    assert world.receiver.ended == ENDED


def test_a_held_picture_says_so_once_nothing_has_come_for_a_second() -> None:
    world = World(source=Source(150), spoil=drop(*range(2, 14))).run()
    kinds, noted = world.kinds, [bool(note) for note in world.sink.notes]
    shown = [kind for kind in kinds if kind != "-"]
    assert "h" * 8 in kinds
    assert noted == [kind == "h" for kind in shown]
    # The sender itself is still heard.
    assert set(world.sink.notes) == {"", WAITING}


def test_the_walls_clock_may_be_set_during_a_call() -> None:
    async def set_clock(_: World) -> None:
        await asyncio.sleep(2.0)
        FakeClock.offset_ms = 3_600_000

    try:
        world = World(source=Source(180), disturb=set_clock).run()
    finally:
        FakeClock.offset_ms = 0
    assert world.kinds == (BLOCK * 15)[: len(world.kinds)]
    values = world.receiving.summary.to_map()
    assert (values["frames_dropped"], values["late_frames"]) == (0, 0)
    assert values["longest_freeze_ms"] <= 34
    assert values["fps_shown"] == pytest.approx(30)
    assert values["playout_delay_ms"] == pytest.approx(50, abs=2)


def test_a_sender_that_slept_is_followed_and_the_picture_goes_on() -> None:
    """Its numbers go on a minute behind: the receiver's timeline goes back there, not a minute's wait."""

    def renumber(link: LoopbackConnection, data: bytes) -> bool | None:
        first = int.from_bytes(data[1:3], "little")
        ahead = 600 if first < 60 else 0
        return LoopbackConnection.send_kp(link, data[:1] + (first + ahead).to_bytes(2, "little") + data[3:])

    world = World(source=Source(240), spoil=renumber).run()
    assert world.receiver.ended == ENDED
    values = world.receiving.summary.to_map()
    assert values["longest_freeze_ms"] <= 100
    assert values["seconds"] == pytest.approx(8.0, abs=0.3)
    back = [n for n in world.sink.numbers if n < 600]
    assert back == list(range(back[0], back[-1] + 1))
    assert back[-1] >= 233
    assert back[0] < 140
    levels = dict(zip(world.sink.numbers, world.sink.levels, strict=True))
    # Two blocks of the way at most: the sender, which the odd reports confuse, sends less.
    assert max(abs(levels[n] - n) for n in back[24:]) <= 24


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
    assert "finds no sound keypoints" in str(world.sender.error)
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


def test_a_timeline_thrown_far_off_does_not_keep_a_receiver_from_ending() -> None:
    def replay(link: LoopbackConnection, data: bytes) -> bool | None:
        # Ten thousand frames ahead, then for ever the same old frames.
        first = (10_000 if next(count) == 0 else 0).to_bytes(2, "little")
        return LoopbackConnection.send_kp(link, data[:1] + first + data[3:])

    count = iter(range(10**6))
    world = World(source=Source(10**6), spoil=replay, disturb=hang_up_after(20.0, "sending")).run()
    assert world.receiver.at == pytest.approx(1020.0, abs=0.5)


def test_a_slow_sender_skips_frames_and_keeps_time() -> None:
    world = World(source=Source(90), detect_seconds=0.06).run()
    asked = world.source.asked
    assert asked == sorted(set(asked))
    assert all(n % 12 < 6 for n in asked[:-1])
    late = [time - world.source.times[0] - n / 30 for time, n in zip(world.source.times, asked, strict=True)]
    assert max(late) < 1 / 30
    assert world.receiver.ended == ENDED


def test_a_slow_receiver_leaves_frames_out_and_does_not_fall_behind() -> None:
    world = World(source=Source(300), render_seconds=0.08).run()
    values = world.receiving.summary.to_map()
    assert values["frames"] == pytest.approx(10 / 0.081, abs=3)
    assert values["frames"] + values["frames_dropped"] == pytest.approx(300, abs=8)
    assert values["latency_p99_ms"] < 2000 / 30 + 4 + 50 + 1000 / 30 + 81 + 2
    assert world.receiver.ended == ENDED


def test_an_avatar_moves_and_no_picture_leaves_the_sender() -> None:
    world = World(avatar=np.full(DIMENSIONS, 0.1, np.float32))
    world.receiver_backbone.source = np.zeros((256, 256, 3), np.uint8)
    world.run()
    assert world.receiver.ended == ENDED
    assert world.kinds == (BLOCK * 5)[: len(world.kinds)]
    # Its own place, and from there as far as the sender has moved since the first frame.
    assert world.sink.levels[:6] == [100, 101, 102, 103, 104, 105]
    assert world.sending.summary.to_map()["app_sent"] < len(PICTURE) + 30 * 240 + 1000


@pytest.mark.parametrize("duty", ["1-0", "6-0", "1-5", "12-12"])
def test_any_schedule_is_kept_exactly(duty: str) -> None:
    schedule = Schedule.parse(duty)
    terms = replace(TERMS, observe=schedule.observe, skip=schedule.skip)
    world = World(source=Source(120), sender_terms=terms).run()
    shipped = [n for n in range(120) if schedule.ships(n)]
    assert world.source.asked == [*shipped, next(n for n in range(120, 200) if schedule.ships(n))]
    kinds = "".join("o" if schedule.ships(n) else "f" for n in range(120)).replace("fo", "io")
    assert world.kinds == kinds[: len(world.kinds)]


CODED: dict[str, Codec] = {"coded": CodedCodec(TABLES)}
CODED_TERMS = replace(TERMS, codec="coded", tables=TABLES.hash)


@dataclass
class CodedWorld(World):
    """A call with the coded profile; a frame's keypoints are all its number / 1000."""

    sender_terms: CallTerms = CODED_TERMS
    codecs: dict[str, Codec] = field(default_factory=lambda: CODED)
    per_message: int = 6


def test_a_coded_call_shows_the_same_within_a_step_and_takes_a_few_bytes() -> None:
    world = CodedWorld(source=Source(120)).run()
    assert (world.sender.ended, world.receiver.ended) == (ENDED, ENDED)
    assert world.kinds == (BLOCK * 10)[: len(world.kinds)]
    shown = dict(zip(world.sink.numbers, world.sink.levels, strict=True))
    assert max(abs(shown[n] - n) for n in shown if n % 12 in (3, 4, 5)) <= 8
    sent = world.sending.summary.to_map()
    assert sent["packets"] == 10
    assert sent["payload_bytes"] < 10 * 160


def test_copies_mend_the_past_of_a_lost_block() -> None:
    lost = {"source": Source(120), "spoil": drop(3)}
    without = CodedWorld(**lost).run()
    world = CodedWorld(**(lost | {"spoil": drop(3)}), redundancy=1).run()
    assert without.receiving.summary.to_map()["copied_frames"] == 0
    assert world.receiving.summary.to_map()["copied_frames"] == 6
    assert world.receiver.ended == ENDED


def test_the_adaptive_policy_ships_what_the_forecast_misses_and_no_more() -> None:
    def make(name: str) -> Scheduler:
        assert name == "hold"
        return Adaptive(Filler(Hold()), np.eye(60, dtype=np.float32) / 60, 0.0195, 6)

    terms = replace(CODED_TERMS, policy="adaptive", skip=0)
    world = CodedWorld(source=Source(120), sender_terms=terms, make_scheduler=make).run()
    assert (world.sender.ended, world.receiver.ended) == (ENDED, ENDED)
    # Each frame moves by 0.001: about twenty frames after a message one would be off by over 0.0195.
    values, sent = world.receiving.summary.to_map(), world.sending.summary.to_map()
    assert sent["packets"] == pytest.approx(120 / 22, abs=2)
    assert world.source.asked == list(range(121))
    off = [abs(level - number) for number, level in zip(world.sink.numbers, world.sink.levels, strict=True)]
    assert max(off) <= 25
    assert values["frames_held"] == 0


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
            renderer=Renderer(Backbone(), Filler(Hold())),
            sink=Sink(),
            playout=Playout(FPS),
            clock=FakeClock(),
            inference=VirtualExecutor(),
            output=VirtualExecutor(),
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
