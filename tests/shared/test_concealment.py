"""A frame that is not there is forecast, whatever the reason; nothing pops, runs away or grows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.forecast.baselines import Damped, Hold
from models.lite.layout import DIMENSIONS, LAYOUT, POSITIONS
from shared.concealment import Concealer, ConcealmentSettings, Kind
from shared.interfaces import Forecaster
from shared.keypoints import Floats, Group, KeypointLayout

EVENTS = ("ship", "lose", "late", "jump")
OBSERVED, FORECAST, HELD = Kind.OBSERVED, Kind.FORECAST, Kind.HELD
INTERPOLATED = Kind.INTERPOLATED


class Linear:
    """Goes on at the last velocity for ever, and remembers what it was shown."""

    name = "linear"

    def __init__(self) -> None:
        self.shown: list[Floats] = []

    def reset(self) -> None:
        self._frames = np.zeros((0, DIMENSIONS), np.float32)

    def observe(self, frames: Floats) -> None:
        self.shown.append(frames)
        self._frames = frames

    def forecast(self, steps: int) -> Floats:
        last = self._frames[-1]
        velocity = last - self._frames[-2] if len(self._frames) > 1 else np.zeros_like(last)
        trajectory: Floats = last + np.arange(1, steps + 1, dtype=np.float32)[:, None] * velocity
        return trajectory

    def sample(self, count: int, steps: int, seed: int) -> Floats:
        raise NotImplementedError


class Fixed(Linear):
    """Forecasts what it is told to."""

    def __init__(self, trajectory: Floats) -> None:
        super().__init__()
        self._trajectory = trajectory

    def forecast(self, steps: int) -> Floats:
        return self._trajectory[:steps]


def at(value: float) -> Floats:
    return np.full(DIMENSIONS, value, np.float32)


def ramp(numbers: range, slope: float = 0.01) -> dict[int, Floats]:
    return {n: at(n * slope) for n in numbers}


def run(concealer: Concealer, numbers: range) -> tuple[list[float], list[Kind]]:
    filled = [concealer.fill(n) for n in numbers]
    assert all(f is not None for f in filled)
    return [float(f.keypoints[0]) for f in filled if f], [f.kind for f in filled if f]


def test_there_is_nothing_before_the_first_frame_observed() -> None:
    concealer = Concealer(Hold(), LAYOUT)
    assert concealer.fill(0) is None
    concealer.observe({5: at(0.5)})
    assert concealer.fill(4) is None
    filled = concealer.fill(5)
    assert filled is not None
    assert filled.kind is OBSERVED


def test_a_skipped_block_is_forecast_and_the_truth_comes_back_smoothly() -> None:
    concealer = Concealer(Linear(), LAYOUT)
    concealer.observe(ramp(range(6)))
    concealer.observe(ramp(range(12, 18)))
    values, kinds = run(concealer, range(18))
    assert kinds == [OBSERVED] * 6 + [FORECAST] * 6 + [OBSERVED] * 6
    np.testing.assert_allclose(values, np.arange(18) * 0.01, atol=1e-6)


@pytest.mark.parametrize(
    ("chosen", "back"), [(None, [0.2, 0.4]), (ConcealmentSettings(blend=3), [0.1, 0.2, 0.3])]
)
def test_truth_elsewhere_than_forecast_is_blended_in(
    chosen: ConcealmentSettings | None, back: list[float]
) -> None:
    concealer = Concealer(Hold(), LAYOUT, chosen)
    concealer.observe({0: at(0.0), **{n: at(0.4) for n in range(4, 10)}})
    values, _ = run(concealer, range(10))
    np.testing.assert_allclose(values, [0, 0, 0, 0, *back, *[0.4] * (6 - len(back))], atol=1e-6)


def test_truth_that_follows_truth_is_shown_as_it_is() -> None:
    concealer = Concealer(Hold(), LAYOUT)
    concealer.observe({0: at(0.0), 1: at(0.9)})
    values, _ = run(concealer, range(2))
    assert values == pytest.approx([0.0, 0.9])


def test_a_forecast_under_a_blend_starts_from_what_is_shown() -> None:
    """One frame of truth between two gaps: the blend is still under way when the next forecast begins."""
    concealer = Concealer(Hold(), LAYOUT, ConcealmentSettings(blend=3))
    concealer.observe({0: at(0.0), 3: at(0.4)})
    values, kinds = run(concealer, range(8))
    assert kinds[3:5] == [OBSERVED, FORECAST]
    np.testing.assert_allclose(values, [0, 0, 0, 0.1, 0.2, 0.3, 0.4, 0.4], atol=1e-6)


def test_a_long_forecast_slows_down_and_then_holds() -> None:
    chosen = ConcealmentSettings(trust=4, damping=0.5, horizon=10)
    concealer = Concealer(Linear(), LAYOUT, chosen)
    concealer.observe(ramp(range(2)))
    values, kinds = run(concealer, range(16))
    assert kinds == [OBSERVED] * 2 + [FORECAST] * 10 + [HELD] * 4
    steps = np.diff(values)[1:]
    np.testing.assert_allclose(steps[:4], 0.01, atol=1e-6)
    np.testing.assert_allclose(steps[4:10], 0.01 * 0.5 ** np.arange(1, 7), atol=1e-6)
    assert steps[10:].max() == 0


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf, 1e30])
def test_a_forecast_that_leaves_reason_is_cut_there_and_held(broken: float) -> None:
    trajectory = np.repeat(at(0.1)[None], 45, axis=0)
    trajectory[3:, POSITIONS + 5] = broken
    concealer = Concealer(Fixed(trajectory), LAYOUT)
    concealer.observe({0: at(0.1)})
    values, kinds = run(concealer, range(10))
    assert kinds == [OBSERVED] + [FORECAST] * 3 + [HELD] * 6
    assert values == pytest.approx([0.1] * 10)


def test_a_forecast_of_nothing_but_nan_holds_the_last_frame() -> None:
    concealer = Concealer(Fixed(np.full((45, DIMENSIONS), np.nan, np.float32)), LAYOUT)
    concealer.observe({0: at(0.1)})
    assert run(concealer, range(3)) == (pytest.approx([0.1] * 3), [OBSERVED, HELD, HELD])


@pytest.mark.parametrize(("index", "limit"), [(0, 0.6), (POSITIONS, 3.0)])
def test_no_point_is_forecast_further_than_a_leap(index: int, limit: float) -> None:
    trajectory = np.zeros((45, DIMENSIONS), np.float32)
    trajectory[:, index] = np.arange(1, 46) * limit * 0.24
    concealer = Concealer(Fixed(trajectory), LAYOUT, ConcealmentSettings(trust=45))
    concealer.observe({0: at(0.0)})
    reached = [filled.keypoints[index] for n in range(12) if (filled := concealer.fill(n))]
    assert max(reached) == pytest.approx(0.96 * limit)


def test_late_frames_redirect_a_forecast_under_way_from_the_newest_truth() -> None:
    concealer = Concealer(Linear(), LAYOUT)
    concealer.observe({0: at(0.0)})
    run(concealer, range(4))
    # Frames 1 to 3 come after their moment: it has been moving all the time.
    concealer.observe(ramp(range(1, 4)))
    values, kinds = run(concealer, range(4, 9))
    assert kinds == [FORECAST] * 5
    # From 0, where the picture stood, half the way and then onto the line.
    np.testing.assert_allclose(values, [0.02, 0.05, 0.06, 0.07, 0.08], atol=1e-6)


def test_the_steps_of_a_redirected_forecast_count_from_the_newest_truth() -> None:
    concealer = Concealer(Hold(), LAYOUT, ConcealmentSettings(horizon=10))
    concealer.observe({0: at(0.0)})
    run(concealer, range(8))
    concealer.observe({2: at(0.0)})
    _, kinds = run(concealer, range(8, 16))
    assert kinds == [FORECAST] * 5 + [HELD] * 3


def test_late_frames_mend_the_context() -> None:
    forecaster = Linear()
    concealer = Concealer(forecaster, LAYOUT)
    concealer.observe({0: at(0.0), 6: at(0.06)})
    run(concealer, range(7))
    concealer.observe({3: at(0.03)})
    run(concealer, range(7, 8))
    np.testing.assert_allclose(forecaster.shown[-1][:, 0], [0.0, 0.0, 0.0, 0.03, 0.0, 0.0, 0.06], atol=1e-6)


def test_a_frame_observed_twice_changes_nothing() -> None:
    forecaster = Linear()
    concealer = Concealer(forecaster, LAYOUT)
    concealer.observe(ramp(range(3)))
    before, _ = run(concealer, range(5))
    concealer.observe({2: at(0.9)})
    after, _ = run(concealer, range(5, 7))
    assert len(forecaster.shown) == 1
    np.testing.assert_allclose(before + after, np.arange(7) * 0.01, atol=1e-6)


def test_a_slow_machine_skips_numbers_and_stays_on_course() -> None:
    concealer = Concealer(Linear(), LAYOUT)
    concealer.observe(ramp(range(6)))
    run(concealer, range(5))
    filled = concealer.fill(8)
    assert filled is not None
    assert filled.kind is FORECAST
    assert filled.keypoints[0] == pytest.approx(0.08)


@pytest.mark.parametrize("number", [10_000, 2**32 - 1])
def test_after_a_long_pause_the_last_forecast_is_held(number: int) -> None:
    concealer = Concealer(Hold(), LAYOUT)
    concealer.observe(ramp(range(6)))
    run(concealer, range(6))
    filled = concealer.fill(number)
    assert filled is not None
    assert (filled.kind, filled.keypoints[0]) == (HELD, pytest.approx(0.05))
    concealer.observe({number + 1: at(0.2)})
    filled = concealer.fill(number + 1)
    assert filled is not None
    assert filled.kind is OBSERVED


def forecasters() -> st.SearchStrategy[Forecaster]:
    return st.sampled_from([Hold, Damped, Linear]).map(lambda kind: kind())


@settings(max_examples=60)
@given(forecasters(), st.lists(st.sampled_from(EVENTS), min_size=1, max_size=150))
def test_whatever_happens_every_number_has_a_sound_frame(forecaster: Forecaster, events: list[str]) -> None:
    concealer, truth = (
        Concealer(forecaster, LAYOUT),
        np.random.default_rng(0).uniform(-1, 1, (2000, DIMENSIONS)),
    )
    concealer.observe({0: truth[0].astype(np.float32)})
    previous = concealer.fill(0)
    number, came, late = 0, True, dict[int, Floats]()
    for event in events:
        number += 7 if event == "jump" else 1
        frame = truth[number].astype(np.float32)
        if event == "ship":
            concealer.observe({number: frame, **late})
            late = {}
        else:
            late[number] = frame
        if event == "late":
            concealer.observe({n: f for n, f in late.items() if n < number})
        filled = concealer.fill(number)
        assert filled is not None
        assert previous is not None
        assert (filled.kind is OBSERVED) == (event == "ship")
        assert np.isfinite(filled.keypoints).all()
        step = float(np.abs(filled.keypoints[:POSITIONS] - previous.keypoints[:POSITIONS]).max())
        if event == "ship" and not came:
            # Truth in [-1, 1], a forecast at most a leap outside of it: no more than half of the gap
            # and what is left of an earlier blend.
            assert step < 2.6
        previous, came = filled, event == "ship"
        assert max(len(concealer._observed), len(concealer._forecast)) <= 24 + 2


@given(st.floats(-1, 1), st.floats(-1, 1), st.integers(1, 60))
def test_the_return_of_truth_shows_no_more_than_half_of_the_gap(a: float, b: float, gap: int) -> None:
    concealer = Concealer(Hold(), LAYOUT)
    concealer.observe({0: at(a), **{gap + n: at(b) for n in range(1, 6)}})
    values, _ = run(concealer, range(gap + 6))
    assert np.abs(np.diff(values)).max() <= abs(a - b) / 2 + 1e-6
    assert values[-1] == pytest.approx(np.float32(b))


def test_between_two_known_frames_lies_the_line() -> None:
    forecaster = Linear()
    concealer = Concealer(forecaster, LAYOUT)
    concealer.observe({0: at(0.0)})
    assert run(concealer, range(1))[1] == [OBSERVED]
    filled = [concealer.fill(n, (4, at(0.4))) for n in range(1, 4)]
    assert [f.kind for f in filled if f] == [INTERPOLATED] * 3
    np.testing.assert_allclose([f.keypoints[0] for f in filled if f], [0.1, 0.2, 0.3], atol=1e-6)
    assert forecaster.shown == []
    concealer.observe({4: at(0.4)})
    assert run(concealer, range(4, 5)) == (pytest.approx([0.4]), [OBSERVED])
    # What was interpolated is the past that the next forecast is made from.
    run(concealer, range(5, 6))
    np.testing.assert_allclose(forecaster.shown[-1][:, 0], np.arange(5) * 0.1, atol=1e-6)


def test_a_frame_that_becomes_known_during_a_forecast_is_blended_towards() -> None:
    concealer = Concealer(Hold(), LAYOUT)
    concealer.observe({0: at(0.0)})
    run(concealer, range(4))
    values = [f.keypoints[0] for n in range(4, 8) if (f := concealer.fill(n, (8, at(0.8))))]
    # From the 0 that was held onto the line 0.4, 0.5, 0.6, 0.7.
    np.testing.assert_allclose(values, [0.2, 0.5, 0.6, 0.7], atol=1e-6)


def test_a_frame_of_the_past_is_nothing_to_interpolate_to() -> None:
    concealer = Concealer(Hold(), LAYOUT)
    concealer.observe({0: at(0.0)})
    run(concealer, range(3))
    filled = concealer.fill(3, (2, at(0.2)))
    assert filled is not None
    assert filled.kind is FORECAST


def test_a_smaller_number_begins_again_from_what_is_shown() -> None:
    concealer = Concealer(Linear(), LAYOUT)
    concealer.observe({1000: at(0.5)})
    run(concealer, range(1000, 1010))
    values, kinds = run(concealer, range(100, 103))
    assert (values, kinds) == (pytest.approx([0.5] * 3), [FORECAST] * 3)
    concealer.observe({103: at(0.6), 104: at(0.6), 105: at(0.6), 106: at(0.6)})
    values, kinds = run(concealer, range(103, 107))
    assert kinds == [OBSERVED] * 4
    np.testing.assert_allclose(values, [0.55, 0.6, 0.6, 0.6], atol=1e-6)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, 10**5), st.integers(1, 8), st.booleans(), st.integers(0, 40)), max_size=30
    )
)
def test_wherever_the_numbers_jump_there_is_a_frame_and_memory_is_bounded(
    legs: list[tuple[int, int, bool, int]],
) -> None:
    concealer = Concealer(Damped(), LAYOUT)
    concealer.observe({0: at(0.0)})
    run(concealer, range(1))
    for start, count, known, ahead in legs:
        for number in range(start, start + count):
            if known:
                concealer.observe({number: at(number / 10**5)})
            filled = concealer.fill(number, (number + ahead, at(0.5)) if ahead else None)
            assert filled is not None
            assert np.isfinite(filled.keypoints).all()
        assert len(concealer._observed) + len(concealer._forecast) <= 2 * 26


def test_each_number_has_the_reach_that_its_layout_gives_it() -> None:
    layout = KeypointLayout((Group.points(1), Group.numbers(1, reach=0.1)))
    concealer = Concealer(
        Fixed(np.array([[0.5, 0.5, 0.05]] * 2 + [[0.5, 0.5, 0.2]] * 43, np.float32)), layout
    )
    concealer.observe({0: np.zeros(3, np.float32)})
    kinds = [filled.kind for n in range(5) if (filled := concealer.fill(n)) is not None]
    assert kinds == [Kind.OBSERVED, Kind.FORECAST, Kind.FORECAST, Kind.HELD, Kind.HELD]
