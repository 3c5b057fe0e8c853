"""A window on the screen."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import IO

from PIL import Image

from receiver.screen import CHOICES, FIGURES, KEY, PICTURE, READY, SELF, SELF_SIDE, message
from receiver.sinks.self_view import SelfView
from shared.errors import RequestError
from shared.keypoints import Pictures
from shared.runtime.controls import Choices, Controls
from shared.runtime.sampler import Figures

_END_SECONDS = 2.0
_PRESSES: dict[str, Callable[[Controls], None]] = {
    "m": Controls.toggle_mute,
    "v": Controls.toggle_hold,
    "p": Controls.toggle_self_view,
    "q": Controls.hang_up,
}


class WindowClosed(Exception):  # noqa: N818 - not an error: the user is done
    """The user closed the window."""


class WindowSink:
    """Shows frames and figures in a window, which lives in its own process (see `receiver.screen`).

    `say` hears, from a thread of its own, where a picture was saved. At an end that sends as well, keys go to
    `controls`, and what these say is shown, with the newest of `self_view`: large, until a frame is written.
    """

    def __init__(
        self,
        say: Callable[[str], None] = lambda _: None,
        controls: Controls | None = None,
        self_view: SelfView | None = None,
    ) -> None:
        self._say = say
        self._controls = controls
        self._self_view = self_view
        self._shown: Choices | None = None
        self._oneself: Pictures | None = None
        self._alone = True
        self._process: subprocess.Popen[bytes] | None = None
        self._listener: threading.Thread | None = None

    def open(self) -> None:
        """Open the window; RequestError where that is not possible here."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "receiver.screen"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert self._process.stdout is not None
        if self._process.stdout.readline() != READY:
            self.close()
            raise RequestError(
                "OpenCV cannot open a window here; use --view none, and --output to keep the video."
            )
        self._listener = threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True)
        self._listener.start()

    def write(self, number: int, picture: Pictures) -> None:  # noqa: ARG002 - a window shows what is newest
        """Show one frame; raises WindowClosed when the user has closed the window."""
        if self._alone:
            self._alone, self._oneself = False, None
        self._show_call()
        self._send(PICTURE, picture.tobytes())

    def tell(self, figures: Figures) -> None:
        """Show how the call goes; raises WindowClosed when the user has closed the window."""
        self._show_call()
        self._send(FIGURES, json.dumps(figures).encode())

    def close(self) -> None:
        """Close the window."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it may have ended before us
            process.stdin.close()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._listener is not None:
            self._listener.join()
        process.stdout.close()

    def _show_call(self) -> None:
        """Show what has been chosen, and oneself, where that has changed."""
        if self._controls is None:
            return
        choices = self._controls.choices
        if choices != self._shown:
            self._shown = choices
            self._send(CHOICES, json.dumps(asdict(choices)).encode())
        oneself = self._self_view.picture if self._self_view is not None and choices.shows_self else None
        if oneself is not self._oneself:
            self._oneself = oneself
            self._send(
                SELF, b"" if oneself is None else oneself.tobytes() if self._alone else _small(oneself)
            )

    def _send(self, kind: bytes, data: bytes) -> None:
        if self._process is None:
            return
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(message(kind, data))
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise WindowClosed from error

    def _listen(self, lines: IO[bytes]) -> None:
        for line in lines:
            if not line.startswith(KEY):
                self._say(line.decode(errors="replace").strip())
            elif self._controls is not None:
                _PRESSES[line.removeprefix(KEY).decode().strip()](self._controls)


def _small(picture: Pictures) -> bytes:
    size = SELF_SIDE, SELF_SIDE
    return Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0).tobytes()
