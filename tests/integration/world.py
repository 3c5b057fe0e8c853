"""Both sides of a call over a link in memory, in virtual time: no sockets, no networks, no waiting."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from bench.network.memory_link import Impairment, LoopbackConnection, pair
from models.build import SHIPPED
from models.forecast.baselines import Hold
from models.lite.layout import DIMENSIONS, LAYOUT
from receiver.audio_playout import AudioPlayout
from receiver.pipeline import ReceiverCall
from receiver.playout import DELAY_SECONDS, Playout
from receiver.renderer import Renderer
from receiver.sinks import Sinks
from receiver.sinks.mp4 import Mp4Sink
from sender.further_pictures import FurtherPictures
from sender.gallery import GalleryOptions, GalleryPolicy
from sender.pipeline import SenderCall
from sender.rate import RateController
from sender.schedule import Alternate, Redundancy, Scheduler
from sender.sound import SoundSource
from sender.voice import Voice
from shared import interfaces
from shared.clock import WALL_MODULUS
from shared.codec.keypoint_codec import Codec, PaperCodec
from shared.codec.tables import CodecTables
from shared.concealment import Concealer
from shared.constants import FPS, CallTerms
from shared.errors import KeycastError
from shared.keypoints import Floats, KeypointLayout, Pictures
from shared.media import picture as pictures
from shared.media.opus import RATE, OpusEncoder, Sound
from shared.protocol.events import Ended
from shared.protocol.receiver_session import ReceiverSession
from shared.protocol.sender_session import LargerPicture, SenderSession
from shared.runtime.controls import Controls
from tests.kept import Kept, Transferring

Result = TypeVar("Result")
TERMS = CallTerms("fake", "abc", LAYOUT.keypoints, DIMENSIONS)
CODECS: dict[str, Codec] = {"paper": PaperCodec(DIMENSIONS)}
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

    def leap(self, seconds: float) -> None:
        """Let time pass in which nothing runs, as while machines sleep."""
        self._jump.time += seconds


def run_virtually(work: Coroutine[Any, Any, Result], limit: float = 600.0) -> Result:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(asyncio.wait_for(work, limit))


class FakeClock:
    """The virtual loop's time; the wall clock shows the same in ms modulo 2**32, and `offset_ms` more."""

    offset_ms = 0

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def wall_ms(self) -> int:
        return (round(self.now() * 1000) + self.offset_ms) % WALL_MODULUS

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

    live, scene = False, 0

    def __init__(self, frames: int = 60, fails_at: int | None = None, side: int = 256) -> None:
        self.frames, self.fails_at, self.side = frames, fails_at, side
        self.asked: list[int] = []
        self.times: list[float] = []

    def frame(self, n: int) -> Pictures | None:
        self.asked.append(n)
        self.times.append(asyncio.get_running_loop().time())
        if n == self.fails_at:
            raise KeycastError("The camera was unplugged.")
        return np.full((self.side, self.side, 3), n % 256, np.uint8) if n < self.frames else None

    def close(self) -> None:
        pass


class Fake(Protocol):
    """What the world asks of a backbone beyond a call."""

    name: str
    fingerprint: str
    detector: str
    layout: KeypointLayout
    size: int
    sizes: tuple[int, ...]
    encoded: list[Pictures]

    def detect(self, frames: Pictures) -> Floats: ...

    def encode(self, picture: Pictures) -> Kept: ...

    def render(self, source: interfaces.Source, keypoints: Floats) -> Pictures: ...

    def warmup(self, *, detect: bool = True, render: bool = True) -> None: ...


class Backbone(Transferring):
    """A frame's keypoints are its number / 1000; a rendered picture is the keypoints' number again."""

    name, detector = "fake", "abc"
    layout = LAYOUT
    size = 256

    def __init__(
        self, fingerprint: str = "abc", broken: bool = False, sizes: tuple[int, ...] = (256,)
    ) -> None:
        self.fingerprint, self.broken, self.sizes = fingerprint, broken, sizes
        self.encoded: list[Pictures] = []
        self.detected: set[int] = set()

    def detect(self, frames: Pictures) -> Floats:
        self.detected.add(frames.shape[1])
        found = np.repeat(frames[:, 0, 0, :1] / np.float32(1000), DIMENSIONS, axis=1).astype(np.float32)
        return np.full_like(found, np.nan) if self.broken else found

    def encode(self, picture: Pictures) -> Kept:
        self.encoded.append(picture)
        return Kept(self.detect(picture[None])[0], picture)

    def render(self, source: interfaces.Source, keypoints: Floats) -> Pictures:
        assert isinstance(source, Kept)
        levels = np.round(keypoints[:, 0] * 1000).astype(np.uint8)
        return np.broadcast_to(levels[:, None, None, None], (len(levels), 256, 256, 3))

    def warmup(self, *, detect: bool = True, render: bool = True) -> None:
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
        self.lead = 0.0
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


class Hum:
    """A hum, for ever."""

    lag = 0.0

    def begin(self, start: float) -> None:
        pass

    def read(self, first: int, count: int) -> Sound:
        n = (first + np.arange(count)) % RATE
        return np.asarray(3000 * np.sin(2 * np.pi * 150 * n / RATE), np.int16)

    def close(self) -> None:
        pass


class FileSink(Sink):
    """Also writes an mp4."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.file = Sinks([Mp4Sink(path)])
        self.file.open()

    def expect_sound(self) -> None:
        super().expect_sound()
        self.file.expect_sound()

    def hear(self, first: int, sound: Sound, heard_at: float) -> None:
        super().hear(first, sound, heard_at)
        self.file.hear(first, sound, heard_at)

    def write(self, number: int, picture: Pictures, note: str) -> None:
        super().write(number, picture, note)
        self.file.write(number, picture, note)


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
    sender_backbone: Fake = field(default_factory=Backbone)
    receiver_backbone: Fake = field(default_factory=Backbone)
    avatar: interfaces.Source | None = None
    picture: bytes = PICTURE
    larger: LargerPicture | None = None
    forecaster: interfaces.Forecaster = field(default_factory=Hold)
    per_message: int = 3
    playout_delay: float = DELAY_SECONDS
    make_scheduler: Callable[[str], Scheduler] | None = None
    redundancy: int = 0
    codecs: dict[str, Codec] = field(default_factory=lambda: CODECS)
    max_kbps: float | None = None
    detect_seconds: float = 0.004
    coding_seconds: float | None = None
    """Where messages are coded in a thread of their own."""
    render_seconds: float = 0.015
    hesitates: float = 0.0
    gallery: GalleryOptions | None = None
    sound: SoundSource | None = None
    takes_sound: bool = True
    media: bool = True
    """Whether keypoints and reports travel as media, as they do in calls."""
    sound_notes: list[str] = field(default_factory=list)
    controls: Controls | None = None
    """The sender's; the receiver's are told what they choose."""
    told: Controls = field(default_factory=Controls)
    show_self: Callable[[Pictures], None] = lambda _: None
    sender_clock: FakeClock = field(default_factory=FakeClock)
    receiver_clock: FakeClock = field(default_factory=FakeClock)
    spoil: Callable[[LoopbackConnection, bytes], bool | None] | None = None
    disturb: Callable[["World"], Coroutine[Any, Any, None]] | None = None
    limit: float = 600.0
    sender: Side = field(default_factory=Side)
    receiver: Side = field(default_factory=Side)

    def run(self) -> "World":
        run_virtually(self._run(), self.limit)
        return self

    async def _run(self) -> None:
        self.left, self.right = pair(self.impairment, media=self.media)
        if self.spoil is not None:
            self._intercept(self.spoil)
        layout = self.sender_backbone.layout
        codec = self.codecs.get(self.sender_terms.codec, PaperCodec(layout.dimensions))
        session = SenderSession(
            self.sender_terms, codec, self.picture, self.sound is not None, self.larger,
            status=self.controls is not None, media=self.media,
        )  # fmt: skip
        voice = None
        if self.sound is not None:
            voice = Voice(
                self.sound,
                OpusEncoder(18),
                self.sender_clock,
                VirtualExecutor(0.003),
                self.sound_notes.append,
            )
        further = None
        if self.gallery is not None:
            policy = GalleryPolicy(self.gallery, len(self.picture), layout.distance)
            further = FurtherPictures(session, policy, VirtualExecutor(0.06))
        self.sending = SenderCall(
            connection=self.left,
            session=session,
            source=self.source,
            backbone=self.sender_backbone,
            make_scheduler=self.make_scheduler or self._alternate,
            redundancy=Redundancy(self.redundancy),
            clock=self.sender_clock,
            inference=VirtualExecutor(self.detect_seconds),
            coding=None if self.coding_seconds is None else VirtualExecutor(self.coding_seconds),
            gallery=further,
            rate=RateController(self.max_kbps),
            voice=voice,
            controls=self.controls,
            show_self=self.show_self,
        )
        playout = Playout(FPS, self.playout_delay)
        answering = ReceiverSession(
            self.receiver_terms,
            self.codecs,
            self.avatar is not None,
            self.forecaster.name,
            voice=self.takes_sound,
            status=True,
            media=self.media,
            sizes=self.receiver_backbone.sizes,
        )
        self.audio_playout = AudioPlayout(
            playout, self.receiver_clock, self.sink, VirtualExecutor(), answering.tally.voice
        )
        self.receiving = ReceiverCall(
            connection=self.right,
            session=answering,
            renderer=Renderer(self.receiver_backbone, Concealer(self.forecaster, layout), self.avatar),
            sink=self.sink,
            playout=playout,
            clock=self.receiver_clock,
            inference=VirtualExecutor(self.render_seconds, self.hesitates),
            output=VirtualExecutor(0.001),
            decoding=VirtualExecutor(),
            audio_playout=self.audio_playout if self.takes_sound else None,
            controls=self.told,
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
