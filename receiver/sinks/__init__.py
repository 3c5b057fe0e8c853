"""Sinks for shown frames: files, a window, a virtual camera, the viewer page; several at once."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from receiver.overlay import with_note
from receiver.sinks.audio_sink import AudioSink
from receiver.sinks.loudspeaker import Loudspeaker
from receiver.sinks.mp4 import Mp4Sink
from receiver.sinks.page import PageSink
from receiver.sinks.raw import RawSink
from receiver.sinks.self_view import SelfView
from receiver.sinks.soundtrack import LONGEST_GAP_SECONDS
from receiver.sinks.virtual_camera import VirtualCameraSink
from receiver.sinks.window import WindowClosed, WindowSink
from shared.constants import FPS
from shared.errors import RequestError
from shared.keypoints import Pictures
from shared.media.opus import Sound
from shared.media.voice_packet import SAMPLES_PER_FRAME
from shared.runtime.controls import Controls
from shared.runtime.sampler import Figures

_LONGEST_GAP = round(LONGEST_GAP_SECONDS * FPS)


class Sink(Protocol):
    """Takes frames in order. A sink is opened, written and closed by one thread."""

    def open(self) -> None:
        """Make ready; RequestError where the destination cannot be used."""
        ...

    def write(self, number: int, picture: Pictures) -> None:
        """Take frame `number` (ascending, gaps allowed), (S, S, 3) uint8 RGB.

        Raises KeycastError where it fails, WindowClosed where the user has closed the window.
        """
        ...

    def close(self) -> None:
        """Finish. Safe to call again, and after a failure."""
        ...


@runtime_checkable
class Watched(Protocol):
    """A sink that also shows how the call goes."""

    def tell(self, figures: Figures) -> None:
        """Take the live figures (`receiver.live`), some ten times per second, between frames and calls too.

        Raises WindowClosed where the user has closed the window.
        """
        ...


class Screen(Protocol):
    """Output that a call shows its frames on."""

    def write(self, number: int, picture: Pictures, note: str) -> None:
        """Take a frame as a sink does; `note` ("" for none) is for the eyes of who watches."""
        ...

    def expect_sound(self) -> None:
        """Make ready for sound."""
        ...

    def hear(self, first: int, sound: Sound, heard_at: float) -> None:
        """Take sound as an `AudioSink` does."""
        ...


class Sinks:
    """Several sinks as one, for one call after the other: the pause between two is left out.

    So is one of over 10 s in which nothing was shown, and where the numbers jump back, they go on from there:
    files hold what was seen.

    Notes are drawn on the pictures of those that are for people; the page has its own words. Where one
    fails, the error is raised, which ends the call and the command; what the others hold stays whole. They
    get frames in the order given.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = tuple(sinks)
        self._audio_sinks = tuple(sink for sink in self._sinks if isinstance(sink, AudioSink))
        self._shift: int | None = 0
        self._next = 0
        self.failed = False
        """Whether one of them has failed: no further call could be shown either."""

    def add(self, sink: Sink) -> None:
        """Have one more, before they are opened."""
        self._sinks = (*self._sinks, sink)
        self._audio_sinks = tuple(one for one in self._sinks if isinstance(one, AudioSink))

    def open(self) -> None:
        """Open all."""
        for sink in self._sinks:
            sink.open()

    def write(self, number: int, picture: Pictures, note: str = "") -> None:
        """Write to all. Measurements are made on raw recordings, so these keep the picture as it is."""
        if self._shift is None or not 0 <= number + self._shift - self._next <= _LONGEST_GAP:
            self._shift = self._next - number
        self._next = number + self._shift + 1
        noted = with_note(picture, note) if note else picture
        with self._noting_failure():
            for sink in self._sinks:
                sink.write(number + self._shift, picture if isinstance(sink, (RawSink, PageSink)) else noted)

    @property
    def is_watched(self) -> bool:
        """Whether any of them shows how the call goes."""
        return any(isinstance(sink, Watched) for sink in self._sinks)

    def tell(self, figures: Figures) -> None:
        """Give the live figures to those that show them."""
        for sink in self._sinks:
            if isinstance(sink, Watched):
                sink.tell(figures)

    @property
    def lead(self) -> float:
        """Seconds before it is heard that sound is wanted."""
        return max((sink.lead for sink in self._audio_sinks), default=0.0)

    def expect_sound(self) -> None:
        """Have all that take sound make ready for it."""
        with self._noting_failure():
            for sink in self._audio_sinks:
                sink.expect_sound()

    def hear(self, first: int, sound: Sound, heard_at: float) -> None:
        """Pass sound to all that take it, once there are pictures; see `AudioSink`."""
        shift = self._shift
        if shift is not None and self._next:
            with self._noting_failure():
                for sink in self._audio_sinks:
                    sink.hear(first + shift * SAMPLES_PER_FRAME, sound, heard_at)

    @contextlib.contextmanager
    def _noting_failure(self) -> Iterator[None]:
        try:
            yield
        except WindowClosed:
            raise
        except Exception:
            self.failed = True
            raise

    def figures(self) -> dict[str, float]:
        """Return what a loudspeaker has measured: how well its sound was in step."""
        speakers = (sink for sink in self._sinks if isinstance(sink, Loudspeaker))
        return {name: value for speaker in speakers for name, value in speaker.figures().items()}

    def new_call(self) -> None:
        """Have the numbers go on from here, whatever the next one is."""
        self._shift = None if self._next else 0

    def close(self) -> None:
        """Close all, even when one of them fails to."""
        for index, sink in enumerate(self._sinks):
            try:
                sink.close()
            except BaseException:
                Sinks(self._sinks[index + 1 :]).close()
                raise


def has_screen() -> bool:
    """Say whether a window can be shown."""
    has_server = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return sys.platform in ("win32", "darwin") or bool(has_server)


def make_sink(
    view: str | None,
    outputs: Sequence[Path] = (),
    virtual_camera: str | None = None,
    say: Callable[[str], None] = lambda _: None,
    speaker: Sink | None = None,
    *,
    controls: Controls | None = None,
    self_view: SelfView | None = None,
    camera_size: tuple[int, int] | None = None,
) -> Sinks:
    """Build the sinks for `--view` (None: a window where there is a screen) and what else is asked for.

    Outputs end in .mp4 or .npy. `virtual_camera` is a device or "" for the first; None for none; it is as
    large as the call's pictures, or of `camera_size`. `say` hears what a window has to say, from a thread of
    its own. `speaker` takes sound alone. `controls` and `self_view` are those of an end that sends as well,
    for its window.
    """
    # Files first: they have the frame that shows the user that something is wrong.
    sinks: list[Sink] = [_file(path) for path in outputs]
    if len({path.absolute() for path in outputs}) < len(outputs):
        raise RequestError("Two outputs cannot share a file; give each --output its own name.")
    if speaker is not None:
        sinks.append(speaker)
    if virtual_camera is not None:
        sinks.append(VirtualCameraSink(virtual_camera or None, camera_size))
    if view == "window" and not has_screen():
        raise RequestError(
            "There is no screen for a window; use --view none, and --output to keep the video."
        )
    if view == "window" or (view is None and has_screen()):
        sinks.append(WindowSink(say, controls, self_view))
    return Sinks(sinks)


def _file(path: Path) -> Mp4Sink | RawSink:
    kind = _FILES.get(path.suffix.lower())
    if kind is None:
        raise RequestError(f"Cannot write {path}: give --output a name that ends in {' or '.join(_FILES)}.")
    return kind(path)


_FILES: dict[str, type[Mp4Sink] | type[RawSink]] = {".mp4": Mp4Sink, ".npy": RawSink}
