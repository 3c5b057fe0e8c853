"""The lite network for the commands: its weights came with the project."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.entry import WEIGHTS, Entry
from models.lite.backbone import LiteBackbone

if TYPE_CHECKING:
    from models.stages import Network


def _load(path: Path | None, device: str) -> LiteBackbone:
    return LiteBackbone.load(path or WEIGHTS / "lite", device)


def _stages(path: Path | None) -> Network:
    from models.inference import prepare
    from models.lite.stages import lite_network
    from models.lite.torch_engine import load_network
    from models.stored import read

    folder = path or WEIGHTS / "lite"
    return lite_network(prepare(load_network(folder)), read(folder).fingerprint)


ENTRY = Entry(_load, _stages)
