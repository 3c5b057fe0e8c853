"""A peer's session description, checked and thinned before aiortc reads it."""

from __future__ import annotations

import ipaddress

from shared.errors import PeerError

MAX_SDP_BYTES = 64 * 1024
MAX_LINES = 256
"""Ours has twenty and its candidates. aiortc compares some kinds of lines with all that came before."""
MAX_LINE = 512
"""Characters. The name and password of ICE have at most 256 each (RFC 8839, 5.4), and are sent out in UDP."""
MAX_CANDIDATES = 32


def checked(sdp: str) -> str:
    """Return `sdp` with only its numeric candidates, at most 32 of them.

    Host names go: Chromium's `.local` ones cost a second each, and others would have this machine ask its
    name server on a stranger's behalf. Raise PeerError where there is too much of it, and unless
    the one medium is a data channel: with any other, aiortc would decode media.
    """
    lines = [line.strip() for line in sdp.splitlines() if line.strip()]
    if len(lines) > MAX_LINES or max(map(len, lines), default=0) > MAX_LINE:
        raise PeerError(
            f"The session description has over {MAX_LINES} lines, or one of over {MAX_LINE} characters."
        )
    media = [line for line in lines if line.startswith("m=")]
    if not lines or lines[0] != "v=0" or len(media) != 1:
        raise PeerError("The session description does not hold exactly one medium.")
    if not media[0].startswith("m=application ") or not media[0].endswith(" webrtc-datachannel"):
        raise PeerError("The session description does not ask for a data channel.")
    numeric = [at for at, line in enumerate(lines) if _is_candidate(line) and _is_numeric(line)]
    kept = set(numeric[:MAX_CANDIDATES])
    return "".join(f"{line}\r\n" for at, line in enumerate(lines) if at in kept or not _is_candidate(line))


def candidates(sdp: str) -> list[str]:
    """Return the candidates of `sdp` for people, such as "udp 192.0.2.1 port 1234 host": nothing secret."""
    # RFC 8839, 5.1: foundation, component, transport, priority, address, port, "typ", type.
    found = [line.split() for line in sdp.splitlines() if _is_candidate(line)]
    return [f"{parts[2]} {parts[4]} port {parts[5]} {parts[7]}" for parts in found if len(parts) > 7]


def _is_candidate(line: str) -> bool:
    return line.startswith("a=candidate:")


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
        if _is_candidate(line) and _is_numeric(line):
            parts = line.split()
            if ipaddress.ip_address(parts[4]).version == 4 and parts[2].lower() == "udp":
                return parts[4], int(parts[5])
    raise PeerError("The session description names no IPv4 address.")


def with_candidate(sdp: str, host: str, port: int) -> str:
    """Return `sdp` with one candidate, the IPv4 address `host` and `port`, in place of all its own."""
    mine = f"a=candidate:1 1 udp 2130706431 {host} {port} typ host"
    lines: list[str] = []
    for line in sdp.splitlines():
        if not _is_candidate(line):
            lines.append(line)
        elif mine not in lines:
            lines.append(mine)
    return "".join(f"{line}\r\n" for line in lines)
