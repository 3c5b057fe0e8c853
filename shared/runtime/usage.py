"""Resource usage of this process: processor time, memory, and how long it took to start."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

_IMPORTED = time.monotonic()
_MB = 1e6


class Usage:
    """Of a call: `begin` and `end` are its first and its last moment, `first` that of its first frame."""

    def __init__(self) -> None:
        self._made = time.monotonic()
        self._began: tuple[float, float] | None = None
        self.cpu = 0.0
        """CPU seconds of the whole process per second of call."""
        self.first_frame_s: float | None = None
        """Seconds from the making of this to the first frame."""
        self.start_s: float | None = None
        """Seconds from the start of the process to the first frame."""

    def begin(self) -> None:
        """The call is set up."""
        self._began = time.monotonic(), time.process_time()

    def first(self) -> None:
        """A frame is on its way; the first one counts."""
        if self.first_frame_s is None:
            self.first_frame_s = time.monotonic() - self._made
            self.start_s = seconds_since_start()

    def end(self) -> None:
        """The call is over."""
        if self._began is not None:
            began, used = self._began
            self.cpu = (time.process_time() - used) / max(time.monotonic() - began, 1e-3)


def seconds_since_start() -> float:
    """Return how long this process has existed; where that is not reported, since this was imported."""
    try:
        # Field 22, after the name in parentheses: clock ticks from the machine's start to the process's.
        fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return time.monotonic() - _IMPORTED


def peak_memory_mb() -> float | None:
    """Return the most resident memory this process has had, in megabytes (10^6 bytes); None if unknown."""
    try:
        # Not getrusage: that one still knows the memory of the process that this one was forked from.
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / _MB
    except (OSError, ValueError, IndexError):
        pass
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MB
    return None
