import random

from hypothesis import given
from hypothesis import strategies as st

from shared.protocol.arrivals import MODULUS, SequenceTracker


def arrivals(*numbers: int) -> tuple[int, int]:
    counter = SequenceTracker()
    for number in numbers:
        counter.came(number % MODULUS)
    return counter.expected, counter.received


def test_what_comes_in_order_is_all_there_is() -> None:
    assert arrivals(*range(1000, 1100)) == (100, 100)


def test_gaps_are_losses_and_late_ones_fill_them() -> None:
    assert arrivals(5, 6, 9) == (5, 3)
    assert arrivals(5, 6, 9, 7) == (5, 4)
    assert arrivals(5, 6, 9, 7, 8) == (5, 5)


def test_twice_the_same_counts_once() -> None:
    assert arrivals(5, 5, 7, 7, 5, 6, 6) == (3, 3)


def test_numbers_run_over() -> None:
    assert arrivals(MODULUS - 2, MODULUS - 1, 1, MODULUS, 0) == (4, 4)


def test_what_is_older_than_the_first_does_not_count() -> None:
    assert arrivals(5, 4, 3, 6) == (2, 2)


def test_a_number_from_nowhere_says_nothing() -> None:
    assert arrivals(5, 6, 5 + MODULUS // 2, 7, MODULUS - 100) == (3, 3)


@given(st.lists(st.integers(0, MODULUS - 1), max_size=300))
def test_whatever_numbers_come_no_more_arrive_than_were_sent(numbers: list[int]) -> None:
    expected, received = arrivals(*numbers)
    assert 0 <= received <= expected
    assert received <= len(set(numbers))


@given(st.integers(0, MODULUS - 1), st.integers(0, 2**32))
def test_a_shuffled_lossy_row_is_counted_exactly(first: int, seed: int) -> None:
    chance = random.Random(seed)
    kept = [n for n in range(1, 400) if chance.random() < 0.8]
    order = [0, *sorted(kept, key=lambda n: n + chance.randint(0, 30)), 400]
    assert arrivals(*(first + n for n in order)) == (401, len(kept) + 2)


def test_memory_is_bounded() -> None:
    counter = SequenceTracker()
    for number in range(100_000):
        counter.came(number)
    assert len(counter._seen) == len(counter._recent) == 1024
    assert (counter.expected, counter.received) == (100_000, 100_000)
