"""The estimator on distributions with known answers; the features with a tiny untrained V-JEPA 2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.forecast.jedi import jedi, polynomial_mmd
from models.jepa import Features
from shared.errors import RequestError

torch.set_num_threads(1)


def normal(seed: int, count: int, mean: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1, size=(count, 8))


def test_of_a_linear_kernel_it_is_the_squared_distance_of_the_means() -> None:
    x, y = normal(0, 50), normal(1, 70, 0.5)
    expected = np.square(x.mean(0) - y.mean(0)).mean()
    assert polynomial_mmd(x, y, degree=1) == pytest.approx(expected)
    assert polynomial_mmd(x, y, degree=1, offset=3.0) == pytest.approx(expected)


def test_of_a_quadratic_kernel_it_is_the_distance_of_the_second_moments() -> None:
    x, y = normal(0, 50), normal(1, 70, 0.5)
    moments = [np.einsum("ni,nj->ij", side, side) / len(side) for side in (x, y)]
    expected = np.square(moments[0] - moments[1]).sum() / 8**2
    assert polynomial_mmd(x, y) == pytest.approx(expected)
    assert jedi(x, y) == pytest.approx(100 * expected)


def test_the_same_samples_are_no_distance_apart_and_order_does_not_matter() -> None:
    x = normal(0, 40)
    assert jedi(x, x[::-1]) == pytest.approx(0, abs=1e-9)


def test_unbiased_it_is_zero_on_average_for_one_distribution_and_grows_with_a_shift() -> None:
    same = [polynomial_mmd(normal(n, 30), normal(1000 + n, 30), 3, 1.0, unbiased=True) for n in range(300)]
    error = np.std(same) / np.sqrt(len(same))
    assert abs(np.mean(same)) < 3 * error
    plain = [polynomial_mmd(normal(n, 30), normal(1000 + n, 30), 3, 1.0) for n in range(50)]
    assert np.mean(plain) > 10 * error
    shifted = [polynomial_mmd(normal(0, 400), normal(1, 400, shift)) for shift in (0.0, 0.3, 0.6)]
    assert shifted == sorted(shifted)


def test_one_sample_says_nothing() -> None:
    with pytest.raises(ValueError, match="two samples"):
        polynomial_mmd(normal(0, 1), normal(1, 5))


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "num_attention_heads": 2, "num_hidden_layers": 1}
    config = transformers.VJEPA2Config(
        patch_size=16, crop_size=32, frames_per_clip=4, tubelet_size=2,
        **sizes, **{f"pred_{key}": value for key, value in sizes.items()},
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("jepa")
    transformers.VJEPA2Model(config).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_videos_of_any_length_have_features(network: Path) -> None:
    features = Features(network)
    video = np.random.default_rng(0).integers(0, 255, (6, 64, 64, 3)).astype(np.uint8)
    found = features(video)
    assert found.shape == (24,)
    np.testing.assert_array_equal(features(video), found)
    assert np.abs(features(video[:1]) - found).max() > 1e-6
    assert np.abs(features(video[::-1]) - found).max() > 1e-6


@pytest.mark.slow
def test_what_is_no_network_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(RequestError, match="There is no V-JEPA 2"):
        Features(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "vjepa2"}')
    with pytest.raises(RequestError, match="does not hold V-JEPA 2"):
        Features(tmp_path)
