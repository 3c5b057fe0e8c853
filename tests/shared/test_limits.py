import pytest

from shared.protocol.limits import RateLimit, WorkLimit, network_of


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


def test_work_may_come_at_once_or_all_the_time_but_not_both() -> None:
    limit = WorkLimit(share=0.25, burst=1.0)
    assert limit.allows(1.0, 10.0)
    assert not limit.allows(0.01, 10.0)
    assert limit.allows(0.2, 11.0)
    assert limit.allows(0.25, 12.0)
    assert not limit.allows(0.5, 12.5)
    assert limit.allows(1.0, 1000.0)
    assert not limit.allows(0.1, 999.0)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::1"),
        ("", ""),
        ("a name", "a name"),
    ],
)
def test_a_machine_cannot_change_its_network_as_it_changes_its_address(address: str, network: str) -> None:
    assert network_of(address) == network
