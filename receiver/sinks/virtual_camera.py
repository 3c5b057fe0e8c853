"""A camera that other programs can choose, which shows the call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

from shared.constants import FPS, SIZE
from shared.errors import RequestError
from shared.keypoints import Pictures
from shared.runtime.logs import logger

if TYPE_CHECKING:
    from pyvirtualcam import Camera

DRIVER = "v4l2loopback on Linux (sudo modprobe v4l2loopback), OBS on Windows and macOS"
OTHER_SIZES = ((640, 480), (1280, 720))
"""Asked for where a driver does not take ours; the picture stands in their middle."""
MAX_PIXELS = 4096
Size = tuple[int, int]
# What drivers say, in small letters; they have no other way to tell one thing from another.
_BUSY = ("busy", "in use", "already started", "already open")
_DENIED = ("permission",)
_MISSING = ("no v4l2 loopback device", "not found", "not installed", "no such file", "could not find")

_BORDER_FRAMES = 4
_BORDER_PIXELS, _BORDER_BLUR, _BORDER_LIGHT = (32, 18), 1.5, 0.6

_log = logger("sinks")


class VirtualCameraSink:
    """Sends frames to a virtual camera: v4l2loopback on Linux, OBS's on Windows and macOS.

    It is as large as the call's pictures, or of `size` (width, height), and they stand in its middle. Where
    sending fails in the middle of a call, a warning says so, and the call goes on without it.
    """

    def __init__(self, device: str | None = None, size: Size | None = None) -> None:
        self._device = device
        self._camera: Camera | None = None
        self._side: int | None = SIZE if size is None else None
        self._sizes = ((SIZE, SIZE), *OTHER_SIZES) if size is None else (size,)
        self._border = Border()

    def open(self) -> None:
        """Open the camera, the first there is without a device; RequestError where that is not possible."""
        try:
            import pyvirtualcam  # noqa: F401
        except ImportError as error:
            raise RequestError(
                "A virtual camera needs a package that is not installed; run: pip install "
                "'keycast[virtual-camera]'."
            ) from error
        failure: Exception | None = None
        for size in self._sizes:
            try:
                self._open(size)
            # Its drivers raise RuntimeError and more.
            except Exception as error:
                failure = failure or error
                if _says(error, _BUSY + _DENIED + _MISSING):
                    break
            else:
                if self._size != self._sizes[0]:
                    _log.warning("The virtual camera %s shows %dx%d.", self.device, *self._size)
                    self._side = None
                return
        assert failure is not None
        raise RequestError(self._sentence(failure)) from failure

    def _open(self, size: Size) -> None:
        import pyvirtualcam

        self._camera = pyvirtualcam.Camera(*size, FPS, device=self._device)

    @property
    def _size(self) -> Size:
        assert self._camera is not None
        return self._camera.width, self._camera.height

    @property
    def device(self) -> str:
        """What other programs call the camera; "" while it is not open."""
        return self._camera.device if self._camera is not None else ""

    def write(self, number: int, picture: Pictures) -> None:  # noqa: ARG002 - a camera shows what is newest
        """Show one frame."""
        if self._side not in (None, len(picture)):
            self._follow(len(picture))
        if self._camera is None:
            return
        try:
            self._camera.send(self._border.around(picture, self._size))
        except Exception as error:
            _log.warning(
                "The virtual camera %s stopped accepting frames (%s); the call continues without it.",
                self.device, _short(error),
            )  # fmt: skip
            self._give_back()

    def _follow(self, side: int) -> None:
        """Be as large as a call's pictures from now on; where the driver does not let it, stay as it is."""
        if self._camera is None:
            return
        before, self._side = self._size, side
        self._give_back()
        for size in ((side, side), before):
            try:
                self._open(size)
            except Exception as error:
                _log.warning("The virtual camera cannot be opened at %dx%d (%s).", *size, _short(error))
            else:
                return

    def close(self) -> None:
        """Give the camera back."""
        self._give_back()

    def _give_back(self) -> None:
        camera, self._camera = self._camera, None
        if camera is not None:
            try:
                camera.close()
            except Exception as error:
                _log.warning("The virtual camera cannot be closed (%s).", _short(error))

    def _sentence(self, error: Exception) -> str:
        wanted = "virtual camera" if self._device is None else f"virtual camera {self._device}"
        if _says(error, _BUSY):
            return f"The {wanted} is in use by another program; close that one, or choose another device."
        if _says(error, _DENIED):
            return (
                f"The {wanted} cannot be opened ({_short(error)}); on Linux, add yourself to the video group "
                "and log in again."
            )
        why = "" if _says(error, _MISSING) else f" ({_short(error)})"
        return f"No usable {wanted} was found{why}; install its driver: {DRIVER}."


class Border:
    """Puts pictures into the middle of wide ones, between what they are like, dark and out of focus."""

    def __init__(self) -> None:
        self._canvas = Image.new("RGB", (0, 0))
        self._count = 0

    def around(self, picture: Pictures, size: Size) -> Pictures:
        """Return `picture` (S, S, 3), uint8 RGB, as large as fits in `size` (width, height): (H, W, 3).

        What is beside it changes slowly: it is drawn anew for every fourth picture.
        """
        if picture.shape[1::-1] == size:
            return np.ascontiguousarray(picture)
        whole, side = Image.fromarray(picture), min(size)
        if self._canvas.size != size or self._count % _BORDER_FRAMES == 0:
            self._canvas = _out_of_focus(whole, size)
        self._count += 1
        left, top = (size[0] - side) // 2, (size[1] - side) // 2
        self._canvas.paste(whole.resize((side, side), Image.Resampling.BICUBIC), (left, top))
        return np.array(self._canvas, np.uint8)


def _out_of_focus(picture: Image.Image, size: Size) -> Image.Image:
    """Return the middle of a square `picture`, as wide as `size`, without any detail and darker."""
    wide, high = (length * picture.width / max(size) for length in size)
    left, top = (picture.width - wide) / 2, (picture.height - high) / 2
    small = picture.resize(
        _BORDER_PIXELS, Image.Resampling.BILINEAR, box=(left, top, left + wide, top + high)
    )
    soft = small.filter(ImageFilter.GaussianBlur(_BORDER_BLUR)).point(lambda level: level * _BORDER_LIGHT)
    return soft.resize(size, Image.Resampling.BICUBIC)


def parse_size(text: str) -> Size:
    """Read "1280x720". Raise RequestError on anything else."""
    width, cross, height = text.partition("x")
    if not (cross and all(one.isascii() and one.isdigit() and len(one) <= 4 for one in (width, height))):
        raise RequestError(f"{text!r} is not a camera size; write WIDTHxHEIGHT, such as 1280x720.")
    size = int(width), int(height)
    if not all(2 <= side <= MAX_PIXELS and side % 2 == 0 for side in size):
        raise RequestError(
            f"A camera cannot be {text} pixels; use even numbers up to {MAX_PIXELS}, such as 1280x720."
        )
    return size


def _says(error: Exception, words: tuple[str, ...]) -> bool:
    return any(word in str(error).lower() for word in words)


def _short(error: Exception) -> str:
    said = str(error).split("\n")[0].rpartition("' backend: ")[2]
    return said.split(". ")[0].rstrip(".") or type(error).__name__
