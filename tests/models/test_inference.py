from collections import OrderedDict

import numpy as np
import torch
from torch import Tensor, nn

from models.fomm.config import FommConfig
from models.fomm.model import Fomm
from models.inference import fold_batchnorm, prepare, to_bytes, to_tensor


def unsettle(module: nn.Module, seed: int = 0) -> None:
    """Give every batch norm statistics and weights that matter."""
    generator = torch.Generator().manual_seed(seed)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
                tensor.uniform_(0.5, 1.5, generator=generator)


class PreNorm(nn.Module):
    """A residual block as the published generator has it."""

    conv_then_norm = (("conv1", "norm2"),)

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm1, self.norm2 = nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(self.norm1(x).relu())
        return x + self.conv2(self.norm2(out).relu())


def network() -> nn.Module:
    torch.manual_seed(0)
    module = nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(3, 4, 3, bias=False),
            norm=nn.BatchNorm2d(4),
            relu=nn.ReLU(),
            alone=nn.BatchNorm2d(4),
            block=PreNorm(),
        )
    )
    unsettle(module)
    return module.eval()


def norms(module: nn.Module) -> list[str]:
    return [name for name, child in module.named_modules() if isinstance(child, nn.BatchNorm2d)]


def test_folding_removes_exactly_the_norms_that_follow_a_convolution() -> None:
    module = network()
    assert norms(fold_batchnorm(module)) == ["alone", "block.norm1"]
    assert norms(module) == ["norm", "alone", "block.norm1", "block.norm2"]


def test_folding_keeps_the_output() -> None:
    module, x = network(), torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(fold_batchnorm(module)(x), module(x), rtol=1e-5, atol=1e-5)


def test_folding_the_whole_fomm_leaves_only_leading_norms() -> None:
    config = FommConfig(image_size=64, detector_blocks=2, motion_blocks=2, generator_bottleneck_blocks=3)
    folded = fold_batchnorm(Fomm(config))
    assert norms(folded) == [f"generator.bottleneck.r{index}.norm1" for index in range(3)]


def test_prepare_serves_without_gradients_in_the_asked_precision() -> None:
    ready = prepare(network().train(), dtype=torch.bfloat16)
    assert not ready.training
    assert all(p.dtype is torch.bfloat16 and not p.requires_grad for p in ready.parameters())
    assert ready.get_parameter("conv.weight").is_contiguous(memory_format=torch.channels_last)


def test_pictures_survive_the_way_to_a_tensor_and_back() -> None:
    every_level = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    every_level.flags.writeable = False
    mirrored = every_level[:, :, ::-1]
    for pictures in (every_level, mirrored):
        tensor = to_tensor(pictures, "cpu", torch.float32)
        assert tensor.shape == (1, 3, 16, 16)
        assert float(tensor.min()) == 0
        assert float(tensor.max()) == 1
        np.testing.assert_array_equal(to_bytes(tensor).numpy(), pictures)


def test_bytes_are_clipped_rounded_and_never_of_nan() -> None:
    tensor = torch.tensor([-1.0, 0.499 / 255, 0.501 / 255, 7.0]).reshape(1, 1, 1, 4).expand(1, 3, 1, 4)
    assert to_bytes(tensor)[0, 0, :, 0].tolist() == [0, 0, 1, 255]
    # Warnings are errors here: a cast of NaN would be one.
    assert to_bytes(torch.full((1, 3, 1, 1), torch.nan)).shape == (1, 1, 1, 3)
