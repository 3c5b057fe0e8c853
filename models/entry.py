"""Self-description of a backbone's folder, for every command to load it by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shared.interfaces import Backbone

if TYPE_CHECKING:
    from models.stages import Network

WEIGHTS = Path(__file__).parent / "weights"
"""Of everything that came with the project, a folder each."""


@dataclass(frozen=True)
class Entry:
    """`models.NAME.entry.ENTRY` of the backbone NAME; importing it loads no torch.

    `load` builds the backbone for a device, "cpu" or "cuda", from the weights at a path, or from those that
    came with the project where it is None. `stages` returns the same network in torch, stage by stage, for
    exporting it and for counting its operations. Both raise RequestError, in one sentence, for weights that
    are missing or do not fit.
    """

    load: Callable[[Path | None, str], Backbone]
    stages: Callable[[Path | None], Network]
