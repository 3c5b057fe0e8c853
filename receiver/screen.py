"""The window's own process: raw RGB pictures come in on stdin, `ready` goes out once the window stands.

A process of its own because window toolkits want the main thread, and because OpenCV's window hangs on Linux
once PyAV is loaded beside it. It ends with its input, or when the user closes it or presses q or Escape.
"""

from __future__ import annotations

import signal
import sys
import threading

import numpy as np

from shared.config import SIZE
from shared.keypoints import Pictures

TITLE = "keycast"
READY = b"ready\n"
PICTURE_BYTES = SIZE * SIZE * 3
_POLL_MS = 8
_ESCAPE = 27


class _Newest:
    """Reads pictures as fast as they come, so that the writer never waits, and keeps the last."""

    def __init__(self) -> None:
        self.picture: Pictures = np.zeros((SIZE, SIZE, 3), np.uint8)
        self.ended = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while len(data := sys.stdin.buffer.read(PICTURE_BYTES)) == PICTURE_BYTES:
            self.picture = np.frombuffer(data, np.uint8).reshape(SIZE, SIZE, 3)
        self.ended = True


def main() -> int:
    """Show what comes in. Returns 1 where OpenCV has no window here."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the receiver, which then ends our input
    try:
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_GUI_NORMAL)
        cv2.resizeWindow(TITLE, 2 * SIZE, 2 * SIZE)
    except cv2.error:
        return 1
    newest = _Newest()
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    while not newest.ended:
        large = cv2.resize(newest.picture[:, :, ::-1], (2 * SIZE, 2 * SIZE), interpolation=cv2.INTER_CUBIC)
        cv2.imshow(TITLE, large)
        key = cv2.waitKey(_POLL_MS) & 0xFF
        if key in (ord("q"), _ESCAPE) or cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1:
            break
    return 0


if __name__ == "__main__":
    sys.exit(main())
