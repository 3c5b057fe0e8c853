"""Packed convolutions give what plain ones give, and what cannot be packed stays."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models.weight_prepacking import PackedConvolution, can_pack, pack

torch.set_num_threads(1)
packs = pytest.mark.skipif(not can_pack(), reason="torch cannot pack weights on this machine")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1),
        nn.Sequential(nn.Conv2d(8, 16, 1, groups=4), nn.ReLU()),
        nn.Conv2d(16, 4, 2, stride=2, padding=(1, 0), bias=False),
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
    ).requires_grad_(False)


@packs
@pytest.mark.parametrize(("dtype", "largest"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_packing_changes_nothing(dtype: torch.dtype, largest: float) -> None:
    if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("needs a CPU that packs bfloat16 weights")
    plain, packed = network().to(dtype), network().to(dtype)
    pack(packed)
    kinds = [isinstance(module, PackedConvolution) for module in packed.modules()]
    assert sum(kinds) == 3
    # The ReLU became part of the convolution before it.
    assert not any(isinstance(module, nn.ReLU) for module in packed.modules())
    # The second size is not the one that the weights were packed for.
    for shape in ((1, 4, 12, 16), (3, 4, 20, 8), (1, 4, 12, 16)):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
        for given in (x, x.contiguous(memory_format=torch.channels_last)):
            with torch.inference_mode():
                torch.testing.assert_close(packed(given), plain(given), rtol=0, atol=largest)


def test_without_the_operators_nothing_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.weight_prepacking._operators", lambda: torch.ops.no_such_library)
    can_pack.cache_clear()
    try:
        assert not can_pack()
        untouched = network()
        pack(untouched)
        assert not any(isinstance(module, PackedConvolution) for module in untouched.modules())
    finally:
        can_pack.cache_clear()


def test_what_lies_on_no_cpu_is_left() -> None:
    elsewhere = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, device="meta"))
    pack(elsewhere)
    assert isinstance(elsewhere[0], nn.Conv2d)
