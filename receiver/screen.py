"""The window's own process: pictures and figures arrive on stdin, messages for the user go out on stdout.

A process of its own because window toolkits want the main thread, and because OpenCV's window hangs on Linux
once PyAV is loaded as well. It ends with its input, or when the user closes it or presses q or Escape; o
shows and hides the figures, s saves the picture. Where the end sends as well, m mutes, v holds, p shows and
hides oneself, as in a mirror: in a corner, and large as long as there is no other picture.

In: a kind (1 byte), a length (4 bytes, big-endian) and so many bytes, again and again. PICTURE and SELF: raw
RGB, of SELF no byte where it is hidden. FIGURES and CHOICES: a JSON object, see `receiver.live` and
`shared.runtime.controls`. Out: `ready` once the window stands, then `key X` for each key of a call, and a
line for people for each picture that was saved, or could not be.
"""

from __future__ import annotations

import json
import math
import signal
import struct
import sys
import threading
from collections.abc import Mapping
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from receiver.overlay import put_badge, put_mirrored
from receiver.panel import CALL_KEYS, KEYS, Panel
from shared.keypoints import Pictures

TITLE = "keycast"
READY = b"ready\n"
PICTURE, FIGURES, SELF, CHOICES = b"P", b"F", b"S", b"C"
KEY = b"key "
CALL_LETTERS = "mvpq"
SIDE = 512
"""Of the window when it opens, in pixels."""
SELF_SIDE = 128
_MARGIN = 12
_BELOW_PANEL = 58
_HEADER = struct.Struct(">cI")
_POLL_MS = 8
_ESCAPE, _LETTERS = 27, 128


def message(kind: bytes, data: bytes) -> bytes:
    """Return what is written to the window's stdin."""
    return _HEADER.pack(kind, len(data)) + data


class _Newest:
    """Reads all as fast as it comes, so that the writer never waits, and keeps the last of each kind."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.picture: Pictures | None = None
        self.figures: dict[str, str | float] = {}
        self.oneself: Pictures | None = None
        self.choices: dict[str, bool] = {}
        self.count = 0
        self.ended = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while len(header := self._source.read(_HEADER.size)) == _HEADER.size:
            kind, length = _HEADER.unpack(header)
            data = self._source.read(length)
            if len(data) == length:
                self._take(kind, data)
            self.count += 1
        self.ended = True

    def _take(self, kind: bytes, data: bytes) -> None:
        if kind == PICTURE:
            self.picture = _square(data)
        elif kind == SELF:
            self.oneself = _square(data) if data else None
        elif kind == FIGURES:
            self.figures = json.loads(data)
        elif kind == CHOICES:
            self.choices = json.loads(data)

    @property
    def whole(self) -> Pictures:
        """What fills the window: the call's picture, before there is one oneself (mirrored), or black."""
        if self.picture is not None:
            return self.picture
        return np.zeros((SIDE, SIDE, 3), np.uint8) if self.oneself is None else self.oneself[:, ::-1]


def _square(data: bytes) -> Pictures:
    side = math.isqrt(len(data) // 3)
    return np.frombuffer(data, np.uint8).reshape(side, side, 3)


def put_call(picture: Pictures, choices: Mapping[str, bool], oneself: Pictures | None) -> None:
    """Draw oneself and what either side has chosen into `picture` (SIDE, SIDE, 3), in place."""
    if oneself is not None:
        put_mirrored(picture, oneself, SIDE - _MARGIN, _BELOW_PANEL)
    mine, theirs = (_words(choices, whose) for whose in ("", "peer_"))
    if mine:
        foot = _BELOW_PANEL + SELF_SIDE - _MARGIN // 2 if oneself is not None else _BELOW_PANEL + 2 * _MARGIN
        words = mine if oneself is not None else f"you: {mine}"
        put_badge(picture, words, None, SIDE - 2 * _MARGIN, foot)
    if theirs:
        put_badge(picture, theirs, _MARGIN, None, _BELOW_PANEL + 2 * _MARGIN)


def _put_around(picture: Pictures, newest: _Newest, panel: Panel | None) -> None:
    """Draw all that is not the picture itself into `picture` (SIDE, SIDE, 3), in place."""
    if newest.choices:
        put_call(picture, newest.choices, None if newest.picture is None else newest.oneself)
    if panel is not None and newest.figures:
        panel.keys = CALL_KEYS if newest.choices else KEYS
        panel.draw(picture, newest.figures)


def _words(choices: Mapping[str, bool], whose: str) -> str:
    chosen = [name for key, name in (("held", "on hold"), ("muted", "muted")) if choices.get(whose + key)]
    return ", ".join(chosen)


def save(picture: Pictures, folder: Path, now: datetime) -> str:
    """Write `picture` as a PNG named by the time, never over another file; return a line that says where."""
    stream = BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    stem = f"keycast-{now:%Y%m%d-%H%M%S}"
    for name in (f"{stem}.png", *(f"{stem}-{number}.png" for number in range(2, 1000))):
        try:
            with (folder / name).open("xb") as file:
                file.write(stream.getvalue())
        except FileExistsError:
            continue
        except OSError as error:
            return f"note: Cannot write {folder / name}: {error.strerror}."
        return f"saved {folder / name}"
    return f"note: Too many pictures were saved to {folder} within this second."


class Visibility:
    """Whether the user has closed the window, by what the toolkit says of it.

    Some window systems never know, and say -1 of one that is there: then it counts as open.
    """

    def __init__(self) -> None:
        self._was_seen = False

    def is_closed(self, visible: float) -> bool:
        """Take in the property `WND_PROP_VISIBLE`."""
        self._was_seen = self._was_seen or visible >= 1
        return self._was_seen and visible < 1


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


def main() -> int:
    """Show what arrives. Returns 1 where OpenCV has no window here."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the receiver, which then ends our input
    try:
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_GUI_NORMAL)
        cv2.resizeWindow(TITLE, SIDE, SIDE)
    except cv2.error:
        return 1
    newest, panel, shown, with_panel = _Newest(sys.stdin.buffer), Panel(SIDE), -1, True
    visibility = Visibility()
    _say(READY)
    while not newest.ended:
        if shown != newest.count:
            shown = newest.count
            whole = np.ascontiguousarray(newest.whole)
            large: Pictures = np.asarray(
                cv2.resize(whole, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), np.uint8
            )
            _put_around(large, newest, panel if with_panel else None)
            cv2.imshow(TITLE, large[:, :, ::-1])
        key = cv2.waitKey(_POLL_MS) & 0xFF
        if visibility.is_closed(cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE)):
            break
        if key < _LETTERS and chr(key) in CALL_LETTERS:
            _say(KEY + bytes([key]) + b"\n")
        if key in (ord("q"), _ESCAPE):
            break
        if key == ord("o"):
            with_panel, shown = not with_panel, -1
        elif key == ord("s"):
            _say(save(newest.whole, Path.cwd(), datetime.now().astimezone()).encode() + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
