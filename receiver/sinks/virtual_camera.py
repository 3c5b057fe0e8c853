"""A camera that other programs can choose, which shows the call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shared.constants import FPS, SIZE
from shared.errors import KeycastError, RequestError
from shared.keypoints import Pictures

if TYPE_CHECKING:
    from pyvirtualcam import Camera

DRIVER = "v4l2loopback on Linux (sudo modprobe v4l2loopback), OBS on Windows and macOS"


class VirtualCameraSink:
    """Sends frames to a virtual camera: v4l2loopback on Linux, OBS's on Windows and macOS."""

    def __init__(self, device: str | None = None) -> None:
        self._device = device
        self._camera: Camera | None = None

    def open(self) -> None:
        """Open the camera, the first there is without a device; RequestError where that is not possible."""
        try:
            import pyvirtualcam
        except ImportError as error:
            raise RequestError(
                "A virtual camera needs a package that is not installed; run: pip install "
                "'keycast[virtual-camera]'."
            ) from error
        try:
            self._camera = pyvirtualcam.Camera(SIZE, SIZE, FPS, device=self._device)
        # Its drivers raise RuntimeError and more.
        except Exception as error:
            wanted = "virtual camera" if self._device is None else f"virtual camera {self._device}"
            raise RequestError(
                f"There is no {wanted} here that can be used; install its driver: {DRIVER}."
            ) from error

    @property
    def device(self) -> str:
        """What other programs call the camera; "" while it is not open."""
        return self._camera.device if self._camera is not None else ""

    def write(self, number: int, picture: Pictures) -> None:  # noqa: ARG002 - a camera shows what is newest
        """Show one frame; KeycastError where the driver fails."""
        if self._camera is None:
            return
        try:
            self._camera.send(np.ascontiguousarray(picture))
        except Exception as error:
            raise KeycastError(
                f"The virtual camera {self.device} takes no more pictures: {error}."
            ) from error

    def close(self) -> None:
        """Give the camera back."""
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.close()
