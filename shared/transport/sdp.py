"""A peer's session description, checked and thinned before aiortc reads it."""

from __future__ import annotations

import ipaddress

from shared.errors import PeerError

MAX_SDP_BYTES = 64 * 1024
_MAX_CANDIDATES = 32


def checked(sdp: str) -> str:
    """Return `sdp` with only its numeric candidates, at most 32 of them.

    Host names go: Chromium's `.local` ones cost a second each, and others would have this machine ask its
    name server on a stranger's behalf. Raise PeerError unless the one medium is a data channel: with any
    other, aiortc would decode media.
    """
    lines = [line.strip() for line in sdp.splitlines() if line.strip()]
    media = [line for line in lines if line.startswith("m=")]
    if not lines or lines[0] != "v=0" or len(media) != 1:
        raise PeerError("The session description does not hold exactly one medium.")
    if not media[0].startswith("m=application ") or not media[0].endswith(" webrtc-datachannel"):
        raise PeerError("The session description does not ask for a data channel.")
    candidates = [line for line in lines if line.startswith("a=candidate:") and _is_numeric(line)]
    kept = set(candidates[:_MAX_CANDIDATES])
    return "".join(f"{line}\r\n" for line in lines if not line.startswith("a=candidate:") or line in kept)


def _is_numeric(candidate: str) -> bool:
    parts = candidate.split()
    try:
        ipaddress.ip_address(parts[4])
    except (IndexError, ValueError):
        return False
    return True


def first_ipv4(sdp: str) -> tuple[str, int]:
    """Return the first IPv4 address and UDP port among `sdp`'s candidates. Raise PeerError for none."""
    for line in sdp.splitlines():
        if line.startswith("a=candidate:") and _is_numeric(line):
            parts = line.split()
            if ipaddress.ip_address(parts[4]).version == 4 and parts[2].lower() == "udp":
                return parts[4], int(parts[5])
    raise PeerError("The session description names no IPv4 address.")


def with_candidate(sdp: str, host: str, port: int) -> str:
    """Return `sdp` with one candidate, the IPv4 address `host` and `port`, in place of all its own."""
    mine = f"a=candidate:1 1 udp 2130706431 {host} {port} typ host"
    lines: list[str] = []
    for line in sdp.splitlines():
        if not line.startswith("a=candidate:"):
            lines.append(line)
        elif mine not in lines:
            lines.append(mine)
    return "".join(f"{line}\r\n" for line in lines)
