"""Checkpoint folders without torch: what torch wrote is read as the same, under the same name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from models import checkpoint, stored
from models.build import SHIPPED
from shared.errors import RequestError

TENSORS = {
    "b.half": torch.tensor([1.5, -2.0], dtype=torch.float16),
    "a.full": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "brain": torch.tensor([1.5, -3.0e38, float("inf")], dtype=torch.bfloat16),
    "double": torch.tensor([[0.1]], dtype=torch.float64),
    "flags": torch.tensor([True, False]),
    "count": torch.tensor(7),
    "none": torch.zeros(0, 4),
}


def test_what_torch_wrote_is_read_as_the_same(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, TENSORS, {"model": "toy"})
    found, theirs = stored.read(tmp_path, expect="toy"), checkpoint.load(tmp_path)
    assert (found.fingerprint, found.config) == (theirs.fingerprint, theirs.config)
    assert set(found.arrays) == set(TENSORS)
    for name, tensor in TENSORS.items():
        expected = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        np.testing.assert_array_equal(found.arrays[name], expected.numpy(), strict=True)


@pytest.mark.parametrize("folder", sorted(path.parent for path in SHIPPED.glob("*/config.json")))
def test_shipped_weights_have_one_fingerprint(folder: Path) -> None:
    assert stored.read(folder).fingerprint == checkpoint.load(folder).fingerprint


def test_what_is_wrong_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no checkpoint folder"):
        stored.read(tmp_path / "none")
    checkpoint.save(tmp_path, TENSORS, {"model": "toy"})
    with pytest.raises(RequestError, match="of kind 'toy'; one of kind 'lite' is needed"):
        stored.read(tmp_path, expect="lite")
    file = tmp_path / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(RequestError, match="may be truncated"):
        stored.read(tmp_path)
    header = json.dumps({"x": {"dtype": "F8_E5M2", "shape": [1], "data_offsets": [0, 1]}}).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header + b"\0")
    with pytest.raises(RequestError, match="not a readable safetensors file"):
        stored.read(tmp_path)
