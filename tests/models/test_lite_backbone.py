import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from models import checkpoint
from models.build import choose_device, load_backbone
from models.inference import fold_batchnorm
from models.lite.backbone import LiteBackbone
from models.lite.blocks import ResidualBlock
from models.lite.torch_engine import LiteTorchEngine, load_network
from shared.errors import RequestError
from shared.keypoints import Pictures
from tests.tiny_lite import TINY, unsettled

pytestmark = pytest.mark.slow

torch.set_num_threads(1)


def frames(count: int, seed: int = 0) -> Pictures:
    return np.random.default_rng(seed).integers(0, 256, (count, 256, 256, 3), np.uint8)


def backbone() -> LiteBackbone:
    return LiteBackbone.of(unsettled(), "beef")


def store(folder: Path, half: bool = False, **config: Any) -> str:
    weights = {
        name: t.half() if half and t.is_floating_point() else t
        for name, t in unsettled().state_dict().items()
    }
    return checkpoint.save(folder, weights, {"model": "lite", "network": TINY.to_map(), **config})


def test_folding_leaves_no_batch_norm_and_the_same_network() -> None:
    plain = unsettled()
    folded = fold_batchnorm(plain)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    blocks = [module for module in folded.modules() if isinstance(module, ResidualBlock)]
    assert len(blocks) == 2
    assert all(isinstance(block.norm, nn.Identity) for block in blocks)
    picture = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        driving = plain.detector(picture.flip(0))
        torch.testing.assert_close(folded.detector(picture.flip(0)).flat(), driving.flat(), atol=1e-4, rtol=0)
        expected = plain.render(plain.encode(picture), driving)
        torch.testing.assert_close(
            folded.render(folded.encode(picture), driving), expected, atol=1e-3, rtol=0
        )


def test_one_frame_at_a_time_is_the_whole_batch() -> None:
    net, clip = backbone(), frames(LiteTorchEngine.cpu_batch + 2)
    whole = net.detect(clip)
    assert whole.shape == (LiteTorchEngine.cpu_batch + 2, 60)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(np.concatenate([net.detect(frame[None]) for frame in clip]), whole, atol=1e-5)
    source = net.encode(clip[0])
    rendered = net.render(source, whole)
    assert rendered.shape == clip.shape
    assert rendered.dtype == np.uint8
    single = np.concatenate([net.render(source, points[None]) for points in whole])
    assert np.abs(single.astype(int) - rendered).max() <= 1
    assert rendered.std() > 1


def test_sources_do_not_mix() -> None:
    net, alone, pictures = backbone(), backbone(), frames(3)
    points = net.detect(pictures)
    sources = [net.encode(picture) for picture in pictures]
    np.testing.assert_allclose(sources[1].keypoints, points[1], atol=1e-5)
    drawn = [net.render(sources[index], points) for index in (2, 0, 1, 2)]
    for index, found in zip((2, 0, 1, 2), drawn, strict=True):
        np.testing.assert_array_equal(found, alone.render(alone.encode(pictures[index]), points))
    assert not np.array_equal(drawn[0], drawn[1])
    with pytest.raises(RequestError, match="encoded by another network"):
        alone.render(sources[0], points)


def test_warming_up_keeps_the_source_and_needs_none() -> None:
    net, points = backbone(), backbone().detect(frames(1))
    net.warmup()
    source = net.encode(frames(1)[0])
    before = net.render(source, points)
    net.warmup()
    np.testing.assert_array_equal(net.render(source, points), before)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 128, 128, 3), np.uint8),
        np.zeros((0, 256, 256, 3), np.uint8),
        np.zeros((256, 256, 3), np.uint8),
        np.zeros((1, 256, 256, 4), np.uint8),
        np.zeros((1, 256, 256, 3), np.float32),
    ],
)
def test_pictures_of_another_shape_are_refused(wrong: Pictures) -> None:
    net = backbone()
    with pytest.raises(RequestError, match=r"256x256( or \d+x\d+)* RGB"):
        net.detect(wrong)
    with pytest.raises(RequestError, match=r"256x256( or \d+x\d+)* RGB"):
        net.encode(wrong if wrong.ndim == 4 else wrong[0])


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e9])
def test_keypoints_that_no_frame_can_have_are_refused(value: float) -> None:
    net = backbone()
    source = net.encode(frames(1)[0])
    points = source.keypoints[None].copy()
    points[0, 33] = value
    with pytest.raises(RequestError, match="NaN"):
        net.render(source, points)
    for shape in ((60,), (1, 59), (0, 60)):
        with pytest.raises(RequestError, match="shape"):
            net.render(source, np.zeros(shape, np.float32))


def test_extreme_keypoints_still_give_a_picture() -> None:
    net = backbone()
    source = net.encode(frames(1)[0])
    for value in (0.0, 1e4, -1e4):
        assert net.render(source, np.full((1, 60), value, np.float32)).shape == (1, 256, 256, 3)


def test_arrays_that_torch_would_not_take_are_taken() -> None:
    net, clip = backbone(), frames(2)
    mirrored = clip[:, :, ::-1]
    mirrored.flags.writeable = False
    np.testing.assert_array_equal(net.detect(mirrored), net.detect(mirrored.copy()))
    source = net.encode(mirrored[0])
    points = source.keypoints[None].copy()
    points.flags.writeable = False
    net.render(source, points)


@pytest.mark.parametrize("half", [False, True])
def test_saved_weights_load_as_the_same_network(tmp_path: Path, half: bool) -> None:
    fingerprint = store(tmp_path, half)
    net = LiteBackbone.load(tmp_path)
    assert (net.name, net.fingerprint) == ("lite", fingerprint)
    assert load_network(tmp_path).detector.whole.heatmaps.weight.dtype == torch.float32
    expected = backbone().detect(frames(2))
    np.testing.assert_allclose(net.detect(frames(2)), expected, atol=2e-2 if half else 1e-6)
    chosen = load_backbone(path=tmp_path, device="cpu")
    assert chosen.fingerprint == fingerprint


def test_keypoints_are_the_detectors_which_weights_may_name(tmp_path: Path) -> None:
    assert backbone().detector == "beef"
    for name, given, expected in (("named", "cafe", "cafe"), ("not", None, None), ("number", 7, None)):
        fingerprint = store(tmp_path / name, **({} if given is None else {"detector": given}))
        net = LiteBackbone.load(tmp_path / name, precision="float32", engine="torch")
        assert net.fingerprint == fingerprint
        assert net.detector == (expected or fingerprint)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no checkpoint folder"):
        load_backbone("lite", tmp_path / "none", "cpu")
    store(tmp_path / "sizes", network={**TINY.to_map(), "detail": 1024})
    with pytest.raises(RequestError, match="does not fit this network"):
        load_backbone("lite", tmp_path / "sizes", "cpu")
    store(tmp_path / "hostile", network={**TINY.to_map(), "motion": [10**9] * 3})
    with pytest.raises(RequestError, match="channel count under 'motion'"):
        load_backbone("lite", tmp_path / "hostile", "cpu")
    store(tmp_path / "kind", model="vrnn")
    with pytest.raises(RequestError, match="kind 'lite' is needed"):
        load_backbone("lite", tmp_path / "kind", "cpu")
    former = {**TINY.to_map(), "detector": [8] * 4, "motion": [8] * 4}
    del former["patches"], former["fine"]
    store(tmp_path / "former", network=former)
    with pytest.raises(RequestError, match="not those of this version; train it again"):
        load_backbone("lite", tmp_path / "former", "cpu")
    store(tmp_path / "without")
    config = json.loads((tmp_path / "without" / "config.json").read_text())
    del config["network"]
    (tmp_path / "without" / "config.json").write_text(json.dumps(config))
    with pytest.raises(RequestError, match="not those of this version"):
        load_backbone("lite", tmp_path / "without", "cpu")


def test_a_request_for_nothing_that_is_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no backbone 'large'; choose from: lite, fomm"):
        load_backbone("large", device="cpu")
    with pytest.raises(RequestError, match="no device 'tpu'; choose from: auto, cpu, cuda"):
        load_backbone("lite", device="tpu")
    with pytest.raises(RequestError, match="needs --checkpoint"):
        load_backbone("fomm", device="cpu")
    # A single file is a published model's: it is read as one, and says so.
    (tmp_path / "vox.pth.tar").write_bytes(b"junk")
    with pytest.raises(RequestError, match=r"vox\.pth\.tar"):
        load_backbone(path=tmp_path / "vox.pth.tar", device="cpu")


def test_auto_is_the_gpu_where_there_is_one() -> None:
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == "cpu"
    if not torch.cuda.is_available():
        with pytest.raises(RequestError, match="no CUDA GPU"):
            choose_device("cuda")


def test_bfloat16_differs_by_little_and_keeps_keypoints() -> None:
    net, clip = unsettled(), frames(3)
    exact, half = LiteBackbone.of(net), LiteBackbone.of(net, precision="bfloat16")
    assert (exact.precision, half.precision) == ("float32", "bfloat16")
    keypoints = exact.detect(clip)
    assert np.array_equal(keypoints, half.detect(clip))
    fine, rough = (served.render(served.encode(clip[0]), keypoints) for served in (exact, half))
    difference = np.abs(fine.astype(int) - rough)
    assert difference.max() <= 8
    assert difference.mean() < 0.5


def test_the_precision_is_chosen_by_measurement() -> None:
    assert LiteBackbone.of(unsettled(), precision="auto").precision in ("float32", "bfloat16")
