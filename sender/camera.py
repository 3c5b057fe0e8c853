"""The newest picture of a webcam, which may be unplugged and plugged in again meanwhile."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol, cast

from sender.crop import CentreSquare, Framing, Holding
from shared.constants import FPS
from shared.errors import KeycastError
from shared.keypoints import Pictures

FIRST_FRAME_S = 2.0
STALE_S = 0.5
"""A picture that is older is not the present any more: dark rooms slow webcams down to some 5 per second."""
STALL_S = 2.0
"""A camera that gives nothing for so long is opened anew."""
FIRST_PICTURES = 10
"""The framing begins with so many, a third of a second of a usual camera."""
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 4.0
CLOSE_S = 3.0

log = logging.getLogger(__name__)


class CameraPausedError(Exception):
    """The camera gives no pictures now; it may again."""


class Camera(Protocol):
    """The part of `cv2.VideoCapture` that is used."""

    def read(self) -> tuple[bool, Pictures | None]:
        """Wait for the next picture (H, W, 3) uint8 BGR; (False, None) where none came."""
        ...

    def release(self) -> None:
        """Give the camera back."""
        ...


class CameraSource:
    """The newest picture of a camera, whatever its own rate.

    A camera that stops is opened anew by `reopen`, again and again until that gives one. Without `reopen`,
    the same is asked on.
    """

    live = True

    def __init__(
        self,
        camera: Camera,
        framing: Framing | None = None,
        now: Callable[[], float] = time.monotonic,
        reopen: Callable[[], Camera | None] | None = None,
    ) -> None:
        self._camera, self._now, self._reopen = camera, now, reopen
        self._framing = Holding(framing or CentreSquare())
        self._begun = False
        self._news = threading.Condition()
        self._newest: Pictures | None = None
        self._since = self._opened = now()
        self._picture: Pictures | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._watch, name="camera", daemon=True)
        self._thread.start()

    def frame(self, n: int) -> Pictures | None:  # noqa: ARG002 - a camera knows only the present
        """Return the newest picture, waiting up to 2 s for the first; None once closed.

        Raises KeycastError where the camera has never sent any, CameraPausedError where the newest is
        over 0.5 s old.
        """
        with self._news:
            self._news.wait_for(lambda: self._newest is not None or self._closed, FIRST_FRAME_S)
        if not self._begun and self._newest is not None:
            self._begun = True
            self._framing.begin(self._first_pictures())
        with self._news:
            if self._closed:
                return None
            if self._newest is None:
                raise KeycastError("The camera sends no pictures; is another program using it?")
            if self._now() - self._since > STALE_S:
                raise CameraPausedError
            newest, picture = self._newest, self._picture
        if picture is None:
            picture = self._convert(newest)
            with self._news:
                # Kept for the next call, unless the camera was faster.
                self._picture = picture if newest is self._newest else None
        return picture

    @property
    def scene(self) -> int:
        """See `sender.capture.VideoSource`."""
        return self._framing.scene

    def close(self) -> None:
        """Release the camera."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        self._thread.join(CLOSE_S)

    def _first_pictures(self) -> Iterator[Pictures]:
        """Yield whole pictures, RGB, as they come: the first of a camera are often dark, so several."""
        shown: Pictures | None = None
        for _ in range(FIRST_PICTURES):
            shown = self._after(shown)
            if shown is None:
                return
            yield shown[..., ::-1]

    def _after(self, shown: Pictures | None) -> Pictures | None:
        """Return the first picture after `shown`; None where none came in 2 s, or the source was closed."""
        with self._news:
            came = self._news.wait_for(lambda: self._newest is not shown or self._closed, FIRST_FRAME_S)
            return self._newest if came and not self._closed else None

    def _convert(self, bgr: Pictures) -> Pictures:
        return self._framing.apply(bgr[..., ::-1], self._now())

    def _watch(self) -> None:
        while not self._closed:
            good, picture = self._camera.read()
            if good and picture is not None:
                with self._news:
                    self._newest, self._picture, self._since = picture, None, self._now()
                    self._news.notify_all()
            elif self._newest is not None and self._now() - max(self._since, self._opened) > STALL_S:
                self._open_anew()
            else:
                time.sleep(0.01)
        self._camera.release()

    def _open_anew(self) -> None:
        """Give the camera back and wait for one; the first picture that it sends counts anew."""
        if self._reopen is None:
            time.sleep(0.01)
            return
        if self._opened <= self._since:
            log.warning("The camera sends nothing; its pictures are sent again when it does.")
        self._camera.release()
        self._camera = self._reopened(self._reopen)
        # Cameras take a second until their first picture.
        self._opened = self._now()

    def _reopened(self, reopen: Callable[[], Camera | None]) -> Camera:
        wait = FIRST_RETRY_S
        while True:
            with self._news:
                if self._news.wait_for(lambda: self._closed, wait):
                    return _NoCamera()
            camera = reopen()
            if camera is not None:
                return camera
            wait = min(2 * wait, LAST_RETRY_S)


class _NoCamera:
    """Stand-in where a call ended while there was no camera."""

    def read(self) -> tuple[bool, Pictures | None]:
        return False, None

    def release(self) -> None:
        pass


def open_camera(index: int) -> Camera | None:
    """Open the system's camera number `index`; None where there is none, or it may not be used."""
    import cv2

    cv2.utils.logging.setLogLevel(0)
    camera = cv2.VideoCapture(index)
    if not camera.isOpened():
        camera.release()
        return None
    # Enough for a square around a head at a desk, and what every webcam sends at 30 fps.
    for key, value in (
        (cv2.CAP_PROP_FRAME_WIDTH, 640),
        (cv2.CAP_PROP_FRAME_HEIGHT, 480),
        (cv2.CAP_PROP_FPS, FPS),
    ):
        camera.set(key, value)
    return cast(Camera, camera)
