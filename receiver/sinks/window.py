"""A window on the screen."""

from __future__ import annotations

from shared.errors import KeycastError
from shared.keypoints import Pictures

_TITLE = "keycast"


class WindowSink:
    """Shows frames in a window; closing it, or pressing q or Escape, ends the call."""

    def __init__(self) -> None:
        self._shown = False

    def open(self) -> None:
        """Open the window; KeycastError where OpenCV was built without one."""
        import cv2

        try:
            cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL)
            cv2.resizeWindow(_TITLE, 512, 512)
        except cv2.error as error:
            raise KeycastError("OpenCV cannot open a window here; use --view none.") from error
        self._shown = True

    def write(self, number: int, picture: Pictures) -> None:  # noqa: ARG002 - a window shows what is newest
        """Show one frame; raises WindowClosed when the user has closed the window."""
        import cv2

        if not self._shown:
            return
        cv2.imshow(_TITLE, picture[:, :, ::-1])
        key = cv2.waitKey(1) & 0xFF
        if key in (ord("q"), 27) or cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) < 1:
            raise WindowClosed

    def close(self) -> None:
        """Close the window."""
        import cv2

        if self._shown:
            self._shown = False
            cv2.destroyAllWindows()


class WindowClosed(Exception):  # noqa: N818 - not an error: the user is done
    """The user closed the window."""
