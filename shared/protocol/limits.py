"""Token-bucket limits for a peer's messages, and the network an address belongs to."""

from __future__ import annotations

import ipaddress


class RateLimit:
    """A token bucket: `rate` messages per second, `burst` at once."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._tokens, self._last = burst, float("-inf")
        self._over_since: float | None = None

    def allows(self, now: float) -> bool:
        """Take one token at `now` (seconds); False when there is none left."""
        if now > self._last:
            self._tokens = min(self._burst, self._tokens + (now - self._last) * self._rate)
            self._last = now
        if self._tokens >= self._burst / 2:
            self._over_since = None
        if self._tokens >= 1:
            self._tokens -= 1
            return True
        if self._over_since is None:
            self._over_since = now
        return False

    def seconds_over(self, now: float) -> float:
        """Say for how long messages have been coming faster than `rate`, without a rest."""
        return 0.0 if self._over_since is None else now - self._over_since


class WorkLimit:
    """Seconds of work that somebody may cause: `share` of each second, `burst` at once."""

    def __init__(self, share: float, burst: float) -> None:
        self._share, self._burst = share, burst
        self._left, self._last = burst, float("-inf")

    def allows(self, seconds: float, now: float) -> bool:
        """Take note of `seconds` of work done by `now` (seconds); False where it was too much."""
        if now > self._last:
            self._left = min(self._burst, self._left + (now - self._last) * self._share)
            self._last = now
        self._left -= seconds
        return self._left >= 0


def network_of(address: str) -> str:
    """Return whom `address` belongs to: itself, or in IPv6 its /64, all of which one machine may use.

    Anything but a numeric address is returned as it is.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        if not parsed.is_loopback:
            return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
