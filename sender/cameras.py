"""Cameras of this machine, by the names that `--source` takes."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sender.camera import Camera, open_camera
from shared.errors import KeycastError

# struct v4l2_capability and VIDIOC_QUERYCAP of Linux' videodev2.h.
_CAPABILITY = struct.Struct("<16s32s32sIII12x")
_QUERY = 0x80685600
_CAPTURE, _CAPTURE_PLANES, _HAS_OWN = 0x1, 0x1000, 0x80000000
_MAX_CAMERAS = 10


@dataclass(frozen=True)
class FoundCamera:
    """A camera: `number` as in cam0, and what else is known of it."""

    number: int
    name: str


def describe_cameras() -> list[str]:
    """Return a line for each camera. Raise KeycastError where there is none."""
    found = list(linux_cameras() if sys.platform == "linux" else probed_cameras())
    if not found:
        raise KeycastError("There is no camera on this machine; plug one in, or send a video file or demo.")
    return [f"cam{camera.number}  {camera.name}".rstrip() for camera in found]


def device_abilities(device: Path) -> int:
    """Return what a V4L2 device can do, as its driver's flags. Raise OSError where it may not be asked."""
    import fcntl

    answer = bytearray(_CAPABILITY.size)
    with device.open("rb", buffering=0) as opened:
        fcntl.ioctl(opened, _QUERY, answer)
    *_, all_nodes, own = _CAPABILITY.unpack(answer)
    return int(own if all_nodes & _HAS_OWN else all_nodes)


def linux_cameras(
    system: Path = Path("/sys/class/video4linux"),
    devices: Path = Path("/dev"),
    abilities: Callable[[Path], int] = device_abilities,
) -> Iterator[FoundCamera]:
    """Yield what can capture, in order. A webcam often has a second node, for its metadata: not that one."""
    numbers = (entry.name.removeprefix("video") for entry in system.glob("video*"))
    for number in sorted(int(text) for text in numbers if text.isdigit()):
        try:
            flags = abilities(devices / f"video{number}")
        except PermissionError:
            said = f"{_name(system, number)} (permission denied)"
            yield FoundCamera(number, said.strip())
            continue
        except OSError:  # it has just been unplugged, or is none
            continue
        if flags & (_CAPTURE | _CAPTURE_PLANES):
            yield FoundCamera(number, _name(system, number))


def probed_cameras() -> Iterator[FoundCamera]:
    """Yield what OpenCV can open, where the system gives no names."""
    for number in range(_MAX_CAMERAS):
        camera = open_camera(number)
        if camera is not None:
            camera.release()
            yield FoundCamera(number, "")


class SameCamera:
    """Opens camera `number` again, after it was unplugged: under another number where it has a new one.

    It is known by its name. A twin that was there all the time is not taken for it.
    """

    def __init__(
        self,
        number: int,
        listed: Callable[[], Iterable[FoundCamera]] | None = None,
        opened: Callable[[int], Camera | None] = open_camera,
    ) -> None:
        self._number, self._open = number, opened
        self._listed = listed or (linux_cameras if sys.platform == "linux" else tuple)
        found = list(self._listed())
        self._name = next((camera.name for camera in found if camera.number == number), "")
        self._twins = {camera.number for camera in found if camera.number != number}

    def __call__(self) -> Camera | None:
        """Return it opened, or None where it is not there yet."""
        return next(filter(None, map(self._open, self._numbers())), None)

    def _numbers(self) -> list[int]:
        named = [camera.number for camera in self._listed() if self._name and camera.name == self._name]
        moved = [number for number in named if number != self._number and number not in self._twins]
        # Where nothing has a name, the number is all there is to go by.
        return ([self._number] if self._number in named or not self._name else []) + moved


def _name(system: Path, number: int) -> str:
    try:
        text = (system / f"video{number}" / "name").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    # A device says its own name.
    return "".join(letter for letter in text.strip() if letter.isprintable())
