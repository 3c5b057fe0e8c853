"""The networks against the published implementation.

`reference-0.npz` holds what the public code returns for the vox-256 configuration in evaluation mode, when
every tensor of `state-dict-shapes.json` is filled by `fill` (the fixed anti-alias kernels apart), for source
picture `picture(1)` and driving picture `picture(2)`: keypoints, the occlusion map at every second row and
column, and the prediction at every fourth.
"""

import json
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from models.fomm.backbone import FommBackbone
from models.fomm.generator import Rendered
from models.fomm.keypoint_detector import Points
from models.fomm.model import PARTS, Fomm
from models.fomm.serving import Precision
from shared.interfaces import Backbone

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[1] / "data" / "fomm_parity"
SHAPES = json.loads((DATA / "state-dict-shapes.json").read_text())
REFERENCE = dict(np.load(DATA / "reference-0.npz"))


def fill(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Repeatable weights that keep activations in a natural range, from the name of the tensor alone."""
    rng = np.random.RandomState(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if name.endswith("running_var"):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    noise = rng.standard_normal(shape)
    if name.endswith("running_mean"):
        values = 0.1 * noise
    elif name == "jacobian.bias":
        values = np.tile([1, 0, 0, 1], shape[0] // 4) + 0.1 * noise
    elif name == "jacobian.weight":
        values = 0.003 * noise
    elif name.endswith("bias"):
        values = 0.05 * noise
    elif len(shape) == 1:
        values = 1 + 0.1 * noise
    else:
        fan_in = int(np.prod(shape[1:])) * (25 if name == "final.weight" else 1)
        values = np.sqrt(2.0 / fan_in) * noise
    return values.astype(np.float32)


def picture(seed: int) -> np.ndarray:
    """Six plane waves a channel: float32 (3, 256, 256) in [0, 1]."""
    rng = np.random.RandomState(seed)
    y, x = np.mgrid[0:256, 0:256] / 255.0
    waves = np.zeros((3, 256, 256))
    for channel in range(3):
        for _ in range(6):
            fx, fy, phase = rng.uniform(0.5, 6), rng.uniform(0.5, 6), rng.uniform(0, 6.28)
            waves[channel] += np.sin(6.28 * (fx * x + fy * y) + phase)
    return ((waves - waves.min()) / (waves.max() - waves.min())).astype(np.float32)


class Outcome(NamedTuple):
    source: Points
    driving: Points
    rendered: Rendered


@pytest.fixture(scope="module")
def model() -> Fomm:
    torch.set_num_threads(1)
    model = Fomm()
    for part in PARTS:
        network = getattr(model, part)
        state = {
            name: tensor
            if name.endswith("down.weight")
            else torch.from_numpy(fill(name, tuple(tensor.shape)))
            for name, tensor in network.state_dict().items()
        }
        network.load_state_dict(state)
    return model


@pytest.fixture(scope="module")
def outcome(model: Fomm) -> Outcome:
    first, second = (torch.from_numpy(picture(seed))[None] for seed in (1, 2))
    with torch.inference_mode():
        source, driving = model.kp_detector(first), model.kp_detector(second)
        return Outcome(source, driving, model.generator(first, source, driving))


@pytest.mark.parametrize("part", PARTS)
def test_names_and_shapes_are_those_of_public_checkpoints(model: Fomm, part: str) -> None:
    state = getattr(model, part).state_dict()
    assert {name: list(tensor.shape) for name, tensor in state.items()} == SHAPES[part]


@pytest.mark.parametrize("which", ["source", "driving"])
def test_keypoints(outcome: Outcome, which: str) -> None:
    points: Points = getattr(outcome, which)
    np.testing.assert_allclose(points.value[0], REFERENCE[f"{which}_value"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(points.jacobian[0], REFERENCE[f"{which}_jacobian"], rtol=0, atol=1e-5)


def test_occlusion_and_prediction(outcome: Outcome) -> None:
    occlusion = outcome.rendered.motion.occlusion[0, 0, ::2, ::2]
    prediction = outcome.rendered.prediction[0, :, ::4, ::4]
    np.testing.assert_allclose(occlusion, REFERENCE["occlusion_map"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(prediction, REFERENCE["prediction"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "mixed"])
def test_the_backbone_serves_what_the_published_networks_return(
    model: Fomm, outcome: Outcome, precision: Precision
) -> None:
    # Pictures of 8 bits move the keypoints a little, so the served frame is asked at the exact keypoints.
    backbone: Backbone = FommBackbone(model, precision=precision)
    pictures = [np.round(picture(seed).transpose(1, 2, 0) * 255).astype(np.uint8) for seed in (1, 2)]
    source = backbone.encode(pictures[0])
    driving = backbone.detect(pictures[1][None])
    np.testing.assert_allclose(source.keypoints, outcome.source.flat()[0], rtol=0, atol=2e-3)
    np.testing.assert_allclose(driving, outcome.driving.flat(), rtol=0, atol=2e-3)
    frame = backbone.render(source, outcome.driving.flat().numpy())[0, ::4, ::4].astype(np.float32) / 255
    assert np.abs(frame - REFERENCE["prediction"].transpose(1, 2, 0)).max() < 0.02
