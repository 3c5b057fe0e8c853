"""A camera that other programs can choose, which shows the call."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from shared.constants import FPS, SIZE
from shared.errors import RequestError
from shared.keypoints import Pictures

if TYPE_CHECKING:
    from pyvirtualcam import Camera

DRIVER = "v4l2loopback on Linux (sudo modprobe v4l2loopback), OBS on Windows and macOS"
OTHER_SIZES = ((640, 480), (1280, 720))
"""Asked for where a driver does not take ours; the picture stands in their middle."""
# What drivers say, in small letters; they have no other way to tell one thing from another.
_BUSY = ("busy", "in use", "already started", "already open")
_DENIED = ("permission",)
_MISSING = ("no v4l2 loopback device", "not found", "not installed", "no such file", "could not find")

log = logging.getLogger(__name__)


class VirtualCameraSink:
    """Sends frames to a virtual camera: v4l2loopback on Linux, OBS's on Windows and macOS.

    Where that fails in the middle of a call, a warning says so, and the call goes on without it.
    """

    def __init__(self, device: str | None = None) -> None:
        self._device = device
        self._camera: Camera | None = None
        self._size = (SIZE, SIZE)

    def open(self) -> None:
        """Open the camera, the first there is without a device; RequestError where that is not possible."""
        try:
            import pyvirtualcam
        except ImportError as error:
            raise RequestError(
                "A virtual camera needs a package that is not installed; run: pip install "
                "'keycast[virtual-camera]'."
            ) from error
        failure: Exception | None = None
        for size in ((SIZE, SIZE), *OTHER_SIZES):
            try:
                self._camera = pyvirtualcam.Camera(*size, FPS, device=self._device)
            # Its drivers raise RuntimeError and more.
            except Exception as error:
                failure = failure or error
                if _says(error, _BUSY + _DENIED + _MISSING):
                    break
            else:
                self._size = (self._camera.width, self._camera.height)
                if self._size != (SIZE, SIZE):
                    log.warning("The virtual camera %s shows %dx%d.", self.device, *self._size)
                return
        assert failure is not None
        raise RequestError(self._sentence(failure)) from failure

    @property
    def device(self) -> str:
        """What other programs call the camera; "" while it is not open."""
        return self._camera.device if self._camera is not None else ""

    def write(self, number: int, picture: Pictures) -> None:  # noqa: ARG002 - a camera shows what is newest
        """Show one frame."""
        if self._camera is None:
            return
        try:
            self._camera.send(fitted(picture, self._size))
        except Exception as error:
            log.warning(
                "The virtual camera %s takes no more pictures (%s); the call goes on without it.",
                self.device, _short(error),
            )  # fmt: skip
            self._give_back()

    def close(self) -> None:
        """Give the camera back."""
        self._give_back()

    def _give_back(self) -> None:
        camera, self._camera = self._camera, None
        if camera is not None:
            try:
                camera.close()
            except Exception as error:
                log.warning("The virtual camera does not close (%s).", _short(error))

    def _sentence(self, error: Exception) -> str:
        wanted = "virtual camera" if self._device is None else f"virtual camera {self._device}"
        if _says(error, _BUSY):
            return f"The {wanted} is in use by another program; end that, or name another device."
        if _says(error, _DENIED):
            return (
                f"The {wanted} may not be used ({_short(error)}); on Linux, add yourself to the group video "
                "and log in again."
            )
        why = "" if _says(error, _MISSING) else f" ({_short(error)})"
        return f"There is no {wanted} here that can be used{why}; install its driver: {DRIVER}."


def fitted(picture: Pictures, size: tuple[int, int]) -> Pictures:
    """Return `picture` (H, W, 3), uint8 RGB, as large as fits in `size` (width, height), black beside it."""
    if picture.shape[1::-1] == size:
        return np.ascontiguousarray(picture)
    padded = ImageOps.pad(Image.fromarray(picture), size, Image.Resampling.BICUBIC, color="black")
    return np.array(padded, np.uint8)


def _says(error: Exception, words: tuple[str, ...]) -> bool:
    return any(word in str(error).lower() for word in words)


def _short(error: Exception) -> str:
    said = str(error).split("\n")[0].rpartition("' backend: ")[2]
    return said.split(". ")[0].rstrip(".") or type(error).__name__
