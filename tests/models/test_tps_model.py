"""The Thin-Plate-Spline model: its splines, its source encoded once, its checkpoints, and how it serves."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models import checkpoint
from models.fomm.serving import Precision
from models.tps.backbone import TpsBackbone, TpsEngine
from models.tps.config import VOX_256
from models.tps.model import PARTS, Tps, load_tps, save_tps
from models.tps.plain import PlainTpsEngine, untrained_tps
from models.tps.splines import RIDGE, Splines, _solved
from shared.errors import RequestError
from tests.tiny_published import TPS

pytestmark = pytest.mark.slow

torch.set_num_threads(1)
SMALL = replace(TPS, image_size=128, num_tps=3, motion_blocks=3, generator_max_features=32)


def smooth(count: int, seed: int = 0) -> Tensor:
    coarse = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size=(128, 128), mode="bicubic").clamp(0, 1)


@pytest.fixture(scope="module")
def model() -> Tps:
    """A small model whose norms matter: none of their weights is one, none of their biases zero."""
    model = untrained_tps(1, SMALL)
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if ("norm" in name or "bn" in name) and tensor.is_floating_point():
            tensor.add_(0.2 * torch.rand(tensor.shape, generator=generator))
    return model


def public(model: Tps) -> dict[str, object]:
    parts: dict[str, object] = {part: getattr(model, part).state_dict() for part in PARTS}
    return {**parts, "bg_predictor": {"w": torch.ones(1)}, "optimizer": {"state": {}}, "epoch": 99}


# Splines.


def test_a_spline_carries_its_points_nearly_to_their_targets() -> None:
    centres = torch.tensor([[-1, -1], [-1, 1], [1, -1], [1, 1], [0, 0]]).float().expand(1, 2, 5, 2)
    targets = centres + 0.2 * torch.randn(1, 2, 5, 2, generator=torch.Generator().manual_seed(0))
    splines = Splines.fit(centres, targets)
    carried = splines(centres[0, 0])
    assert float((carried - targets).abs().max()) < 0.05
    # What is missing is what the ridge took: 0.01 of each weight, and of the affine part's equations.
    torch.testing.assert_close(carried + RIDGE * splines.weights, targets, rtol=0, atol=1e-5)


def test_a_spline_through_points_that_did_not_move_hardly_moves() -> None:
    places = torch.rand(1, 1, 5, 2, generator=torch.Generator().manual_seed(0))
    splines = Splines.fit(places, places)
    assert float((splines(places[0, 0]) - places).abs().max()) < 0.02


def test_equations_are_solved_whatever_their_pivots() -> None:
    generator = torch.Generator().manual_seed(0)
    equations = torch.randn(2, 10, 8, 8, generator=generator, dtype=torch.float64)
    # The first pivot is missing, as it is in every spline: a point is at no distance from itself.
    equations[..., 0, 0] = equations[0, 0, 1, 1] = 0
    wanted = torch.randn(2, 10, 8, 2, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(_solved(equations, wanted), torch.linalg.solve(equations, wanted))


@pytest.mark.parametrize("value", [0.0, 1e4])
def test_points_that_coincide_leave_all_finite(value: float) -> None:
    splines = Splines.fit(torch.full((1, 1, 5, 2), value), torch.rand(1, 1, 5, 2))
    assert bool(torch.isfinite(splines.affine).all())


# The source is encoded once.


def test_forward_is_encoding_once_and_decoding_every_frame(model: Tps) -> None:
    pictures = smooth(4)
    with torch.inference_mode():
        points = model.kp_detector(pictures)
        state = model.encode_source(pictures[:1], points[:1])
        together = model.decode(state, points[1:]).prediction
        forward = model(pictures[:1].expand(3, -1, -1, -1), points[:1].expand(3, -1, -1), points[1:])
    torch.testing.assert_close(together, forward.prediction, rtol=0, atol=1e-5)
    assert float((together[0] - together[1]).abs().max()) > 1e-2


def test_a_known_background_motion_takes_the_place_of_stillness(model: Tps) -> None:
    picture = smooth(1)
    with torch.inference_mode():
        points = model.kp_detector(picture)
        source = model.dense_motion_network.encode_source(picture, points)
        still = model.dense_motion_network.transformations(source, points)
        shift = torch.tensor([[[1, 0, 0.5], [0, 1, 0], [0, 0, 1]]])
        moved = model.dense_motion_network.transformations(source, points, shift)
    torch.testing.assert_close(moved[:, 0], still[:, 0] + torch.tensor([0.5, 0.0]))
    torch.testing.assert_close(moved[:, 1:], still[:, 1:])


# Serving.


@pytest.mark.parametrize(
    ("precision", "largest"), [("float32", 1e-4), ("mixed", 0.02), ("bfloat16", 0.02), ("float16", 0.02)]
)
def test_served_pictures_are_the_published_ones(
    model: Tps, precision: Precision, largest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if precision == "float16":  # that of GPUs: a CPU's prepacked layers are not for it
        monkeypatch.setattr("models.tps.backbone.pack", lambda _: None)
    plain, served = PlainTpsEngine(model), TpsEngine(model, "cpu", precision)
    with torch.inference_mode():
        source, points = plain._encode(smooth(1))
        encoded, found = served._encode(smooth(1))
        torch.testing.assert_close(found, points, rtol=0, atol=1e-5)
        driving = served._detect(smooth(3, seed=1))
        expected = torch.cat([plain._draw(source, row[None]) for row in driving])
        drawn = served._draw(encoded, driving)
    # Without variety an error would not show.
    assert float(expected.std()) > 0.05
    assert float((expected[0] - expected[1]).abs().max()) > 0.05
    assert float((drawn - expected).abs().max()) < largest


def test_sides_that_winograd_cannot_tile_are_served_all_the_same() -> None:
    model = untrained_tps(0, replace(SMALL, image_size=96, scale_factor=1.0))
    picture = F.interpolate(smooth(1), size=(96, 96))
    plain, served = PlainTpsEngine(model), TpsEngine(model, "cpu", "float32")
    with torch.inference_mode():
        (source, points), (encoded, _) = plain._encode(picture), served._encode(picture)
        difference = served._draw(encoded, points) - plain._draw(source, points)
    assert float(difference.abs().max()) < 1e-4


def test_serving_leaves_the_model_as_it_was(model: Tps) -> None:
    before = model.fingerprint()
    for precision in ("float32", "mixed"):
        assert TpsBackbone(model, precision=precision).fingerprint == before  # type: ignore[arg-type]
    assert model.fingerprint() == before


def test_a_frame_has_a_hundred_numbers() -> None:
    assert TpsBackbone(untrained_tps(0, TPS)).layout.dimensions == 100


# Loading.


def test_a_public_checkpoint_loads(model: Tps, tmp_path: Path) -> None:
    torch.save(public(model), tmp_path / "vox.pth.tar")
    loaded = load_tps(tmp_path / "vox.pth.tar", SMALL)
    assert loaded.fingerprint() == model.fingerprint()
    assert not loaded.training


def test_our_own_folder_holds_the_same_model(model: Tps, tmp_path: Path) -> None:
    save_tps(tmp_path, model)
    assert load_tps(tmp_path).config == SMALL
    assert TpsBackbone.load(tmp_path, precision="float32").fingerprint == model.fingerprint()


def test_the_published_sizes_are_taken_by_default(tmp_path: Path) -> None:
    with torch.device("meta"):
        shapes = Tps(VOX_256)
    # One stored number stands for each whole tensor, so the file stays small.
    states = {
        part: {
            name: torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)
            for name, tensor in getattr(shapes, part).state_dict().items()
        }
        for part in PARTS
    }
    torch.save(states, tmp_path / "vox.pth.tar")
    assert load_tps(tmp_path / "vox.pth.tar").config == VOX_256


def test_what_is_no_checkpoint_is_refused_in_one_sentence(model: Tps, tmp_path: Path) -> None:
    path = tmp_path / "bad.pth.tar"
    torch.save({"generator": {}, "kp_detector": {}}, path)
    with pytest.raises(RequestError, match=r"is not a TPS checkpoint \(it needs .*inpainting_network"):
        load_tps(path)
    stored = public(model)
    del stored["kp_detector"]["fg_encoder.fc.bias"]  # type: ignore[attr-defined]
    torch.save(stored, path)
    with pytest.raises(RequestError, match=r"kp_detector of .* \(fg_encoder.fc.bias is missing\)"):
        load_tps(path, SMALL)
    with pytest.raises(RequestError, match="There is no TPS checkpoint at"):
        load_tps(tmp_path / "absent")


@pytest.mark.parametrize(
    "sizes",
    [None, {"surprise": 1}, {"num_tps": "10"}, {"motion_expansion": 10**9}, {"motion_blocks": 1},
     {"image_size": 100}, {"scale_factor": 0.3}],
)  # fmt: skip
def test_hostile_sizes_in_a_folder_are_refused(tmp_path: Path, sizes: object) -> None:
    checkpoint.save(tmp_path, {"w": torch.zeros(1)}, {"model": "tps", "sizes": sizes})
    with pytest.raises(RequestError, match="TPS"):
        load_tps(tmp_path)
