import pytest

from shared.clock import SystemClock, elapsed_ms


@pytest.mark.parametrize(
    ("later", "earlier", "difference"),
    [(5, 3, 2), (3, 5, -2), (1, 2**32 - 1, 2), (2**32 - 1, 1, -2), (2**31 - 1, 0, 2**31 - 1), (7, 7, 0)],
)
def test_elapsed_survives_the_wrap(later: int, earlier: int, difference: int) -> None:
    assert elapsed_ms(later, earlier) == difference


async def test_sleep_until_reaches_the_deadline_and_returns_when_it_has_passed() -> None:
    clock = SystemClock()
    deadline = clock.now() + 0.002
    await clock.sleep_until(deadline)
    assert clock.now() >= deadline
    await clock.sleep_until(deadline - 100)
    assert 0 <= clock.wall_ms() < 2**32
