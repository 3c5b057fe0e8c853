"""The served network equals the published one: each cheaper form alone, in float64, then together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from models.fomm import serving
from models.fomm.backbone import FommBackbone
from models.fomm.blocks import UpBlock2d
from models.fomm.config import FommConfig
from models.fomm.layers import DoublingConvolution, DoublingOutput, joined
from models.fomm.model import Fomm
from models.fomm.plain import PlainFomm, untrained_fomm
from models.fomm.serving import Precision, Residuals, ServedFomm, fastest_precision
from models.fomm.winograd import WinogradConvolution, WinogradResiduals, Workspace
from models.inference import fold_batchnorm

pytestmark = pytest.mark.slow

torch.set_num_threads(1)
CONFIG = FommConfig(
    image_size=128, detector_expansion=8, detector_blocks=3, motion_expansion=8, motion_blocks=3,
    generator_expansion=8, generator_bottleneck_blocks=3,
)  # fmt: skip
PRECISIONS: tuple[Precision, ...] = ("float32", "mixed", "bfloat16")


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def conv(inputs: int, outputs: int, size: int = 3, bias: bool = True) -> nn.Conv2d:
    torch.manual_seed(inputs * outputs)
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=bias).double().requires_grad_(False)


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Smooth random colours."""
    coarse = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    fine = F.interpolate(coarse, size=(128, 128), mode="bicubic").clamp(0, 1)
    return (fine * 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


@pytest.fixture(scope="module")
def model() -> Fomm:
    """A small FOMM whose pictures are varied and whose batch norms matter."""
    model = untrained_fomm(1, CONFIG)
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if "norm" in name and tensor.is_floating_point():
            tensor.add_(0.2 * torch.rand(tensor.shape, generator=generator))
    return model


# The cheaper forms.


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 4)])
def test_a_doubled_picture_is_convolved_on_the_small_one(size: tuple[int, int], bias: bool) -> None:
    layer, x = conv(3, 5, bias=bias), random(2, 3, *size)
    expected = layer(F.interpolate(x, scale_factor=2)).relu()
    torch.testing.assert_close(DoublingConvolution(layer)(x), expected, rtol=0, atol=1e-13)


def test_it_stands_for_the_published_block() -> None:
    block = UpBlock2d(4, 6).double().eval()
    for tensor in (block.norm.running_mean, block.norm.running_var, block.norm.weight):
        assert tensor is not None
        tensor.data.uniform_(0.5, 1.5)
    x = random(1, 4, 8, 8)
    with torch.no_grad():
        expected, served = block(x), DoublingConvolution(fold_batchnorm(block).conv)(x)
    torch.testing.assert_close(served, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("size", [1, 3, 5, 7, 9])
def test_what_follows_can_be_convolved_there_too(size: int) -> None:
    before, last, x = conv(4, 6), conv(6, 3, size), random(2, 4, 5, 6)
    expected = last(before(F.interpolate(x, scale_factor=2)).relu())
    torch.testing.assert_close(DoublingOutput(before, last)(x), expected, rtol=0, atol=1e-12)


def test_joined_convolutions_give_the_outputs_of_each() -> None:
    first, second, x = conv(3, 5, 7), conv(3, 1, 7), random(2, 3, 8, 8)
    both = joined(first, second)(x)
    torch.testing.assert_close(both, torch.cat([first(x), second(x)], dim=1), rtol=0, atol=1e-13)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("side", [4, 8, 20])
def test_winograds_way_errs_little(side: int, bias: bool) -> None:
    layer, x = conv(6, 6, bias=bias), random(1, 6, side, side)
    padded = F.pad(x, (1, 1, 1, 1))[0].permute(1, 2, 0).float().contiguous()
    memory = Workspace(side, 6)
    for buffer in vars(memory).values():
        if isinstance(buffer, Tensor):
            buffer.fill_(torch.nan)  # what memory held must not matter
    result = WinogradConvolution(layer)(padded, memory).reshape(side, side, 6)
    torch.testing.assert_close(result.permute(2, 0, 1)[None].double(), layer(x), rtol=0, atol=1e-5)


def test_residual_blocks_by_winograds_way(model: Fomm) -> None:
    blocks = fold_batchnorm(model.generator.bottleneck)
    x = random(1, 32, 32, 32, dtype=torch.float32)
    with torch.inference_mode():
        fast = WinogradResiduals(list(blocks), 32)  # type: ignore[arg-type]
        for _ in range(2):  # a second pass must find nothing of the first
            given = x.clone().contiguous(memory_format=torch.channels_last)
            torch.testing.assert_close(fast(given), model.generator.bottleneck(x), rtol=1e-4, atol=1e-4)


# All together.


def served(model: Fomm, precision: Precision) -> FommBackbone:
    return FommBackbone(model, precision=precision)


@pytest.fixture(scope="module")
def plain(model: Fomm) -> PlainFomm:
    return PlainFomm(model)


@torch.inference_mode()
def drawn(backbone: FommBackbone | PlainFomm, keypoints: np.ndarray) -> Tensor:
    """What the backbone draws, before it is rounded to bytes."""
    source, rows = backbone.encode(pictures(1)[0]), torch.from_numpy(keypoints)
    return torch.cat([backbone._engine._draw(source.kept, row[None]) for row in rows])  # type: ignore[attr-defined]


@pytest.mark.parametrize(("precision", "largest"), [("float32", 1e-4), ("mixed", 0.02), ("bfloat16", 0.02)])
def test_served_pictures_are_the_published_ones(
    model: Fomm, plain: PlainFomm, precision: Precision, largest: float
) -> None:
    frames = pictures(3, seed=1)
    backbone, keypoints = served(model, precision), plain.detect(frames)
    np.testing.assert_allclose(backbone.detect(frames), keypoints, rtol=0, atol=1e-5)
    expected = drawn(plain, keypoints)
    # Without variety an error would not show.
    assert float(expected.std()) > 0.05
    assert float((expected[0] - expected[1]).abs().max()) > 0.02
    assert float((drawn(backbone, keypoints) - expected).abs().max()) < largest


def test_the_exact_precisions_err_less(model: Fomm, plain: PlainFomm) -> None:
    keypoints = plain.detect(pictures(3, seed=1))
    expected = drawn(plain, keypoints)
    errors = [float((drawn(served(model, p), keypoints) - expected).abs().mean()) for p in PRECISIONS]
    assert errors[0] < 0.1 * errors[1]
    assert errors[1] < errors[2]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_streaming_equals_offline(model: Fomm, precision: Precision) -> None:
    backbone = served(model, precision)
    keypoints = backbone.detect(pictures(5, seed=2))
    source = backbone.encode(pictures(1)[0])
    together = backbone.render(source, keypoints).astype(int)
    singly = np.concatenate([backbone.render(source, row[None]) for row in keypoints])
    assert np.abs(together - singly).max() <= 1


def test_serving_leaves_the_model_as_it_was(model: Fomm) -> None:
    before = model.fingerprint()
    for precision in PRECISIONS:
        assert FommBackbone(model, precision=precision).fingerprint == before
    assert model.fingerprint() == before


UNTILED = FommConfig(
    **{**CONFIG.__dict__, "image_size": 64, "scale_factor": 1.0, "generator_down_blocks": 5}  # type: ignore[arg-type]
)


def test_mixed_keeps_the_residual_blocks_exact_wherever_they_run() -> None:
    generator = ServedFomm(untrained_fomm(0, UNTILED), "cpu", "mixed").generator
    assert isinstance(generator.bottleneck, Residuals)
    assert {weight.dtype for weight in generator.bottleneck.parameters()} == {torch.float32}
    assert generator.final.last.weight.dtype == torch.bfloat16


def test_sides_that_winograd_cannot_tile_are_served_all_the_same() -> None:
    model = untrained_fomm(0, UNTILED)
    plain, fast = PlainFomm(model), FommBackbone(model)
    frame = pictures(1)[:, :64, :64]
    one, other = (net.render(net.encode(frame[0]), net.detect(frame)) for net in (plain, fast))
    assert np.abs(one.astype(int) - other).max() <= 1


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("channels", [64, 60])
def test_a_single_frames_channels_stand_as_a_batch(device: str, channels: int) -> None:
    random = torch.Generator().manual_seed(0)
    features = torch.rand(1, channels, 16, 16, generator=random)
    grid = torch.rand(1, 8, 8, 2, generator=random) * 2.4 - 1.2
    expected = serving.warp(features, grid)
    with TorchShapes(device) as shapes:
        warped = serving._warp(features.to(device), grid.to(device))
    # A GPU, here one without memory, has a thread for each place of each of the batch.
    parts = 32 if channels % 32 == 0 else 1
    if device == "meta":
        assert shapes.seen == [(parts, channels // parts, 16, 16)]
    else:
        torch.testing.assert_close(warped, expected)
    assert warped.shape == expected.shape


class TorchShapes(TorchDispatchMode):  # type: ignore[misc]
    """Notes of what shape is sampled."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device, self.seen = device, list[tuple[int, ...]]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.grid_sampler_2d.default:
            self.seen.append(tuple(args[0].shape))
        return func(*args, **(kwargs or {}))


def test_a_cpu_chooses_among_its_precisions(monkeypatch: pytest.MonkeyPatch) -> None:
    # Which one is the machine's own business, and needs no sure answer here.
    monkeypatch.setattr(serving, "_ROUNDS", 1)
    assert fastest_precision() in PRECISIONS


def test_random_weights_draw_varied_pictures() -> None:
    model = untrained_fomm(0, CONFIG)
    backbone = PlainFomm(model)
    source = backbone.encode(pictures(1)[0])
    picture = backbone.render(source, source.keypoints[None])
    assert 5 < picture.std() < 120
    assert model.fingerprint() == untrained_fomm(0, CONFIG).fingerprint()
