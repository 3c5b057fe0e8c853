"""The networks against the published implementation.

`reference-0.npz` holds what the public code returns (computed in float64) for its vox-256 configuration in
evaluation mode, filled by `nth_weights`: source `picture(1)`, driving `picture(2)`, first driving picture
`picture(3)`. Maps are kept at every n-th cell. The original generator runs as published, the SPADE generator,
which takes three times as long, as it is served in float32.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from models.engine import Encoded
from models.nth.backbone import NthBackbone
from models.nth.config import VOX_256, VOX_256_SPADE
from models.nth.generator import Generator, Rendered, SourceState
from models.nth.model import Nth
from models.nth.plain import untrained_nth
from models.nth.pose import Pose, rotation
from models.nth.serving import serve
from tests.public_weights import figures, fill, nth_weights, picture
from tests.tiny_published import NTH

pytestmark = pytest.mark.slow

SHAPES, REFERENCE = figures("nth")
SEEN = ("source", "driving", "first")


class Found(NamedTuple):
    canonical: Tensor
    bins: Tensor
    poses: Pose
    keypoints: Tensor


class Drawn(NamedTuple):
    generator: Generator
    state: SourceState
    rendered: Rendered
    middle: Tensor
    """Of the SPADE generator: the features behind its six blocks at their own resolution."""


@pytest.fixture(scope="module")
def model() -> Nth:
    torch.set_num_threads(1)
    with torch.device("meta"):
        model = Nth(VOX_256)
    for part in ("kp_detector", "he_estimator", "generator"):
        fill(getattr(model, part), nth_weights(SHAPES[part]))
    return model


@pytest.fixture(scope="module")
def found(model: Nth) -> Found:
    pictures = torch.from_numpy(np.stack([picture(seed) for seed in (1, 2, 3)]))
    with torch.inference_mode():
        canonical, poses = model.kp_detector(pictures[:1]), model.he_estimator(pictures)
        bins = model.he_estimator.bins(model.he_estimator.features(pictures))
        return Found(canonical, bins, poses, poses.place(canonical))


@pytest.fixture(scope="module")
def drawn(model: Nth, found: Found) -> Drawn:
    return draw(model.generator, found)


@pytest.fixture(scope="module")
def spade(model: Nth, found: Found) -> Drawn:
    with torch.device("meta"):
        other = Nth(VOX_256_SPADE)
    other.kp_detector, other.he_estimator = model.kp_detector, model.he_estimator
    # Weights come from names alone: half of them are the original generator's too.
    shapes, known = SHAPES["generator_spade"], model.generator.state_dict()
    shared = {
        name: known[name].numpy() for name, shape in shapes.items() if SHAPES["generator"].get(name) == shape
    }
    own = nth_weights({name: shape for name, shape in shapes.items() if name not in shared})
    fill(other.generator, {**shared, **own})
    return draw(serve(other, "cpu", "float32").generator, found)


def draw(generator: Generator, found: Found) -> Drawn:
    source = torch.from_numpy(picture(1))[None]
    middles: list[Tensor] = [torch.empty(0)]
    for name, module in generator.named_modules():
        if name == "decoder.G_middle_5":
            module.register_forward_hook(lambda _module, _inputs, out: middles.append(out))
    with torch.inference_mode():
        state = generator.encode_source(source, found.keypoints[:1])
        rendered = generator.decode(state, found.keypoints[1:2])
    return Drawn(generator, state, rendered, middles[-1])


def check(found: Mapping[str, Tensor], tolerance: float) -> None:
    for name, tensor in found.items():
        np.testing.assert_allclose(tensor, REFERENCE[name], rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("part", SHAPES)
def test_names_and_shapes_are_those_of_public_checkpoints(part: str) -> None:
    with torch.device("meta"):
        model = Nth(VOX_256_SPADE if part.endswith("spade") else VOX_256)
    state = getattr(model, part.removesuffix("_spade")).state_dict()
    assert {name: list(tensor.shape) for name, tensor in state.items()} == SHAPES[part]


def test_canonical_keypoints(found: Found) -> None:
    check({"source_canonical": found.canonical[0]}, 2e-5)


@pytest.mark.parametrize("row", range(3), ids=SEEN)
def test_poses(found: Found, row: int) -> None:
    expression, translation, angles = (part[row] for part in found.poses)
    name = SEEN[row]
    check({f"{name}_bins": found.bins[row]}, 2e-4)
    check({f"{name}_angles": angles}, 2e-3)
    check({f"{name}_rotation": rotation(angles[None])[0]}, 2e-5)
    check({f"{name}_translation": translation, f"{name}_expression": expression}, 2e-5)
    check({f"{name}_kp": found.keypoints[row]}, 2e-5)


def test_the_original_generator(drawn: Drawn) -> None:
    check_motion(drawn, "")
    with torch.inference_mode():
        compressed = drawn.generator.dense_motion_network.compress(drawn.state.volume)
    check({"compressed": compressed[0, :, ::4, ::8, ::8]}, 1e-4)
    check({"prediction": drawn.rendered.prediction[0, :, ::4, ::4]}, 1e-4)


def test_the_spade_generator(spade: Drawn) -> None:
    check_motion(spade, "spade_")
    check({"spade_middle": spade.middle[0, ::32, ::8, ::8]}, 2e-3)
    check({"spade_prediction": spade.rendered.prediction[0, :, ::4, ::4]}, 2e-4)


def check_motion(drawn: Drawn, prefix: str) -> None:
    motion, volume = drawn.rendered.motion, drawn.state.volume
    found = {
        "feature": volume[0, ::4, ::4, ::8, ::8],
        "mask": motion.mask[0, :, ::4, ::8, ::8],
        "deformation": motion.deformation[0, ::4, ::4, ::4],
        "occlusion": motion.occlusion[0, 0, ::2, ::2],
    }
    check({prefix + name: tensor for name, tensor in found.items()}, 1e-4)
    check({f"{prefix}warped": drawn.rendered.warped[0, ::16, ::8, ::8]}, 5e-4)


def test_relative_motion() -> None:
    """Of the published figures themselves: what network finds the poses does not matter."""
    backbone = NthBackbone(untrained_nth(0, NTH))
    source, driving, first = (pose_of(name).flat().numpy() for name in SEEN)
    canonical = torch.from_numpy(REFERENCE["source_canonical"])[None]
    kept = backbone.encode(np.zeros((256, 256, 3), np.uint8))
    assert isinstance(kept, Encoded)
    known = replace(kept, keypoints=source[0], kept=kept.kept._replace(canonical=canonical))
    moved = backbone.transfer(known, first[0], adapt_scale=True)(driving)
    places = Pose.from_flat(torch.from_numpy(moved)).place(canonical)
    check({"relative_kp": places[0]}, 2e-5)
    plain = Pose.from_flat(torch.from_numpy(backbone.transfer(known, first[0])(driving))).place(canonical)
    own = torch.from_numpy(REFERENCE["source_kp"])
    torch.testing.assert_close(
        (places[0] - own), float(REFERENCE["movement_scale"]) * (plain[0] - own), rtol=0, atol=2e-5
    )


def pose_of(name: str) -> Pose:
    parts = (REFERENCE[f"{name}_{part}"][None] for part in ("expression", "translation", "angles"))
    return Pose(*(torch.from_numpy(part) for part in parts))
