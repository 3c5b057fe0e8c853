"""A window on the screen."""

from __future__ import annotations

import contextlib
import subprocess
import sys

from receiver.screen import READY
from shared.errors import RequestError
from shared.keypoints import Pictures

_END_SECONDS = 2.0


class WindowClosed(Exception):  # noqa: N818 - not an error: the user is done
    """The user closed the window."""


class WindowSink:
    """Shows frames in a window, which lives in its own process (see `receiver.screen`)."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        """Open the window; RequestError where that is not possible here."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "receiver.screen"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert self._process.stdout is not None
        if self._process.stdout.readline() != READY:
            self.close()
            raise RequestError("OpenCV cannot open a window here; use --view none, and --output to keep it.")

    def write(self, number: int, picture: Pictures) -> None:  # noqa: ARG002 - a window shows what is newest
        """Show one frame; raises WindowClosed when the user has closed the window."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(picture.tobytes())
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise WindowClosed from error

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
        process.stdout.close()
