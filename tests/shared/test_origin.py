import socket

import pytest

from receiver.http.origin import Hosts

ME = socket.gethostname()
FIRST = ME.partition(".")[0]
ANYWHERE = Hosts("0.0.0.0", ("calls.example.org", "*.example.net"))
HERE = [Hosts("127.0.0.1"), Hosts("::1"), Hosts("localhost")]


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST.", "127.0.0.1", "127.0.0.2", "::1"])
def test_loopback_is_always_itself(name: str) -> None:
    assert all(hosts.include(name) for hosts in (ANYWHERE, *HERE))


@pytest.mark.parametrize("name", ["10.0.0.5", "203.0.113.7", "2001:db8::1", "fe80::1%25eth0"])
def test_any_address_may_lead_to_a_receiver_of_the_network(name: str) -> None:
    assert ANYWHERE.include(name)
    assert not any(hosts.include(name) for hosts in HERE)


@pytest.mark.parametrize(
    "name",
    [ME, ME.upper(), FIRST, f"{FIRST}.local", "calls.example.org", "Calls.Example.org.", "a.example.net"],
)
def test_so_may_the_machines_own_names_and_its_certificates(name: str) -> None:
    assert ANYWHERE.include(name)


@pytest.mark.parametrize(
    "name",
    [
        "evil.example", f"{FIRST}.evil.example", "localhost.evil.example", "127.0.0.1.evil.example",
        "example.net", "a.b.example.net", "*.example.com", "2130706433", "0x7f000001", "127.1", "", ".",
    ],
)  # fmt: skip
def test_a_name_that_somebody_else_may_point_here_is_none_of_them(name: str) -> None:
    assert not any(hosts.include(name) for hosts in (ANYWHERE, *HERE))


def test_the_name_it_was_told_to_listen_at_is_one() -> None:
    assert Hosts("laptop.lan").include("laptop.lan")
    assert not Hosts("laptop.lan").include("other.lan")
