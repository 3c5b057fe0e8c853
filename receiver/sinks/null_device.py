"""A loudspeaker that makes no sound, at the pace of a real one: to measure, or where sound goes elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.clock import monotonic
from shared.media.opus import RATE

_BLOCK = 480


@dataclass(frozen=True)
class _Times:
    currentTime: float  # noqa: N815 - PortAudio's names
    outputBufferDacTime: float  # noqa: N815


class NullDevice:
    """Calls `callback` every 10 ms as sounddevice's streams do; what it plays comes out `latency` s later."""

    def __init__(self, callback: Callable[[Any, int, Any, object], None], latency: float = 0.02) -> None:
        self._callback = callback
        self.latency = latency
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="null speaker", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        out = np.zeros((_BLOCK, 1), np.int16)
        plays_at = monotonic()
        while not self._over.wait(max(0.0, plays_at - monotonic())):
            # A callback that comes late is still for the moment that it was meant for, as with a device.
            now = monotonic()
            self._callback(out, _BLOCK, _Times(now, max(plays_at, now - self.latency) + self.latency), None)
            plays_at = max(plays_at, now - self.latency) + _BLOCK / RATE
