"""One thing that `bench throughput` measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.interfaces import Backbone

# 36 frames of the plain full network take 15 seconds on a CPU: these few are scaled instead, and run often.
PLAIN_CPU_FRAMES = 2
# Single frames timed for their latency.
LATENCY_FRAMES = 60


@dataclass(frozen=True)
class Subject:
    """One way of running one network; multiply-accumulates are per frame.

    One run measures `frames` of them in blocks; `latency_frames` are timed singly. `parts` are the
    multiply-accumulates of networks within the rendering by name, and `remark` is what to know of them, where
    they tell why the count is not that of others.
    """

    backbone: str
    engine: str
    precision: str
    facade: Backbone
    parameters: int
    macs_detect: int
    macs_render: int
    trained: bool
    frames: int
    latency_frames: int
    parts: Mapping[str, int] = field(default_factory=dict)
    remark: str = ""
