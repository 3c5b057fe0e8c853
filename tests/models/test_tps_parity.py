"""The networks against the published implementation.

`reference-0.npz` holds what the public code returns (computed in float64) for its vox-256 configuration in
evaluation mode, filled by `tps_weights`: source `picture(1)`, driving `picture(2)`, first driving picture
`picture(3)`. Maps are kept at every n-th cell.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from models.tps.backbone import TpsBackbone
from models.tps.dense_motion import Motion
from models.tps.inpainting import Rendered
from models.tps.model import PARTS, SourceState, Tps
from models.tps.plain import untrained_tps
from models.tps.splines import Splines
from tests.kept import Kept
from tests.public_weights import figures, fill, picture, tps_weights
from tests.tiny_published import TPS

pytestmark = pytest.mark.slow

SHAPES, REFERENCE = figures("tps")


class Outcome(NamedTuple):
    points: Tensor
    state: SourceState
    splines: Splines
    transformations: Tensor
    deformed_source: Tensor
    heatmaps: Tensor
    motion: Motion
    rendered: Rendered


@pytest.fixture(scope="module")
def model() -> Tps:
    torch.set_num_threads(1)
    with torch.device("meta"):
        model = Tps()
    for part in PARTS:
        fill(getattr(model, part), tps_weights(SHAPES[part]))
    return model


@pytest.fixture(scope="module")
def outcome(model: Tps) -> Outcome:
    pictures = torch.from_numpy(np.stack([picture(seed) for seed in (1, 2, 3)]))
    with torch.inference_mode():
        points = model.kp_detector(pictures)
        source, driving = points[:1], points[1:2]
        state = model.encode_source(pictures[:1], source)
        network = model.dense_motion_network
        moved = network.transformations(state.motion, driving)
        motion = network(state.motion, driving)
        return Outcome(
            points,
            state,
            Splines.fit(driving.unflatten(1, (-1, 5)), source.unflatten(1, (-1, 5))),
            moved,
            network.deformed(state.motion, moved),
            network.heatmaps(state.motion, driving),
            motion,
            model.inpainting_network.decode(state.picture, state.levels, motion),
        )


def check(found: Mapping[str, Tensor], tolerance: float) -> None:
    for name, tensor in found.items():
        np.testing.assert_allclose(tensor, REFERENCE[name], rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("part", PARTS)
def test_names_and_shapes_are_those_of_public_checkpoints(model: Tps, part: str) -> None:
    state = getattr(model, part).state_dict()
    assert {name: list(tensor.shape) for name, tensor in state.items()} == SHAPES[part]


def test_points(outcome: Outcome) -> None:
    source, driving, first = outcome.points
    check({"source_kp": source, "driving_kp": driving, "first_kp": first}, 1e-5)


def test_splines(outcome: Outcome) -> None:
    check({"theta": outcome.splines.affine[0], "control_params": outcome.splines.weights[0]}, 5e-5)
    check({"transformations": outcome.transformations[0, :, ::8, ::8]}, 1e-4)


def test_what_dense_motion_sees(outcome: Outcome) -> None:
    small = outcome.state.motion.picture[0, :, ::4, ::4]
    check({"small_source": small, "heatmaps": outcome.heatmaps[0, :, ::8, ::8]}, 1e-4)
    check({"deformed_source": outcome.deformed_source[0, :, :, ::8, ::8]}, 3e-4)


def test_motion(outcome: Outcome) -> None:
    motion = outcome.motion
    maps = {"contribution_maps": motion.contributions[0, :, ::4, ::4]}
    masks = {f"occlusion_{i}": mask[0, 0, :: 2**i, :: 2**i] for i, mask in enumerate(motion.occlusions)}
    check({**maps, **masks, "deformation": motion.deformation[0, ::2, ::2]}, 1e-4)


def test_motion_of_a_background_whose_own_is_known(model: Tps, outcome: Outcome) -> None:
    background = torch.from_numpy(REFERENCE["bg_param"])[None]
    with torch.inference_mode():
        driving = outcome.points[1:2]
        motion = model.dense_motion_network(outcome.state.motion, driving, background)
    check({"bg_deformation": motion.deformation[0, ::4, ::4]}, 1e-4)


def test_pictures(outcome: Outcome) -> None:
    levels = {f"encoder_{i}": outcome.state.levels[i + 1][0, ::16, ::8, ::8] for i in range(3)}
    check({**levels, "prediction": outcome.rendered.prediction[0, :, ::4, ::4]}, 1e-4)
    check({"deformed": outcome.rendered.deformed[0, :, ::4, ::4]}, 3e-4)


def test_relative_motion() -> None:
    """Of the published figures themselves: what network finds the points does not matter."""
    backbone = TpsBackbone(untrained_tps(0, TPS))
    source, driving, first = (REFERENCE[f"{name}_kp"].reshape(-1) for name in ("source", "driving", "first"))
    moved = backbone.transfer(Kept(source, np.zeros(0, np.uint8)), first)(driving[None])
    np.testing.assert_allclose(moved[0].reshape(-1, 2), REFERENCE["relative_kp"], rtol=0, atol=1e-5)
    scale = (moved[0] - source)[0] / (driving - first)[0]
    assert scale == pytest.approx(float(REFERENCE["movement_scale"]), abs=1e-4)
