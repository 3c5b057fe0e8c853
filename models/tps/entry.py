"""The Thin-Plate-Spline Motion Model for the commands: it needs a published checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.entry import Entry
from shared.errors import RequestError

if TYPE_CHECKING:
    from models.stages import Network
    from models.tps.backbone import TpsBackbone


def _load(path: Path | None, device: str) -> TpsBackbone:
    # Imported here, with torch, which the lite network does without on a CPU.
    from models.tps.backbone import TpsBackbone

    return TpsBackbone.load(_needed(path), device)


def _stages(path: Path | None) -> Network:
    from models.tps.model import load_tps
    from models.tps.stages import tps_network

    return tps_network(load_tps(_needed(path)))


def _needed(path: Path | None) -> Path:
    if path is None:
        raise RequestError(
            "The tps backbone needs --checkpoint with a published Thin-Plate-Spline Motion Model file, "
            "such as vox.pth.tar; without one, use --backbone lite."
        )
    return path


ENTRY = Entry(_load, _stages)
