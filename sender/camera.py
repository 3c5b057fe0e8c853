"""The newest picture of a webcam."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol, cast

from sender.crop import Crop, centre_square
from shared.config import FPS
from shared.errors import KeycastError
from shared.keypoints import Pictures

FIRST_FRAME_S = 2.0
STALL_S = 3.0


class Camera(Protocol):
    """What is used of `cv2.VideoCapture`."""

    def read(self) -> tuple[bool, Pictures | None]:
        """Wait for the next picture (H, W, 3) uint8 BGR; (False, None) where none came."""
        ...

    def release(self) -> None:
        """Give the camera back."""
        ...


class CameraSource:
    """The newest picture of a camera, whatever its own rate."""

    live = True

    def __init__(
        self, camera: Camera, crop: Crop | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._camera, self._crop, self._now = camera, crop, now
        self._news = threading.Condition()
        self._newest: Pictures | None = None
        self._since = now()
        self._picture: Pictures | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._watch, name="camera", daemon=True)
        self._thread.start()

    def frame(self, n: int) -> Pictures | None:  # noqa: ARG002 - a camera knows only the present
        """Return the newest picture, waiting up to 2 s for the first; None once closed.

        Raises KeycastError where the camera sends nothing, or has sent nothing for 3 s.
        """
        with self._news:
            self._news.wait_for(lambda: self._newest is not None or self._closed, FIRST_FRAME_S)
            if self._closed:
                return None
            if self._newest is None:
                raise KeycastError("The camera sends no pictures; is another program using it?")
            if self._now() - self._since > STALL_S:
                raise KeycastError(f"The camera has sent nothing for {STALL_S:.0f} s; was it unplugged?")
            newest, picture = self._newest, self._picture
        if picture is None:
            picture = self._convert(newest)
            with self._news:
                # Kept for the next call, unless the camera was faster.
                self._picture = picture if newest is self._newest else None
        return picture

    def close(self) -> None:
        """Release the camera."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        self._thread.join(STALL_S)

    def _convert(self, bgr: Pictures) -> Pictures:
        crop = self._crop or centre_square(bgr.shape[1], bgr.shape[0])
        return crop.apply(bgr[..., ::-1])

    def _watch(self) -> None:
        while not self._closed:
            good, picture = self._camera.read()
            if not good or picture is None:
                time.sleep(0.01)
                continue
            with self._news:
                self._newest, self._picture, self._since = picture, None, self._now()
                self._news.notify_all()
        self._camera.release()


def open_camera(index: int) -> Camera | None:
    """Open the system's camera number `index`; None where there is none, or it may not be used."""
    import cv2

    cv2.utils.logging.setLogLevel(0)
    camera = cv2.VideoCapture(index)
    if not camera.isOpened():
        camera.release()
        return None
    # Enough for a 256x256 crop, and what every webcam sends at 30 fps.
    for key, value in (
        (cv2.CAP_PROP_FRAME_WIDTH, 640),
        (cv2.CAP_PROP_FRAME_HEIGHT, 480),
        (cv2.CAP_PROP_FPS, FPS),
    ):
        camera.set(key, value)
    return cast(Camera, camera)
