"""The full First Order Motion Model for the commands: it needs a published checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.entry import Entry
from shared.errors import RequestError

if TYPE_CHECKING:
    from models.fomm.backbone import FommBackbone
    from models.stages import Network


def _load(path: Path | None, device: str) -> FommBackbone:
    # Imported here, with torch, which the lite network does without on a CPU.
    from models.fomm.backbone import FommBackbone

    return FommBackbone.load(_needed(path), device)


def _stages(path: Path | None) -> Network:
    from models.fomm.model import load_fomm
    from models.fomm.stages import fomm_network

    return fomm_network(load_fomm(_needed(path)))


def _needed(path: Path | None) -> Path:
    if path is None:
        raise RequestError(
            "The fomm backbone needs --checkpoint with a published First Order Motion Model file, "
            "such as vox-cpk.pth.tar; without one, use --backbone lite."
        )
    return path


ENTRY = Entry(_load, _stages)
