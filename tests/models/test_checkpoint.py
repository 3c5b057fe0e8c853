import json
import os
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from models import checkpoint, stored
from models.checkpoint import fingerprint, load, load_into, save
from models.stored import CONFIG_NAME, TENSORS_NAME
from shared.errors import RequestError

CONFIG = {"model": "toy", "width": 3, "note": "ü"}


def tensors() -> dict[str, torch.Tensor]:
    return {
        "b.half": torch.tensor([1.5, -2.0], dtype=torch.float16),
        "a.full": torch.arange(6, dtype=torch.float32).reshape(2, 3),
        "count": torch.tensor(7),
        "none": torch.zeros(0, 4),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path / "toy", tensors(), CONFIG)
    return tmp_path / "toy"


def test_what_is_saved_is_loaded(folder: Path) -> None:
    loaded = load(folder, expect="toy")
    assert loaded.config == {**CONFIG, "format": 1}
    for name, tensor in tensors().items():
        assert loaded.tensors[name].dtype is tensor.dtype
        assert torch.equal(loaded.tensors[name], tensor)
    assert loaded.fingerprint == fingerprint(tensors(), {**CONFIG, "format": 1})
    assert sorted(os.listdir(folder)) == [CONFIG_NAME, TENSORS_NAME]


def test_saving_again_replaces(folder: Path) -> None:
    second = {"only": torch.ones(2)}
    assert save(folder, second, CONFIG) == load(folder).fingerprint
    assert list(load(folder).tensors) == ["only"]


def test_saving_returns_the_fingerprint_that_loading_finds(folder: Path) -> None:
    assert save(folder, tensors(), CONFIG) == load(folder).fingerprint


def test_a_failed_save_leaves_the_old_checkpoint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = load(folder).fingerprint
    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(RequestError, match=r"Cannot write the checkpoint .* No space left"):
        save(folder, {"only": torch.ones(2)}, CONFIG)
    assert load(folder).fingerprint == before
    assert sorted(os.listdir(folder)) == [CONFIG_NAME, TENSORS_NAME]


def test_the_fingerprint_is_frozen() -> None:
    # Two machines compare these digits, so they may never move between versions.
    assert fingerprint(tensors(), {**CONFIG, "format": 1}) == "60346ea281d42623"


def test_the_fingerprint_ignores_order_and_layout() -> None:
    plain = {"x": torch.arange(24.0).reshape(1, 2, 3, 4), "y": torch.ones(1)}
    other = {"y": plain["y"], "x": plain["x"].contiguous(memory_format=torch.channels_last)}
    assert fingerprint(plain, {"a": 1, "b": 2}) == fingerprint(other, {"b": 2, "a": 1})


@pytest.mark.parametrize(
    ("changed", "config"),
    [
        ({"x": torch.tensor([1.0, 2.0])}, {"a": 2}),
        ({"x": torch.tensor([1.0, 3.0])}, {"a": 1}),
        ({"x": torch.tensor([[1.0, 2.0]])}, {"a": 1}),
        ({"x": torch.tensor([1.0, 2.0]).view(torch.int32)}, {"a": 1}),
        ({"y": torch.tensor([1.0, 2.0])}, {"a": 1}),
        ({}, {"a": 1}),
    ],
)
def test_the_fingerprint_sees_every_change(changed: dict[str, torch.Tensor], config: dict[str, int]) -> None:
    assert fingerprint(changed, config) != fingerprint({"x": torch.tensor([1.0, 2.0])}, {"a": 1})


def test_a_missing_folder_or_file_is_named(folder: Path) -> None:
    with pytest.raises(RequestError, match="There is no checkpoint folder at"):
        load(folder / "absent")
    (folder / TENSORS_NAME).unlink()
    with pytest.raises(RequestError, match=r"model.safetensors is missing"):
        load(folder)
    (folder / CONFIG_NAME).unlink()
    with pytest.raises(RequestError, match=r"config.json is missing"):
        load(folder)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ('{"model": "toy", "format": 1, "x": NaN}', "not valid JSON"),
        ("[" * 200_000, "not valid JSON"),
        ("[]", "not a checkpoint config"),
        ('{"format": 1}', "not a checkpoint config"),
        ('{"model": 5, "format": 1}', "not a checkpoint config"),
        ('{"model": "toy"}', "has format None"),
        ('{"model": "toy", "format": 2}', "has format 2"),
        ('{"model": "toy", "format": true}', "has format True"),
        ('{"model": "lite", "format": 1}', "of kind 'lite'; one of kind 'toy' is needed"),
    ],
)
def test_a_wrong_config_is_refused(folder: Path, text: str, sentence: str) -> None:
    (folder / CONFIG_NAME).write_text(text)
    with pytest.raises(RequestError, match=sentence):
        load(folder, expect="toy")


def test_a_config_that_is_not_text_is_refused(folder: Path) -> None:
    (folder / CONFIG_NAME).write_bytes(b"\xff\xfe\xff")
    with pytest.raises(RequestError, match="not valid JSON"):
        load(folder)


@pytest.mark.parametrize(
    ("name", "limit"), [(CONFIG_NAME, "MAX_CONFIG_BYTES"), (TENSORS_NAME, "MAX_TENSORS_BYTES")]
)
def test_files_over_the_limit_are_not_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, limit: str
) -> None:
    monkeypatch.setattr(stored, limit, 10)
    with pytest.raises(RequestError, match=rf"{name} has \d+ bytes, more than the 10 allowed"):
        load(folder)


def header(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def entry(dtype: str, shape: list[int], end: int) -> str:
    return json.dumps({"x": {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GIF89a",
        b"\xff" * 64,
        header("not json"),
        header("[]"),
        struct.pack("<Q", 2**40) + b"{}",
        header(entry("F32", [2], 4)) + bytes(4),
        header(entry("F32", [1], 4)),
        header(entry("F32", [2**62, 4], 4)) + bytes(4),
        header(entry("F32", [-1], 4)) + bytes(4),
        header(entry("NOPE", [1], 4)) + bytes(4),
        b"\x80\x02cos\nsystem\n",
    ],
)
def test_what_is_not_safetensors_is_refused(folder: Path, content: bytes) -> None:
    (folder / TENSORS_NAME).write_bytes(content)
    with pytest.raises(RequestError, match="not a readable safetensors file"):
        load(folder)


def test_truncated_tensors_are_refused(folder: Path) -> None:
    path = folder / TENSORS_NAME
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RequestError, match="may be truncated"):
        load(folder)


@pytest.mark.parametrize("config", [{"width": 3}, {"model": 3}])
def test_a_config_without_a_model_is_not_saved(tmp_path: Path, config: dict[str, object]) -> None:
    with pytest.raises(RequestError, match="not a checkpoint config"):
        save(tmp_path / "new", {}, config)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RequestError, match="Cannot write the checkpoint"):
        save(tmp_path / "file" / "below", {}, CONFIG)


def linear(tmp_path: Path, **changes: torch.Tensor | None) -> checkpoint.Checkpoint:
    state: dict[str, torch.Tensor | None] = {**nn.Linear(2, 3).state_dict(), **changes}
    kept = {name: tensor for name, tensor in state.items() if tensor is not None}
    save_file(kept, tmp_path / TENSORS_NAME)
    (tmp_path / CONFIG_NAME).write_text('{"model": "linear", "format": 1}')
    return load(tmp_path)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_weights_go_into_a_module_of_their_shape(tmp_path: Path, device: str) -> None:
    stored = linear(tmp_path, bias=torch.tensor([1.0, 2.0, 3.0], dtype=torch.float16))
    module = nn.Linear(2, 3, device=device)
    load_into(module, stored)
    assert torch.equal(module.weight, stored.tensors["weight"])
    assert module.bias.dtype is torch.float32
    assert module.bias.tolist() == [1, 2, 3]
    assert module.weight.requires_grad


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"bias": None}, r"'linear' does not fit this network \(bias is missing\)"),
        ({"extra": torch.ones(1)}, "extra is unknown"),
        ({"bias": torch.ones(4)}, r"bias has shape \(4,\) instead of \(3,\)"),
        ({"bias": None, "extra": torch.ones(1)}, "and 1 more"),
        ({"bias": torch.ones(3, dtype=torch.int64)}, "bias is torch.int64"),
        ({"bias": torch.tensor([0, float("nan"), 0])}, "bias holds NaN"),
        ({"bias": torch.full((3,), 1e300, dtype=torch.float64)}, "bias holds NaN or infinity"),
    ],
)
def test_weights_that_do_not_fit_are_refused_whole(
    tmp_path: Path, changes: dict[str, torch.Tensor | None], sentence: str
) -> None:
    module = nn.Linear(2, 3)
    before = module.weight.clone()
    with pytest.raises(RequestError, match=sentence):
        load_into(module, linear(tmp_path, **changes))
    assert torch.equal(module.weight, before)
