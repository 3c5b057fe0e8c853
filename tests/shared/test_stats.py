import pytest

from shared.runtime.stats import Reservoir, StageTimes, kbps, percentiles, savings


def test_percentiles_of_a_hundred_and_one_values() -> None:
    assert percentiles([float(n) for n in range(101)]) == (50.0, 95.0, 99.0)
    assert percentiles([]) == (0.0, 0.0, 0.0)


def test_every_other_block_of_the_paper_profile_saves_17_times() -> None:
    rate = kbps(15 * 240, 1.0)
    assert rate == 28.8
    assert savings(rate) == pytest.approx(17.36, abs=0.005)
    assert savings(0.0) == float("inf")
    assert kbps(100, 0.0) == 0.0


def test_a_reservoir_is_exact_until_full_and_bounded_after() -> None:
    sample = Reservoir(capacity=101)
    for n in range(101):
        sample.add(float(n))
    assert sample.percentiles() == (50.0, 95.0, 99.0)
    for _ in range(20_000):
        sample.add(1000.0)
    assert sample.count == 20_101
    assert sample.percentiles().p50 == 1000.0
    assert len(sample._values) == 101


def test_stage_times_are_a_mean_over_frames() -> None:
    stages = StageTimes()
    stages.add("render", 0.030, times=3)
    stages.add("render", 0.010)
    stages.add("detect", 0.002)
    assert stages.mean_ms() == pytest.approx({"render": 10.0, "detect": 2.0})
