"""Meaning of `--device`, determined without loading torch where there can be no GPU."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from shared.constants import DEVICES
from shared.errors import RequestError
from shared.runtime.logs import logger

_log = logger("network")
# Of the driver, not of CUDA's toolkit: torch brings that with it, and can do nothing without a driver.
_DRIVERS = ("nvcuda.dll",) if sys.platform == "win32" else ("libcuda.so.1", "libcuda.so")
# NVIDIA's management library, which comes with the driver and knows its version.
_MANAGEMENT = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"
# AMD's kernel driver: torch built for it calls its GPUs "cuda" too.
_AMD = Path("/dev/kfd")
_LONGEST_REASON = 160


def choose_device(name: str) -> str:
    """Resolve `auto` to the GPU where there is one that computes, else, with a warning, to the CPU.

    Raises RequestError for a GPU that is not there or does not compute. For `auto` torch is asked, and loaded
    for it, only where a GPU's driver is installed.
    """
    if name == "mps":
        raise RequestError(
            "The networks do not run on Apple's GPUs; choose --device auto or cpu, which uses OpenVINO."
        )
    if name not in DEVICES:
        raise RequestError(f"There is no device {name!r}; choose from: {', '.join(DEVICES)}.")
    if name == "auto":
        return _auto()
    if name == "cuda":
        if not _torch_has_gpu():
            raise RequestError("This machine has no CUDA GPU that torch can use; choose --device cpu.")
        trouble = gpu_trouble()
        if trouble:
            raise RequestError(
                f"The GPU does not work with {torch_words()} ({trouble}); choose --device cpu, or "
                "install another build of torch."
            )
    return name


def _auto() -> str:
    if not (has_gpu_driver() and _torch_has_gpu()):
        return "cpu"
    trouble = gpu_trouble()
    if trouble:
        _log.warning("The GPU does not work with %s (%s); continuing on the CPU.", torch_words(), trouble)
        return "cpu"
    return "cuda"


@cache
def gpu_trouble() -> str:
    """Return what is wrong with the GPU, empty where it computes: a small convolution is tried, once.

    Being there is not enough: a card too old for the build of torch, a full one, or a driver that does not
    fit is found by computing alone.
    """
    import torch

    from models.gpu import FAILURES

    try:
        ones = torch.ones(1, 1, 4, 4, device="cuda")
        found = torch.nn.functional.conv2d(ones, ones[..., :3, :3], padding=1)
        middle = float(found[0, 0, 1, 1])  # waits for it
    except FAILURES as error:
        return reason_of(error)
    return "" if middle == 9 else f"it says that nine ones are {middle:g}"


def reason_of(error: BaseException) -> str:
    """Return the first line that `error` says, or its type, without its full stop and of bounded length."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].strip().rstrip(".")[:_LONGEST_REASON]


def torch_words() -> str:
    """Return torch's version, and CUDA's that it was built for."""
    import torch

    cuda = torch.version.cuda
    return f"torch {torch.__version__}" + (f" for CUDA {cuda}" if cuda else "")


def device_facts(device: str) -> Mapping[str, str]:
    """Return what reports say of `device`: of a GPU its name, its driver's version and torch's builds.

    Of the CPU, nothing more than "cpu".
    """
    if device == "cpu":
        return {"device": "cpu"}
    import torch

    return {
        "device": device,
        "gpu": torch.cuda.get_device_name(),
        "gpu_driver": _driver_version() or "unknown",
        "torch": torch.__version__,
        "cuda": torch.version.cuda or torch.version.hip or "unknown",
    }


def device_words(device: str) -> str:
    """Return `device` as a person knows it: "the CPU", or the GPU's name."""
    return "the CPU" if device == "cpu" else device_facts(device)["gpu"]


def has_gpu_driver() -> bool:
    """Whether the driver of a GPU that torch could use is installed on this machine."""
    return _AMD.exists() or any(_loads(library) for library in _DRIVERS)


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _driver_version() -> str:
    """Return the version of NVIDIA's driver, empty where its library does not report it."""
    text = ctypes.create_string_buffer(96)
    try:
        library = ctypes.CDLL(_MANAGEMENT)
        if library.nvmlInit_v2() or library.nvmlSystemGetDriverVersion(text, len(text)):
            return ""
    except (OSError, AttributeError):
        return ""
    return text.value.decode("ascii", "replace")


def _torch_has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
