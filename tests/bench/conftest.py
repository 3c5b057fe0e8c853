"""Fixtures that tests of several measurements share: what takes seconds to load, loaded once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from shared.interfaces import Backbone


@pytest.fixture(scope="session")
def shipped_lite() -> Backbone:
    """Return the network that is shipped, on the CPU; what is used of it is compiled once."""
    from models.build import load_backbone

    return load_backbone("lite", device="cpu")


@pytest.fixture(scope="module")
def lite_loaded_once(shipped_lite: Backbone) -> Iterator[None]:
    """Give `shipped_lite` to every command: compiling it anew takes longer than most of them."""
    from models.entry import WEIGHTS
    from models.lite import entry

    load = entry.ENTRY.load

    def shared(path: Path | None, device: str) -> Backbone:
        shipped = path in (None, WEIGHTS / "lite") and device == "cpu"
        return shipped_lite if shipped else load(path, device)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entry, "ENTRY", replace(entry.ENTRY, load=shared))
        yield
