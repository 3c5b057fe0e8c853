"""The transform over time: what goes in comes back, by whole numbers alone, whoever sends them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.codec.quantization import MAX_INDEX
from shared.codec.temporal import FRACTION_BITS, basis, coefficients, inverse, slopes
from shared.constants import MAX_PACKET_FRAMES

COUNTS = range(1, MAX_PACKET_FRAMES + 1)


@pytest.mark.parametrize("count", COUNTS)
def test_the_basis_turns_without_stretching(count: int) -> None:
    waves = basis(count) / 2.0**20
    np.testing.assert_allclose(waves @ waves.T, np.eye(count), atol=1e-5)
    np.testing.assert_allclose(waves[0], count**-0.5, atol=1e-4)
    # Slow first: the further down, the more a row's neighbours differ.
    assert (np.diff(np.square(np.diff(waves, axis=1)).sum(1)) > 0).all()


@pytest.mark.parametrize("count", COUNTS)
def test_no_machine_rounds_the_tables_otherwise(count: int) -> None:
    """A cosine may differ in its last digit; it must not be one that decides."""
    frame, row = np.arange(count), np.arange(count)[:, None]
    waves = np.cos(np.pi * (2 * frame + 1) * row / (2 * count)) * np.sqrt(2 / count) * 2**20
    waves[0] = np.sqrt(1 / count) * 2**20
    steep = np.log2([count**0.5, *(1 / (2 * np.sin(np.pi * np.arange(1, count) / (2 * count))))]) * 2**8
    for exact, whole in ((waves, basis(count)), (steep, slopes(count))):
        assert np.abs(exact - whole).max() < 0.5 - 1e-6


@given(st.sampled_from(COUNTS), st.integers(0, 10**6))
def test_what_goes_in_comes_back_near(count: int, seed: int) -> None:
    exact = np.random.default_rng(seed).normal(0, 20, (count, 7))
    back = inverse(np.rint(coefficients(exact)).astype(np.int64)) / 2.0**FRACTION_BITS
    # An error of a coefficient is spread over all frames, whose squares it adds up to.
    assert np.square(back - exact).sum(0).max() <= count * (0.5 + 0.05) ** 2
    assert np.abs((back - exact).mean(0)).max() <= 0.5 / count**0.5 + 0.05


def test_what_stands_still_is_one_number() -> None:
    numbers = coefficients(np.full((6, 3), 7.3))
    np.testing.assert_allclose(numbers[0], 7.3 * 6**0.5, atol=1e-4)
    np.testing.assert_allclose(numbers[1:], 0, atol=1e-2)
    assert np.ptp(inverse(np.rint(numbers).astype(np.int64)), axis=0).max() == 0


@pytest.mark.parametrize("count", [1, 6, 32])
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_numbers_there_may_be_do_not_wrap(count: int, sign: int) -> None:
    numbers = np.full((count, 1), sign * (MAX_INDEX - 1), np.int64)
    rows = basis(count).tolist()
    sums = [sum(row[t] * sign * (MAX_INDEX - 1) for row in rows) for t in range(count)]
    assert inverse(numbers)[:, 0].tolist() == [(total + (1 << 15)) >> 16 for total in sums]


def test_slow_waves_are_larger_than_quick_ones() -> None:
    for count in (2, 3, 6, 32):
        assert (np.diff(slopes(count)[1:]) < 0).all()
    assert slopes(1).tolist() == [0]
    # A constant of four frames has twice their coefficient, which is one in log2.
    assert slopes(4)[0] == 1 << 8
