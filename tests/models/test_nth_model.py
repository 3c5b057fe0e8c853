"""The neural talking head: poses, its source encoded once, its checkpoints, and how it serves."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models import checkpoint
from models.fomm.serving import Precision, Residuals
from models.fomm.winograd import WinogradResiduals
from models.nth.backbone import NthBackbone, NthEngine
from models.nth.config import VOX_256, VOX_256_SPADE, NthConfig
from models.nth.layout import layout_of, turned
from models.nth.model import PARTS, Nth, load_nth, published_config, save_nth
from models.nth.plain import PlainNthEngine, untrained_nth
from models.nth.pose import Pose, rotation
from models.nth.serving import ServedOriginal, serve
from models.nth.spade import SpectralConv2d
from models.public import read_parts
from shared.errors import RequestError
from tests.tiny_published import NTH

pytestmark = pytest.mark.slow

torch.set_num_threads(1)
SMALL = replace(NTH, image_size=64, num_kp=5, detector_blocks=3, motion_blocks=3, generator_max_features=32)
SMALL = replace(SMALL, generator_expansion=8)
KINDS = {"original": SMALL, "spade": replace(SMALL, spade=True)}


def smooth(count: int, seed: int = 0) -> Tensor:
    coarse = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size=(64, 64), mode="bicubic").clamp(0, 1)


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest) -> Nth:
    """Both generators in small; none of their norms' weights is one, none of their biases zero."""
    model = untrained_nth(1, KINDS[request.param])
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if "norm" in name and "mlp" not in name and tensor.is_floating_point():
            tensor.add_(0.2 * torch.rand(tensor.shape, generator=generator))
    return model


def public(model: Nth) -> dict[str, object]:
    parts: dict[str, object] = {part: getattr(model, part).state_dict() for part in PARTS}
    return {**parts, "discriminator": {"w": torch.ones(1)}, "optimizer_generator": {"state": {}}, "epoch": 99}


# Poses.


def test_a_pose_is_all_its_numbers() -> None:
    flat = torch.arange(51.0)[None]
    pose = Pose.from_flat(flat)
    assert pose.expression[0, 1].tolist() == [3, 4, 5]
    assert pose.translation[0].tolist() == [45, 46, 47]
    assert pose.angles[0].tolist() == [48, 49, 50]
    torch.testing.assert_close(pose.flat(), flat)
    assert layout_of(15).dimensions == 51


def test_heads_turn_about_one_axis_after_the_other() -> None:
    degrees = torch.tensor([30.0, -20.0, 70.0])
    yaw, pitch, roll = (rotation(torch.diag(degrees)[row, None])[0] for row in range(3))
    torch.testing.assert_close(rotation(degrees[None])[0], pitch @ yaw @ roll)
    # Yaw turns about the y axis, pitch about x, roll about z: what lies on the axis stays.
    for row, matrix in enumerate((yaw, pitch, roll)):
        axis = torch.eye(3)[(1, 0, 2)[row]]
        torch.testing.assert_close(matrix @ axis, axis)
    torch.testing.assert_close(roll @ roll.T, torch.eye(3), rtol=0, atol=1e-6)


def test_keypoints_are_turned_then_moved() -> None:
    canonical = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]])
    flat = torch.tensor([[0.1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 90]])
    placed = Pose.from_flat(flat).place(canonical)
    torch.testing.assert_close(
        placed, torch.tensor([[[0.1, 1, 2], [-1, 0, 2]]]), rtol=0, atol=2e-3
    )  # the published pi is 3.14


def test_a_head_is_turned_by_degrees_more() -> None:
    frames = torch.zeros(2, 51).numpy()
    more = turned(frames, yaw=10, pitch=-5, roll=1)
    assert more[:, -3:].tolist() == [[10, -5, 1]] * 2
    assert not more[:, :-3].any()


# The source is encoded once.


def test_forward_is_encoding_once_and_decoding_every_frame(model: Nth) -> None:
    pictures = smooth(4)
    with torch.inference_mode():
        canonical, poses = model.find(pictures)
        places = poses.place(canonical[:1])
        state = model.generator.encode_source(pictures[:1], places[:1])
        together = model.generator.decode(state, places[1:]).prediction
        forward = model.generator(
            pictures[:1].expand(3, -1, -1, -1), places[:1].expand(3, -1, -1), places[1:]
        ).prediction
    torch.testing.assert_close(together, forward, rtol=0, atol=5e-5)
    assert float((together[0] - together[1]).abs().max()) > 1e-2


def test_spectral_norms_use_the_vectors_that_are_stored() -> None:
    conv = SpectralConv2d(4, 6)
    conv.weight_u.copy_(F.normalize(torch.arange(1.0, 7), dim=0))
    scale = conv.weight_u @ conv.weight_orig.flatten(1) @ conv.weight_v
    x = smooth(1)[:, :1].expand(-1, 4, -1, -1)
    with torch.inference_mode():
        expected = F.conv2d(x, conv.weight_orig / scale, conv.bias, padding=1)
        torch.testing.assert_close(conv(x), expected)
        torch.testing.assert_close(conv.plain()(x), expected)


# Serving.


def test_served_pictures_are_the_published_ones(model: Nth) -> None:
    assert largest_error(model, "float32") < 1e-4


@pytest.mark.parametrize("precision", ["mixed", "bfloat16"])
def test_half_precision_draws_nearly_the_same(precision: Precision) -> None:
    assert 1e-4 < largest_error(untrained_nth(1, KINDS["original"]), precision) < 0.02


def test_the_half_precision_of_gpus_draws_nearly_the_same(
    model: Nth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here on a CPU, whose prepacked layers are not for float16."""
    monkeypatch.setattr("models.nth.backbone.pack", lambda _: None)
    assert 1e-5 < largest_error(model, "float16") < 0.02


def test_spade_is_left_in_a_precision_that_its_norms_bear() -> None:
    assert NthBackbone(untrained_nth(1, KINDS["spade"]), precision="mixed").precision == "float32"


def largest_error(model: Nth, precision: Precision) -> float:
    """Of three frames as they are served, beside the published pass, before they are rounded to bytes."""
    plain, served = PlainNthEngine(model), NthEngine(model, "cpu", precision)
    with torch.inference_mode():
        source, pose = plain._encode(smooth(1))
        encoded, found = served._encode(smooth(1))
        torch.testing.assert_close(found, pose, rtol=0, atol=2e-4)
        driving = served._detect(smooth(3, seed=1))
        expected = torch.cat([plain._draw(source, row[None]) for row in driving])
        drawn = served._draw(encoded, driving)
    # Without variety an error would not show.
    assert float(expected.std()) > 0.03
    assert float((expected[0] - expected[1]).abs().max()) > 0.02
    return float((drawn - expected).abs().max())


def test_serving_leaves_the_model_as_it_was(model: Nth) -> None:
    before = model.fingerprint()
    assert NthBackbone(model, precision="bfloat16").fingerprint == before
    assert model.fingerprint() == before


@pytest.mark.parametrize("image_size", [64, 32])
def test_mixed_keeps_the_residual_blocks_exact_wherever_they_run(image_size: int) -> None:
    config = replace(SMALL, image_size=image_size, motion_blocks=1, generator_down_blocks=4)
    generator = serve(untrained_nth(0, config), "cpu", "mixed").generator
    assert isinstance(generator, ServedOriginal)
    assert isinstance(generator.residuals, WinogradResiduals if image_size == 64 else Residuals)
    assert {weight.dtype for weight in generator.residuals.parameters()} == {torch.float32}
    assert generator.output.last.weight.dtype == torch.bfloat16


# Loading.


def test_a_public_checkpoint_loads(model: Nth, tmp_path: Path) -> None:
    torch.save(public(model), tmp_path / "new.pth.tar")
    loaded = load_nth(tmp_path / "new.pth.tar", model.config)
    assert loaded.fingerprint() == model.fingerprint()
    assert not loaded.training


def test_our_own_folder_holds_the_same_model(model: Nth, tmp_path: Path) -> None:
    save_nth(tmp_path, model)
    assert load_nth(tmp_path).config == model.config
    assert NthBackbone.load(tmp_path, precision="float32").fingerprint == model.fingerprint()


def published_file(path: Path, config: NthConfig) -> Path:
    """A file of the published sizes. One stored number stands for each whole tensor, so it stays small."""
    with torch.device("meta"):
        shapes = Nth(config)
    states = {
        part: {
            name: torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)
            for name, tensor in getattr(shapes, part).state_dict().items()
        }
        for part in PARTS
    }
    torch.save(states, path)
    return path


def test_the_generators_are_told_apart_by_their_names(tmp_path: Path) -> None:
    for config in (VOX_256, VOX_256_SPADE):
        path = published_file(tmp_path / "x.pth.tar", config)
        assert published_config(read_parts(path, PARTS, "talking head", "x"), path) == config


def test_weights_of_the_older_code_are_refused(model: Nth, tmp_path: Path) -> None:
    stored = public(model)
    del stored["kp_detector"]["down.weight"]  # type: ignore[attr-defined]
    torch.save(stored, tmp_path / "beta.pth.tar")
    with pytest.raises(RequestError, match=r"before November 2021 \(Vox-256-Beta.*use weights of the newer"):
        load_nth(tmp_path / "beta.pth.tar")


def test_what_is_no_checkpoint_is_refused_in_one_sentence(model: Nth, tmp_path: Path) -> None:
    path = tmp_path / "bad.pth.tar"
    torch.save({"generator": {}, "kp_detector": {}}, path)
    with pytest.raises(RequestError, match=r"is not a talking head checkpoint \(it needs .*he_estimator"):
        load_nth(path)
    stored = public(model)
    del stored["generator"]["fourth.bias"]  # type: ignore[attr-defined]
    torch.save(stored, path)
    with pytest.raises(RequestError, match=r"generator of .* \(fourth.bias is missing\)"):
        load_nth(path, model.config)


@pytest.mark.parametrize(
    "sizes",
    [None, {"surprise": 1}, {"num_kp": "15"}, {"motion_expansion": 10**9}, {"detector_scale": 0.3},
     {"image_size": 100}, {"spade": True, "generator_down_blocks": 3}, {"spade": 1}],
)  # fmt: skip
def test_hostile_sizes_in_a_folder_are_refused(tmp_path: Path, sizes: object) -> None:
    checkpoint.save(tmp_path, {"w": torch.zeros(1)}, {"model": "nth", "sizes": sizes})
    with pytest.raises(RequestError, match=r"talking head|SPADE"):
        load_nth(tmp_path)
