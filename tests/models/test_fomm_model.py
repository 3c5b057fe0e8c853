import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from models import checkpoint
from models import public as public_files
from models.fomm.backbone import FommBackbone, FommEngine
from models.fomm.blocks import AntiAliasInterpolation2d
from models.fomm.config import PUBLISHED, FommConfig
from models.fomm.dense_motion import inverse
from models.fomm.keypoint_detector import Points
from models.fomm.model import PARTS, Fomm, load_fomm, save_fomm
from models.lite.layout import LAYOUT, POSITIONS
from shared.errors import RequestError
from shared.interfaces import Source
from shared.keypoints import KeypointLayout

pytestmark = pytest.mark.slow

TINY = FommConfig(
    image_size=64,
    detector_expansion=4,
    detector_blocks=2,
    motion_expansion=4,
    motion_blocks=2,
    generator_expansion=4,
    generator_bottleneck_blocks=2,
)


def random_pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 64, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def model() -> Fomm:
    """A small FOMM whose every tensor matters: none is zero, one or the identity."""
    torch.set_num_threads(1)
    torch.manual_seed(3)
    model = Fomm(TINY)
    for name, tensor in model.state_dict().items():
        if name.endswith(("running_var", "norm.weight")):
            tensor.uniform_(0.5, 1.5)
        elif tensor.is_floating_point() and not name.endswith("down.weight"):
            tensor.add_(torch.randn_like(tensor), alpha=0.1)
    return model


@pytest.fixture(scope="module")
def backbone(model: Fomm) -> FommBackbone:
    return FommBackbone(model)


@pytest.fixture(scope="module")
def source(backbone: FommBackbone) -> Source:
    return backbone.encode(random_pictures(1)[0])


def public(model: Fomm) -> dict[str, object]:
    parts: dict[str, object] = {part: getattr(model, part).state_dict() for part in PARTS}
    return {**parts, "discriminator": {"w": torch.ones(1)}, "optimizer_generator": {"state": {}}, "epoch": 99}


# The networks.


def test_the_anti_alias_filter_equals_a_blur_that_is_then_thinned_out() -> None:
    down = AntiAliasInterpolation2d(3, 0.25)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(x, (6, 6, 6, 6))
    blurred = torch.nn.functional.conv2d(padded, down.weight, groups=3)
    torch.testing.assert_close(down(x), blurred[:, :, ::4, ::4])
    assert float(down.weight[0].sum()) == pytest.approx(1)


def test_points_split_as_the_rest_of_the_product_does() -> None:
    flat = np.arange(60, dtype=np.float32)
    points = Points.from_flat(torch.from_numpy(flat)[None])
    np.testing.assert_array_equal(points.value[0], LAYOUT.positions(flat))
    np.testing.assert_array_equal(points.jacobian[0].flatten(), flat[POSITIONS:])
    np.testing.assert_array_equal(points.flat()[0], flat)


def test_forward_is_encoding_once_and_decoding_every_frame(model: Fomm) -> None:
    pictures = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        source = model.kp_detector(pictures[:1])
        driving = model.kp_detector(pictures[1:])
        state = model.generator.encode_source(pictures[:1], source)
        together = model.generator.decode(state, driving)
        repeated = Points(*(tensor.expand(3, *tensor.shape[1:]) for tensor in source))
        forward = model.generator(pictures[:1].expand(3, -1, -1, -1), repeated, driving)
    torch.testing.assert_close(together.prediction, forward.prediction, rtol=0, atol=1e-5)
    torch.testing.assert_close(together.motion, forward.motion, rtol=0, atol=1e-5)
    assert float((forward.prediction[0] - forward.prediction[1]).abs().max()) > 1e-3


def test_a_batch_of_sources_is_not_mixed_up(model: Fomm) -> None:
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        points = model.kp_detector(pictures)
        moved = Points(points.value.flip(0), points.jacobian.flip(0))
        both = model.generator(pictures, points, moved).prediction
        for row in range(2):
            source, driving = (Points(p.value[row, None], p.jacobian[row, None]) for p in (points, moved))
            alone = model.generator(pictures[row, None], source, driving).prediction
            torch.testing.assert_close(both[row, None], alone, rtol=0, atol=1e-5)


def test_one_jacobian_map_serves_all_keypoints() -> None:
    torch.manual_seed(0)
    model = Fomm(FommConfig(**{**TINY.__dict__, "single_jacobian_map": True}))
    torch.nn.init.normal_(model.kp_detector.jacobian.weight, std=0.1)
    with torch.inference_mode():
        jacobian = model.kp_detector(torch.rand(2, 3, 64, 64)).jacobian
    assert model.kp_detector.jacobian.weight.shape[0] == 4
    assert jacobian.shape == (2, 10, 2, 2)
    assert float((jacobian[:, 0] - jacobian[:, 1]).abs().max()) > 0


def test_inverse_is_the_inverse_and_stays_finite_where_there_is_none() -> None:
    matrices = torch.randn(5, 10, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(inverse(matrices) @ matrices, torch.eye(2).double().expand(5, 10, 2, 2))
    singular = torch.tensor([[[0.0, 0.0], [0.0, 0.0]], [[1.0, 2.0], [2.0, 4.0]]])
    assert bool(torch.isfinite(inverse(singular)).all())


# The backbone.


def test_batches_longer_than_a_pass_equal_single_frames(backbone: FommBackbone, source: Source) -> None:
    frames = random_pictures(FommEngine.cpu_batch + 2, seed=5)
    keypoints = backbone.detect(frames)
    assert keypoints.shape == (FommEngine.cpu_batch + 2, 60)
    assert keypoints.dtype == np.float32
    rendered = backbone.render(source, keypoints)
    assert rendered.shape == frames.shape
    assert rendered.dtype == np.uint8
    for row in (0, FommEngine.cpu_batch + 1):
        np.testing.assert_allclose(keypoints[row], backbone.detect(frames[row, None])[0], atol=1e-5)
        alone = backbone.render(source, keypoints[row, None])[0]
        assert np.abs(rendered[row].astype(int) - alone).max() <= 1


def test_a_source_has_the_keypoints_that_detect_sees(backbone: FommBackbone, source: Source) -> None:
    np.testing.assert_allclose(source.keypoints, backbone.detect(random_pictures(1))[0], atol=1e-6)


def test_a_source_of_another_network_is_refused(model: Fomm, source: Source) -> None:
    with pytest.raises(RequestError, match="encoded by another network"):
        FommBackbone(model).render(source, np.zeros((1, 60), np.float32))


def test_warmup_keeps_the_source(backbone: FommBackbone, source: Source) -> None:
    keypoints = backbone.detect(random_pictures(1, seed=7))
    before = backbone.render(source, keypoints)
    backbone.warmup()
    np.testing.assert_array_equal(backbone.render(source, keypoints), before)


def test_hostile_keypoints_never_crash_the_renderer(backbone: FommBackbone, source: Source) -> None:
    for value in (0.0, 1e4, -1e4):
        assert backbone.render(source, np.full((1, 60), value, np.float32)).shape == (1, 64, 64, 3)
    with pytest.raises(RequestError, match="NaN"):
        backbone.render(source, np.full((1, 60), np.nan, np.float32))


def test_half_precision_draws_nearly_the_same(model: Fomm, backbone: FommBackbone, source: Source) -> None:
    half, picture = FommBackbone(model, precision="bfloat16"), random_pictures(1)[0]
    keypoints = backbone.detect(random_pictures(1, seed=2))
    drawn = half.render(half.encode(picture), keypoints).astype(int)
    difference = drawn - backbone.render(source, keypoints)
    assert np.abs(difference).mean() < 3


def test_a_model_with_other_keypoints_says_so_in_its_layout() -> None:
    few = FommBackbone(Fomm(FommConfig(**{**TINY.__dict__, "num_kp": 5})))
    assert few.layout == KeypointLayout.of_points(5, jacobians=True)
    assert few.detect(random_pictures(1)).shape == (1, 30)


# Loading.


@pytest.mark.parametrize("legacy", [False, True])
def test_a_public_checkpoint_loads(model: Fomm, tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "vox-cpk.pth.tar"
    # The published files are of the older of torch's two formats.
    torch.save(public(model), path, _use_new_zipfile_serialization=not legacy)
    loaded = load_fomm(path, TINY)
    assert loaded.fingerprint() == model.fingerprint()
    assert not loaded.training


def test_our_own_folder_holds_the_same_model(model: Fomm, tmp_path: Path) -> None:
    save_fomm(tmp_path / "ours", model)
    loaded = load_fomm(tmp_path / "ours")
    assert loaded.config == TINY
    assert loaded.fingerprint() == model.fingerprint()
    served = FommBackbone.load(tmp_path / "ours", precision="float32")
    assert served.fingerprint == model.fingerprint()


@pytest.mark.parametrize("name", ["vox-256", "mgif-256"])
def test_published_sizes_are_recognised(tmp_path: Path, name: str) -> None:
    with torch.device("meta"):
        shapes = Fomm(PUBLISHED[name])
    # One stored number stands for each whole tensor, so the file stays small.
    states = {
        part: {
            key: torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)
            for key, tensor in getattr(shapes, part).state_dict().items()
        }
        for part in PARTS
    }
    torch.save(states, tmp_path / "public.pth")
    assert load_fomm(tmp_path / "public.pth").config == PUBLISHED[name]


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("write", [torch.save, lambda thing, path: path.write_bytes(pickle.dumps(thing))])
def test_code_in_a_checkpoint_is_never_run(model: Fomm, tmp_path: Path, write: object) -> None:
    path = tmp_path / "bad.pth"
    assert callable(write)
    write({**public(model), "epoch": Bomb(tmp_path / "ran")}, path)
    with pytest.raises(RequestError, match="holds more than weights"):
        load_fomm(path, TINY)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kept", [0, 1, 1000, -1])
def test_a_truncated_checkpoint_is_refused(model: Fomm, tmp_path: Path, kept: int, legacy: bool) -> None:
    path = tmp_path / "cut.pth"
    torch.save(public(model), path, _use_new_zipfile_serialization=not legacy)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(RequestError, match="truncated, damaged"):
        load_fomm(path, TINY)


@pytest.mark.parametrize(
    "content", [[1, 2], {"generator": {}}, {"generator": 1, "kp_detector": 2}, {"kp_detector": {1: 2}}]
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(RequestError, match="is not a FOMM checkpoint"):
        load_fomm(tmp_path / "other.pth")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="There is no FOMM checkpoint at"):
        load_fomm(tmp_path / "absent.pth")


def test_a_file_that_unpacks_too_large_is_not_unpacked(
    model: Fomm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(public(model), tmp_path / "large.pth")
    monkeypatch.setattr(public_files, "MAX_BYTES", 10_000)
    with pytest.raises(RequestError, match="more than 10000"):
        load_fomm(tmp_path / "large.pth", TINY)


def test_missing_and_misshapen_weights_are_named(model: Fomm, tmp_path: Path) -> None:
    path = tmp_path / "bad.pth"
    states = {part: dict(getattr(model, part).state_dict()) for part in PARTS}
    del states["generator"]["final.weight"]
    torch.save(states, path)
    with pytest.raises(RequestError, match=r"generator of .* \(final.weight is missing\)"):
        load_fomm(path, TINY)
    states["generator"]["final.weight"] = torch.zeros(1, 2)
    torch.save(states, path)
    with pytest.raises(RequestError, match=r"final.weight has shape \(1, 2\) instead of \(3, 4, 7, 7\)"):
        load_fomm(path, TINY)


@pytest.mark.parametrize(
    "sizes",
    [
        None,
        {"surprise": 1},
        {"num_kp": "10"},
        {"num_kp": True},
        {"motion_expansion": 10**9},
        {"temperature": 0.0},
        {"temperature": float(10**9)},
        {"scale_factor": 0.3},
        {"motion_blocks": 4000},
        {"image_size": 100},
    ],
)
def test_hostile_sizes_in_a_folder_are_refused(tmp_path: Path, sizes: object) -> None:
    checkpoint.save(tmp_path, {"w": torch.zeros(1)}, {"model": "fomm", "sizes": sizes})
    with pytest.raises(RequestError, match="FOMM"):
        load_fomm(tmp_path)
