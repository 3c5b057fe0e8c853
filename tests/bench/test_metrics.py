"""Distances have known values, and operation counts equal those done by hand."""

from __future__ import annotations

import logging
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bench.harness.metrics import (
    Distances,
    PerceptualDistance,
    compare,
    mae,
    operations,
    parameters,
    ssim,
    tops,
)
from models.perceptual import Perceptual
from shared.errors import RequestError
from shared.keypoints import Pictures

torch.set_num_threads(1)
BLACK = np.zeros((256, 256, 3), np.uint8)
NOISE = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)


def test_mae_is_a_share_of_the_range() -> None:
    assert mae(BLACK, np.full_like(BLACK, 255)) == 1
    assert mae(np.full_like(BLACK, 10), np.full_like(BLACK, 61)) == pytest.approx(0.2)
    assert mae(np.full_like(BLACK, 61), np.full_like(BLACK, 10)) == pytest.approx(0.2)


def test_ssim_is_one_for_equal_pictures_and_low_for_others() -> None:
    assert ssim(NOISE, NOISE) == pytest.approx(1)
    assert ssim(NOISE, NOISE[::-1]) < 0.2


def test_distances_are_means_over_frames() -> None:
    distances = Distances()
    for level in (0, 51, 102):
        distances.add(BLACK, np.full_like(BLACK, level))
    row = distances.row()
    assert distances.count == 3
    assert row["mae"] == pytest.approx(0.2)
    assert 0 < row["ssim"] < 1
    assert math.isnan(row["perceptual"])


def test_nothing_measured_is_nan() -> None:
    assert all(math.isnan(value) for value in Distances(with_ssim=False).row().values())


@pytest.mark.parametrize(("module", "call"), [
    ("skimage.metrics", lambda: ssim(BLACK, BLACK)),
    ("fvcore.nn", lambda: operations(nn.Linear(1, 1), nn.Linear(1, 1), torch.zeros(1, 1))),
])  # fmt: skip
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, module: str, call: object) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert callable(call)
    with pytest.raises(RequestError, match=r"pip install 'keycast\[bench\]'"):
        call()


def squeezenet(path: Path) -> Path:
    """Write random weights under the names and shapes of SqueezeNet v1.1."""
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(0)
    shapes = {"features.0": (64, 3, 3)}
    squeezes = {
        3: (64, 16),
        4: (128, 16),
        6: (128, 32),
        7: (256, 32),
        9: (256, 48),
        10: (384, 48),
        11: (384, 64),
    }
    for index, (inputs, narrow) in {**squeezes, 12: (512, 64)}.items():
        wide = 4 * narrow
        shapes[f"features.{index}.squeeze"] = (narrow, inputs, 1)
        shapes[f"features.{index}.expand1x1"] = (wide, narrow, 1)
        shapes[f"features.{index}.expand3x3"] = (wide, narrow, 3)
    tensors = {}
    for name, (outputs, inputs, size) in shapes.items():
        tensors[f"{name}.weight"] = torch.randn(outputs, inputs, size, size, generator=generator) * (
            inputs**-0.5
        )
        tensors[f"{name}.bias"] = torch.zeros(outputs)
    save_file(tensors, str(path))
    return path


def test_the_perceptual_distance_orders_pictures(tmp_path: Path) -> None:
    distance = PerceptualDistance(squeezenet(tmp_path / "net.safetensors"))
    ramp: Pictures = np.repeat(np.arange(0, 192, 3, np.uint8), 64 * 3).reshape(64, 64, 3)
    assert distance(ramp, ramp) == 0
    assert 0 < distance(ramp, ramp + 8) < distance(ramp, NOISE[:64, :64])


def test_pictures_are_compared_one_by_one_and_as_the_training_does(tmp_path: Path) -> None:
    distance = PerceptualDistance(squeezenet(tmp_path / "net.safetensors"))
    network = Perceptual(tmp_path / "net.safetensors")
    random = np.random.default_rng(1)
    truth, ours = random.integers(0, 256, (2, 3, 64, 64, 3), np.uint8)
    found = compare(truth, {"": ours, "static_": ours[:1]}, distance)
    for index in range(3):
        for name, other in (("", ours[index]), ("static_", ours[0])):
            pair = [torch.from_numpy(p).permute(2, 0, 1)[None] / 255 for p in (other, truth[index])]
            assert found[f"{name}perceptual"][index] == pytest.approx(float(network(*pair)), rel=1e-4)
            assert found[f"{name}mae"][index] == mae(truth[index], other)
            assert found[f"{name}ssim"][index] == ssim(truth[index], other)
    assert np.isnan(compare(truth, {"": ours})["perceptual"]).all()


def test_a_missing_perceptual_network_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="Could not read the perceptual network"):
        PerceptualDistance(tmp_path / "missing.safetensors")


def test_operations_are_multiply_accumulates(capsys: pytest.CaptureFixture[str]) -> None:
    linear, conv, cell = nn.Linear(30, 20), nn.Conv2d(3, 8, 3, padding=1), nn.GRUCell(7, 5)
    assert operations(linear, linear, torch.zeros(4, 30)) == 4 * 30 * 20
    assert operations(conv, conv, torch.zeros(1, 3, 16, 16)) == 16 * 16 * 27 * 8
    assert operations(cell, cell, torch.zeros(2, 7), torch.zeros(2, 5)) == 2 * 3 * 5 * (7 + 5)

    def add_products(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.zeros(2, 3, 5).baddbmm_(a, b)

    assert operations(linear, add_products, torch.zeros(2, 3, 4), torch.zeros(2, 4, 5)) == 2 * 3 * 4 * 5
    assert parameters(linear) == 620
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_counting_leaves_fvcores_logger_as_it_was() -> None:
    before = logging.getLogger("fvcore").level
    operations(nn.Linear(2, 2), nn.Linear(2, 2), torch.zeros(1, 2))
    assert logging.getLogger("fvcore").level == before


def test_tops_gives_the_papers_figure() -> None:
    assert tops(53.766e9) == pytest.approx(2.6883, abs=1e-4)
