import numpy as np
import pytest

from models.forecast.baselines import Damped, Hold
from shared.interfaces import Forecaster
from shared.keypoints import Floats


def ramp(count: int, slope: float) -> Floats:
    return (np.arange(count, dtype=np.float32)[:, None] * slope + np.zeros(60, np.float32)).astype(np.float32)


def test_hold_repeats_the_last_frame() -> None:
    hold = Hold()
    frames = ramp(4, 0.1)
    hold.observe(frames)
    np.testing.assert_array_equal(hold.forecast(3), np.repeat(frames[-1:], 3, axis=0))
    frames[:] = 9.0
    assert hold.forecast(1)[0, 0] == pytest.approx(0.3)


def test_damped_goes_on_at_a_fading_velocity() -> None:
    damped = Damped(decay=0.5, window=2)
    damped.observe(ramp(5, 0.25))
    # Velocity 0.25 a frame; 0.5, 0.75, 0.875 of it have been covered after 1, 2, 3 frames.
    np.testing.assert_allclose(damped.forecast(3)[:, 7], [1.125, 1.1875, 1.21875], rtol=1e-6)


def test_damped_takes_the_velocity_of_its_window_only() -> None:
    damped = Damped(decay=0.5, window=1)
    damped.observe(np.concatenate([ramp(3, 5.0), 10.0 + ramp(2, 1.0)]))
    assert damped.forecast(1)[0, 0] == pytest.approx(11.5)


def test_damped_holds_after_one_frame_and_after_a_reset() -> None:
    damped = Damped()
    damped.observe(ramp(6, 1.0))
    damped.reset()
    damped.observe(ramp(2, 3.0)[1:])
    np.testing.assert_array_equal(damped.forecast(4), np.full((4, 60), 3.0, np.float32))


def test_damped_frame_by_frame_equals_all_at_once() -> None:
    frames = np.random.default_rng(0).normal(size=(9, 60)).astype(np.float32)
    whole, single = Damped(), Damped()
    whole.observe(frames)
    for frame in frames:
        single.observe(frame[None])
    np.testing.assert_array_equal(whole.forecast(5), single.forecast(5))


@pytest.mark.parametrize("forecaster", [Hold(), Damped()])
def test_samples_of_a_deterministic_forecaster_are_its_forecast(forecaster: Forecaster) -> None:
    forecaster.observe(ramp(4, 0.1))
    samples = forecaster.sample(3, 5, seed=1)
    assert samples.shape == (3, 5, 60)
    for sample in samples:
        np.testing.assert_array_equal(sample, forecaster.forecast(5))
    forecaster.reset()
    with pytest.raises(RuntimeError, match="before anything"):
        forecaster.forecast(1)


@pytest.mark.parametrize(
    "frames", [np.zeros((0, 60)), np.zeros((2, 0)), np.zeros(60), np.full((1, 60), np.nan)]
)
def test_misuse_is_refused(frames: Floats) -> None:
    for forecaster in (Hold(), Damped()):
        with pytest.raises(ValueError, match="frames must be"):
            forecaster.observe(frames)
    with pytest.raises(ValueError, match="decay"):
        Damped(decay=1.0)
