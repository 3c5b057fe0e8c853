"""Where shown frames go: files, a window, the viewer page."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from receiver.overlay import with_note
from receiver.sinks.mp4 import Mp4Sink
from receiver.sinks.page import PageSink
from receiver.sinks.raw import RawSink
from receiver.sinks.window import WindowSink
from shared.errors import RequestError
from shared.keypoints import Pictures


class Sink(Protocol):
    """Takes frames in order. A sink is opened, written and closed by one thread."""

    def open(self) -> None:
        """Make ready; RequestError where the destination cannot be used."""
        ...

    def write(self, number: int, picture: Pictures) -> None:
        """Take frame `number` (ascending, gaps allowed), (256, 256, 3) uint8 RGB.

        Raises KeycastError where it fails, WindowClosed where the user has closed the window.
        """
        ...

    def close(self) -> None:
        """Finish. Safe to call again, and after a failure."""
        ...


class Screen(Protocol):
    """What a call shows its frames on."""

    def write(self, number: int, picture: Pictures, note: str) -> None:
        """Take a frame as a sink does; `note` ("" for none) is for the eyes of who watches."""
        ...


class Sinks:
    """Several sinks as one, for one call after the other: the pause between two is left out.

    Notes are drawn on the pictures of those that are for people; the page has its own words.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = tuple(sinks)
        self._shift: int | None = 0
        self._next = 0

    def add(self, sink: Sink) -> None:
        """Write to `sink` too; for before they are opened."""
        self._sinks = (*self._sinks, sink)

    def open(self) -> None:
        """Open all."""
        for sink in self._sinks:
            sink.open()

    def write(self, number: int, picture: Pictures, note: str = "") -> None:
        """Write to all. Measurements are made on raw recordings, so these keep the picture as it is."""
        self._shift = self._next - number if self._shift is None else self._shift
        self._next = number + self._shift + 1
        noted = with_note(picture, note) if note else picture
        for sink in self._sinks:
            sink.write(number + self._shift, picture if isinstance(sink, (RawSink, PageSink)) else noted)

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


def make_sink(view: str | None, output: Path | None) -> Sinks:
    """Build the sink for `--view` (None: a window where there is a screen) and `--output` (.mp4 or .npy)."""
    sinks: list[Sink] = []
    if output is not None:
        kind = _FILES.get(output.suffix.lower())
        if kind is None:
            endings = " or ".join(_FILES)
            raise RequestError(f"Cannot write {output}: give --output a name that ends in {endings}.")
        sinks.append(kind(output))
    if view == "window" and not has_screen():
        raise RequestError(
            "There is no screen for a window; use --view none, and --output to keep the video."
        )
    if view == "window" or (view is None and has_screen()):
        sinks.append(WindowSink())
    return Sinks(sinks)


_FILES: dict[str, type[Mp4Sink] | type[RawSink]] = {".mp4": Mp4Sink, ".npy": RawSink}
