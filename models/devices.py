"""Meaning of `--device`, determined without loading torch where there can be no GPU."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

from shared.constants import DEVICES
from shared.errors import RequestError

# Of the driver, not of CUDA's toolkit: torch brings that with it, and can do nothing without a driver.
_DRIVERS = ("nvcuda.dll",) if sys.platform == "win32" else ("libcuda.so.1", "libcuda.so")
# AMD's kernel driver: torch built for it calls its GPUs "cuda" too.
_AMD = Path("/dev/kfd")


def choose_device(name: str) -> str:
    """Resolve `auto` to the GPU where there is one. Raise RequestError for a GPU that is not there.

    For `auto` torch is asked, and loaded for it, only where a GPU's driver is installed.
    """
    if name not in DEVICES:
        raise RequestError(f"There is no device {name!r}; choose from: {', '.join(DEVICES)}.")
    if name == "auto":
        return "cuda" if has_gpu_driver() and _torch_has_gpu() else "cpu"
    if name == "cuda" and not _torch_has_gpu():
        raise RequestError("This machine has no CUDA GPU that torch can use; choose --device cpu.")
    return name


def has_gpu_driver() -> bool:
    """Whether the driver of a GPU that torch could use is installed on this machine."""
    return _AMD.exists() or any(_loads(library) for library in _DRIVERS)


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _torch_has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
