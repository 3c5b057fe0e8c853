import ipaddress
import random

import pytest

from shared.protocol.guesses import MANY_SECONDS, MAX_KNOWN_ADDRESSES, OF_ALL, OF_PROVIDER, Guesses


def guessed(guesses: Guesses, addresses: list[str], now: float = 0.0) -> int:
    """Guess five times from each; return how many guesses were looked at."""
    looked_at = 0
    for address in addresses:
        for _ in range(5):
            if not guesses.blocked(address, now):
                guesses.failed(address, now)
                looked_at += 1
    return looked_at


def inside(network: str, count: int, prefix: int) -> list[str]:
    """An address in each of so many of the network's parts of that prefix."""
    first = int(ipaddress.ip_network(network).network_address)
    width = ipaddress.ip_network(network).max_prefixlen
    return [str(ipaddress.ip_address(first + (n << (width - prefix)) + 1)) for n in range(count)]


def test_five_wrong_tokens_block_an_address_for_a_minute() -> None:
    guesses = Guesses()
    for second in range(5):
        assert not guesses.blocked("203.0.113.7", float(second))
        full = guesses.failed("203.0.113.7", float(second))
    assert list(map(str, full)) == ["203.0.113.7 gave too many wrong tokens; it has to wait a minute"]
    assert guesses.blocked("203.0.113.7", 5.0)
    assert not guesses.blocked("203.0.113.8", 5.0)
    assert guesses.blocked("203.0.113.7", 59.9)
    assert not guesses.blocked("203.0.113.7", 60.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "prefix", "allowed"),
    [
        ("2001:db8:1:2::/64", 128, 5),
        ("2001:db8:1:200::/56", 64, 15),
        ("2001:db8:1::/48", 56, 30),
        ("203.0.113.0/24", 32, 30),
    ],
)
def test_who_has_many_addresses_has_few_guesses(network: str, prefix: int, allowed: int) -> None:
    guesses = Guesses()
    addresses = inside(network, min(200, 2 ** (prefix - ipaddress.ip_network(network).prefixlen)), prefix)
    assert guessed(guesses, addresses) == allowed
    assert guessed(guesses, addresses, 59.9) == 0
    assert guessed(guesses, addresses, 60.0) == allowed


@pytest.mark.slow
@pytest.mark.parametrize(("network", "prefix"), [("2001:db8::/32", 48), ("203.0.0.0/16", 24)])
def test_a_providers_sites_keep_out_nobody_else(network: str, prefix: int) -> None:
    guesses = Guesses()
    for second in range(0, 60, 10):
        assert guessed(guesses, inside(network, 200, prefix), float(second)) == OF_PROVIDER
        assert not guesses.blocked("198.51.100.1", float(second))
        assert guessed(guesses, inside(network, 200, prefix), second + 9.9) == 0


@pytest.mark.slow
def test_the_whole_internet_gets_ten_a_second_and_nobody_waits_long_for_it() -> None:
    guesses, dice = Guesses(), random.Random(4)
    looked_at = 0
    for second in range(60):
        addresses = [str(ipaddress.IPv6Address(dice.getrandbits(126) | 1 << 125)) for _ in range(50)]
        addresses += [str(ipaddress.IPv4Address(dice.randrange(11 << 24, 100 << 24))) for _ in range(50)]
        looked_at += guessed(guesses, addresses, float(second))
        # Nothing that still counts is forgotten to keep this small.
        assert len(guesses._counts) <= 5 * (OF_ALL * 60 / MANY_SECONDS + OF_ALL)
    assert looked_at == OF_ALL * 60 / MANY_SECONDS
    newcomer = "198.51.100.1"
    assert guesses.blocked(newcomer, 59.0)
    assert not guesses.blocked(newcomer, 59.0 + MANY_SECONDS)


@pytest.mark.slow
def test_an_attack_from_elsewhere_keeps_out_neither_who_is_known_nor_the_local_network() -> None:
    guesses = Guesses()
    guesses.right("2001:db8:1:2::3")
    addresses = [f"203.{n}.113.{m}" for n in range(30) for m in range(30)]
    # The known one's own five are no part of it.
    assert guessed(guesses, [*inside("2001:db8:1::/48", 50, 64), *addresses]) == OF_ALL + 5
    guesses = Guesses()
    guesses.right("2001:db8:1:2::3")
    assert guessed(guesses, [*inside("2001:db8:1:100::/56", 50, 64), *addresses]) == OF_ALL
    assert guesses.blocked("198.51.100.1", 1.0)
    assert guesses.blocked("2001:db8:1:101::9", 1.0)
    for address in ("2001:db8:1:2::4", "192.168.1.2", "fd00::1", "fe80::1%eth0", "127.0.0.1", "::1"):
        assert not guesses.blocked(address, 1.0)
    # Known is no licence to guess.
    assert guessed(guesses, ["2001:db8:1:2::4"], 1.0) == 5
    assert guesses.blocked("2001:db8:1:2::3", 1.0)


def test_so_many_are_known() -> None:
    guesses = Guesses()
    for n in range(MAX_KNOWN_ADDRESSES + 1):
        guesses.right(f"203.0.{n // 256}.{n % 256}")
    assert len(guesses._known) == MAX_KNOWN_ADDRESSES
    assert guessed(guesses, [f"198.{n}.113.{m}" for n in range(9) for m in range(9)]) == OF_ALL
    assert guesses.blocked("203.0.0.0", 0.0)
    assert not guesses.blocked("203.0.0.1", 0.0)


def test_an_address_of_another_kind_is_its_own_group() -> None:
    assert guessed(Guesses(), ["", "a name"]) == 10
