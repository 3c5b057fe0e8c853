"""The neural talking head for the commands: it needs a published checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.entry import Entry
from shared.errors import RequestError

if TYPE_CHECKING:
    from models.nth.backbone import NthBackbone
    from models.stages import Network


def _load(path: Path | None, device: str) -> NthBackbone:
    # Imported here, with torch, which the lite network does without on a CPU.
    from models.nth.backbone import NthBackbone

    return NthBackbone.load(_needed(path), device)


def _stages(path: Path | None) -> Network:
    from models.nth.model import load_nth
    from models.nth.stages import nth_network

    return nth_network(load_nth(_needed(path)))


def _needed(path: Path | None) -> Path:
    if path is None:
        raise RequestError(
            "The nth backbone needs --checkpoint with a published file of the free-view neural talking head, "
            "such as Vox-256-New; without one, use --backbone lite."
        )
    return path


ENTRY = Entry(_load, _stages)
