"""The weights in the repository: they load, belong together, and do what they are there for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.build import SHIPPED, load_backbone
from models.forecast.build import best_forecaster, load_forecaster
from models.forecast.names import LEARNED
from models.lite.backbone import LiteBackbone
from sender.demo import DemoSource
from shared.keypoints import Floats, Pictures

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clip() -> Pictures:
    """Two seconds of the portrait at 30 fps, the pace that forecasters know."""
    torch.set_num_threads(1)
    source = DemoSource()
    try:
        frames = [source.frame(n) for n in range(60)]
    finally:
        source.close()
    return np.stack([frame for frame in frames if frame is not None])


@pytest.fixture(scope="module")
def backbone() -> LiteBackbone:
    return LiteBackbone.load(SHIPPED / "lite", precision="float32")


@pytest.fixture(scope="module")
def track(backbone: LiteBackbone, clip: Pictures) -> Floats:
    return backbone.detect(clip)


def test_a_moving_face_is_followed(backbone: LiteBackbone, clip: Pictures, track: Floats) -> None:
    ours = np.abs(backbone.render(backbone.encode(clip[0]), track).astype(int) - clip).mean()
    still = np.abs(clip[:1].astype(int) - clip).mean()
    assert ours < 0.7 * still


def test_the_forecasters_belong_to_the_detector(backbone: LiteBackbone) -> None:
    assert best_forecaster(backbone.detector).name == "vrnn"
    assert best_forecaster("another").name == "damped"
    assert load_backbone(device="cpu").fingerprint == backbone.fingerprint


@pytest.mark.parametrize("name", LEARNED)
def test_a_forecast_beats_holding_still(name: str, track: Floats) -> None:
    def error(forecaster_name: str) -> float:
        forecaster, total = load_forecaster(forecaster_name), 0.0
        for start in range(0, len(track) - 12, 3):
            forecaster.reset()
            forecaster.observe(track[start : start + 6])
            missed = forecaster.forecast(6) - track[start + 6 : start + 12]
            total += float(np.square(missed).mean())
        return total

    assert error(name) < error("hold")


def test_all_weights_together_are_small_and_have_their_cards() -> None:
    files = list(Path(SHIPPED).rglob("*.safetensors"))
    assert {path.parent.name for path in files} == {"head", "lite", *LEARNED}
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) < 30e6
    assert all((path.parent / "README.md").is_file() for path in files)
