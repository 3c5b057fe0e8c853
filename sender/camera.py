"""The newest picture of a webcam, which may be unplugged and plugged in again meanwhile."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol, cast

from sender.crop import CentreSquare, Framing, Holding
from shared.constants import FPS, SIZE
from shared.errors import KeycastError
from shared.keypoints import Pictures
from shared.runtime.logs import logger

FIRST_FRAME_S = 2.0
STALE_S = 0.5
"""A picture that is older is not the present any more: dark rooms slow webcams down to some 5 per second."""
STALL_S = 2.0
"""A camera that gives nothing for so long is opened anew."""
SAME_S = 10.0
"""And so is one that gives the same picture for so long."""
RATE_S = 2.0
FIRST_PICTURES = 10
"""The framing begins with so many, a third of a second of a usual camera."""
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 4.0
CLOSE_S = 3.0
SLOW_FPS, SETTLED_S = 20.0, 5.0
"""Fewer pictures per second are reported, once, when a camera has run for so long."""
_WATCH_S, _LEAVE_S = 0.05, 0.5
_MIN_TIMES = 4

_log = logger("camera")


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
    """The newest picture of a camera, whatever its own rate, as squares of `side` pixels.

    A camera that stops, or whose picture or reading has got stuck, is opened anew by `reopen`, again and
    again until that gives one. Without `reopen`, the same is asked on.
    """

    live = True

    def __init__(
        self,
        camera: Camera,
        framing: Framing | None = None,
        now: Callable[[], float] = time.monotonic,
        reopen: Callable[[], Camera | None] | None = None,
        *,
        denoise: bool = False,
        side: int = SIZE,
    ) -> None:
        self._camera, self._now, self._reopen = camera, now, reopen
        self._framing = Holding(framing or CentreSquare(), denoise, side)
        self._begun = False
        self._news = threading.Condition()
        self._newest: Pictures | None = None
        self._since = self._opened = now()
        self._picture: Pictures | None = None
        self._closed = self._is_still = self._said = False
        self._changed = self._opened
        self._rate = Rate()
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
    def pace(self) -> float | None:
        """How many pictures per second really come; None where too few have, to tell."""
        with self._news:
            return self._rate.at(self._now())

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
        """Have the camera read, by a thread that may block, and open it anew where nothing comes."""
        reader = self._read_from(self._camera)
        while not self._wait(self._closed_now, _WATCH_S):
            now = self._now()
            silent = now - max(self._since, self._opened) > STALL_S
            # One that shows the same again after it was opened anew is still, not broken.
            stuck = now - self._changed > SAME_S and not self._is_still
            if self._newest is not None and self._reopen is not None and (silent or stuck):
                self._is_still = stuck
                reader.leave()
                reader.join(_LEAVE_S)
                reader = self._open_anew(self._reopen)
            self._tell_pace(now)
        reader.leave()
        reader.join(CLOSE_S)

    def _read_from(self, camera: Camera) -> _Reader:
        # Cameras take a second until their first picture.
        self._opened = self._changed = self._now()
        reader = _Reader(camera, self._took)
        reader.start()
        return reader

    def _took(self, picture: Pictures) -> None:
        with self._news:
            now = self._now()
            if self._newest is None or not _is_same(picture, self._newest):
                self._changed = now
                # What moved once and stands again has got stuck.
                self._is_still = self._is_still and self._newest is None
            self._rate.came(now)
            self._newest, self._picture, self._since = picture, None, now
            self._news.notify_all()

    def _tell_pace(self, now: float) -> None:
        if self._said or now - self._opened < SETTLED_S:
            return
        pace = self.pace
        if pace is not None and pace < SLOW_FPS:
            self._said = True
            _log.warning(
                "The camera delivers only %.0f frames per second, which looks jerky; most cameras are faster "
                "in more light.",
                pace,
            )

    def _closed_now(self) -> bool:
        return self._closed

    def _wait(self, until: Callable[[], bool], seconds: float) -> bool:
        with self._news:
            return self._news.wait_for(until, seconds)

    def _open_anew(self, reopen: Callable[[], Camera | None]) -> _Reader:
        """Wait for a camera; the first picture that it sends counts anew."""
        if self._opened <= self._since:
            _log.warning("The camera has stopped delivering frames; sending resumes when it delivers again.")
        return self._read_from(self._reopened(reopen))

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


class _Reader(threading.Thread):
    """Hands each picture of `camera` to `took`, until it is left; then it gives the camera back.

    Only this thread touches the camera: some drivers block for ever in reading, and break where another
    thread releases them meanwhile.
    """

    def __init__(self, camera: Camera, took: Callable[[Pictures], None]) -> None:
        super().__init__(name="camera reader", daemon=True)
        self._camera, self._took, self._left = camera, took, False

    def leave(self) -> None:
        """Take no more pictures."""
        self._left = True

    def run(self) -> None:
        """Read."""
        while not self._left:
            good, picture = self._camera.read()
            if not good or picture is None:
                time.sleep(0.01)
            elif not self._left:
                self._took(picture)
        self._camera.release()


class Rate:
    """Pictures per second that really come, over the last two seconds."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def came(self, now: float) -> None:
        """Take note of a picture at `now` (seconds, never falling)."""
        self._times.append(now)
        while self._times[0] < now - RATE_S:
            self._times.popleft()

    def at(self, now: float) -> float | None:
        """Return it as of `now`; None where too few have come to tell."""
        times = [time for time in self._times if time >= now - RATE_S]
        if len(times) < _MIN_TIMES:
            return None
        return (len(times) - 1) / (times[-1] - times[0]) if times[-1] > times[0] else None


def _is_same(a: Pictures, b: Pictures) -> bool:
    """Say whether two pictures are one: no sensor gives the same numbers twice."""
    return a.shape == b.shape and bool((a[::16, ::16] == b[::16, ::16]).all()) and bool((a == b).all())


class _NoCamera:
    """Stand-in where a call ended while there was no camera."""

    def read(self) -> tuple[bool, Pictures | None]:
        return False, None

    def release(self) -> None:
        pass


def open_camera(index: int, side: int = SIZE) -> Camera | None:
    """Open the system's camera number `index`; None where there is none, or it may not be used.

    `side` is what its pictures are for, see `set_up`.
    """
    import cv2

    cv2.utils.logging.setLogLevel(0)
    camera = cv2.VideoCapture(index)
    if not camera.isOpened():
        camera.release()
        return None
    set_up(camera, side)
    return cast(Camera, camera)


class Settable(Protocol):
    """The part of `cv2.VideoCapture` that sets a camera up."""

    def get(self, key: int) -> float:
        """Return a property; 0 where the driver does not know it."""
        ...

    def set(self, key: int, value: float) -> bool:
        """Ask for a property; the driver takes what is nearest."""
        ...


def set_up(camera: Settable, side: int = SIZE) -> None:
    """Ask for 30 fps, and enough pixels for a square around a head at a desk; MJPG where raw is slower.

    The square will be `side` pixels large: where that is more than usual, so are the camera's pictures.
    """
    import cv2

    width, height = (640, 480) if side <= SIZE else (1280, 720)
    wanted = (
        (cv2.CAP_PROP_FRAME_WIDTH, width),
        (cv2.CAP_PROP_FRAME_HEIGHT, height),
        (cv2.CAP_PROP_FPS, FPS),
    )
    for key, value in wanted:
        camera.set(key, value)
    # USB 2 carries raw pictures of this size at 30 fps, but not beside another camera's.
    if 0 < camera.get(cv2.CAP_PROP_FPS) < FPS - 1:
        camera.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        for key, value in wanted:
            camera.set(key, value)
