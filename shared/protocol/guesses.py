"""Limits on how many wrong tokens a receiver looks at, by whom they come from.

A machine has an IPv4 address, or an IPv6 /64 with all its addresses; a site has a /56 or a /48 (RFC 6177), a
provider a /32. So wrong ones are counted for all of these, and in the end for the internet as a whole, which
has 100 in 10 seconds however many addresses somebody has. Who has shown the token before has nothing to do
with what others do, nor has the local network with the internet.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from shared.protocol.limits import network_of

SECONDS = 60.0
OF_ONE = 5
OF_ALL, OF_PROVIDER = 100, 40
MANY_SECONDS = 10.0
"""For groups of strangers to each other: soon over, so that nobody waits for long for what others do."""
_WIDER = {
    4: ((24, 30, SECONDS), (16, OF_PROVIDER, MANY_SECONDS)),
    6: ((56, 15, SECONDS), (48, 30, SECONDS), (32, OF_PROVIDER, MANY_SECONDS)),
}
MAX_KNOWN_ADDRESSES = 256
_LOCAL = tuple(
    map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"),
    )
)


@dataclass(frozen=True)
class Group:
    """Those who share `allowed` wrong tokens in `seconds`."""

    name: str
    allowed: int = OF_ONE
    seconds: float = SECONDS

    def __str__(self) -> str:
        wait = "a minute" if self.seconds == SECONDS else f"{self.seconds:.0f} seconds"
        return f"{self.name} gave too many wrong tokens; it has to wait {wait}"


class Guesses:
    """Counts wrong tokens; a group that has given its share waits until its time is over."""

    def __init__(self) -> None:
        # By name, in the order of their beginnings: when each began, and how many there have been.
        self._counts: dict[str, tuple[float, int]] = {}
        self._known: dict[str, None] = {}

    def blocked(self, address: str, now: float) -> bool:
        """Say whether `address` has to wait at `now` (seconds): no token of its is to be looked at."""
        return any(self._count(group, now) >= group.allowed for group in self._groups(address))

    def failed(self, address: str, now: float) -> list[Group]:
        """Note a wrong token; return the groups that have to wait from now on."""
        self._forget(now)
        groups = self._groups(address)
        for group in groups:
            count = self._count(group, now)
            began = self._counts[group.name][0] if count else now
            if not count:
                self._counts.pop(group.name, None)
            self._counts[group.name] = began, count + 1
        return [group for group in groups if self._counts[group.name][1] == group.allowed]

    def right(self, address: str) -> None:
        """Note that `address` has shown the token; of too many, the one that did longest ago is forgotten."""
        own = network_of(address)
        self._known.pop(own, None)
        self._known[own] = None
        if len(self._known) > MAX_KNOWN_ADDRESSES:
            del self._known[next(iter(self._known))]

    def _groups(self, address: str) -> tuple[Group, ...]:
        groups = _groups_of(address)
        return groups[:1] if groups[0].name in self._known else groups

    def _count(self, group: Group, now: float) -> int:
        began, count = self._counts.get(group.name, (now, 0))
        return count if now - began < group.seconds else 0

    def _forget(self, now: float) -> None:
        """Drop what is over. What is left is bounded by how many wrong tokens all together may give."""
        while self._counts:
            oldest = next(iter(self._counts))
            if now - self._counts[oldest][0] < SECONDS:
                return
            del self._counts[oldest]


def _groups_of(address: str) -> tuple[Group, ...]:
    """Return the groups that `address` is in, the narrowest first."""
    own = network_of(address)
    try:
        network = ipaddress.ip_network(own)
    except ValueError:
        return (Group(own),)
    if network.is_loopback:
        return Group(own), Group("this machine", OF_ALL, MANY_SECONDS)
    if any(network.version == one.version and network.subnet_of(one) for one in _LOCAL):  # type: ignore[arg-type]
        return Group(own), Group("the local network", OF_ALL, MANY_SECONDS)
    wider = (
        Group(str(network.supernet(new_prefix=length)), most, seconds)
        for length, most, seconds in _WIDER[network.version]
    )
    return Group(own), *wider, Group("the internet", OF_ALL, MANY_SECONDS)
