"""What the tests of several engines share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from models.openvino.convert import TorchGraphs
    from models.openvino.engine import StageName
    from models.openvino.runtime import Model


@pytest.fixture(scope="module")
def converted_once() -> Iterator[None]:
    """Convert each stage of a network from torch once; it takes far longer than whatever else is done to it.

    Networks are told apart by their fingerprints: not for those that were given none.
    """
    from models.openvino import convert

    made: dict[tuple[str, StageName], Model] = {}
    model = convert.TorchGraphs.model

    def once(graphs: TorchGraphs, stage: StageName, *, int8: bool = False) -> Model:
        key = graphs._network.fingerprint, stage
        assert key[0]
        if int8 or key not in made:
            made[key] = model(graphs, stage, int8=int8)
        # A copy, which may be changed.
        return made[key].clone()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convert.TorchGraphs, "model", once)
        yield
