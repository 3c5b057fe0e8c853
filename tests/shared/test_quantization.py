import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.codec.quantization import MATRIX_BITS, MAX_INDEX, QUALITIES, TransformQuantizer, track

GENERATOR = np.random.default_rng(3)
MATRIX = np.rint(np.eye(60) * 2.0 ** (MATRIX_BITS - 10) + GENERATOR.normal(0, 1000, (60, 60))).astype(
    np.int32
)
MEAN = np.rint(GENERATOR.uniform(-1, 1, 60) * 2.0**MATRIX_BITS).astype(np.int32)
LATTICE = TransformQuantizer(MATRIX, MEAN)
FRAMES = GENERATOR.uniform(-1, 1, (5, 60)).astype(np.float32)


@pytest.mark.parametrize("quality", range(QUALITIES))
def test_the_nearest_point_is_within_half_a_step(quality: int) -> None:
    exact = LATTICE.coordinates(FRAMES, quality)
    restored = LATTICE.restore(np.rint(exact).astype(np.int64), quality)
    away = LATTICE.coordinates(restored, quality) - exact
    assert np.abs(away).max() <= 0.5 + 1e-2
    # Seen the other way round: a step of quality 0 is 2**-10, and two qualities double it.
    assert np.abs(restored - FRAMES).max() < 60 * 2.0**-10 * 2 ** (quality / 2)


def test_a_lattice_point_is_found_again_exactly() -> None:
    indices = GENERATOR.integers(-3000, 3000, (4, 60))
    for quality in range(QUALITIES):
        frames = LATTICE.restore(indices >> quality // 2, quality)
        np.testing.assert_array_equal(np.rint(LATTICE.coordinates(frames, quality)), indices >> quality // 2)


def test_the_largest_numbers_do_not_wrap() -> None:
    indices = np.full((1, 60), MAX_INDEX - 1)
    exact = (MAX_INDEX - 1) * MATRIX.astype(object).sum(1) * round(2 ** (8 + 15 / 2)) + MEAN.astype(
        object
    ) * 256
    np.testing.assert_allclose(
        LATTICE.restore(indices, 15)[0], [float(value) / 2.0**32 for value in exact], rtol=1e-6
    )


@given(st.floats(0.5, 0.9), st.integers(0, 2**32))
def test_a_track_never_strays_past_its_dead_zone(dead_zone: float, seed: int) -> None:
    wanted = np.random.default_rng(seed).normal(0, 3, (12, 60)).cumsum(0)
    chosen = track(wanted, None, dead_zone)
    assert np.abs(chosen - wanted).max() <= dead_zone
    # What stays within the dead zone does not move.
    still = np.abs(wanted[1:] - chosen[:-1]) <= dead_zone
    assert (chosen[1:][still] == chosen[:-1][still]).all()


def test_a_track_can_follow_another() -> None:
    start = np.full(60, 7)
    np.testing.assert_array_equal(track(np.full((1, 60), 7.55), start), start[None])
    np.testing.assert_array_equal(track(np.full((1, 60), 7.55), None), start[None] + 1)


def test_a_coarser_grid_is_reached_by_whole_numbers_alone() -> None:
    indices = np.arange(-30, 30)
    np.testing.assert_array_equal(LATTICE.coarser(indices, 2, 2), indices)
    # Four qualities are a factor of four: halves go up, on either side of zero.
    np.testing.assert_array_equal(LATTICE.coarser(indices, 0, 4), np.floor(indices / 4 + 0.5))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1000.5, -3e38])
def test_an_implausible_number_has_no_coordinates(value: float) -> None:
    frames = FRAMES.copy()
    frames[1, 30] = value
    with pytest.raises(ValueError, match="plausible"):
        LATTICE.coordinates(frames, 5)


@pytest.mark.parametrize(
    ("matrix", "mean", "sentence"),
    [
        (MATRIX.astype(np.int64), MEAN, "matrix is int64"),
        (MATRIX[:59], MEAN, "matrix is int32"),
        (MATRIX, MEAN[:59], "mean is int32"),
        (np.zeros((60, 60), np.int32), MEAN, "singular"),
        (MATRIX * 4000, MEAN, "over 1"),
    ],
)
def test_a_lattice_that_is_none_is_refused(matrix: np.ndarray, mean: np.ndarray, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        TransformQuantizer(matrix, mean)
