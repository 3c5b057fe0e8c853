from shared.limits import FailureLimit, RateLimit


def test_a_burst_passes_and_then_the_rate_holds() -> None:
    limit = RateLimit(rate=10, burst=5)
    assert [limit.allows(0.0) for _ in range(6)] == [True] * 5 + [False]
    assert limit.allows(0.1)
    assert not limit.allows(0.1)


def test_a_clock_that_stands_still_or_goes_back_gives_nothing() -> None:
    limit = RateLimit(rate=10, burst=1)
    assert limit.allows(5.0)
    assert not limit.allows(4.0)
    assert not limit.allows(5.0)


def test_being_over_lasts_until_half_the_burst_is_back() -> None:
    limit = RateLimit(rate=10, burst=10)
    for step in range(200):
        limit.allows(step * 0.01)
    assert limit.seconds_over(2.0) > 1.5
    limit.allows(3.0)
    assert limit.seconds_over(3.0) == 0.0


def test_five_failures_block_an_address_for_a_minute() -> None:
    limit = FailureLimit()
    for second in range(5):
        assert not limit.blocked("a", float(second))
        limit.failed("a", float(second))
    assert limit.blocked("a", 5.0)
    assert not limit.blocked("b", 5.0)
    assert limit.blocked("a", 59.9)
    assert not limit.blocked("a", 60.0)


def test_the_addresses_remembered_are_bounded() -> None:
    limit = FailureLimit(allowed=1, addresses=3)
    for address in "abcd":
        limit.failed(address, 0.0)
    assert [limit.blocked(address, 1.0) for address in "abcd"] == [False, True, True, True]
