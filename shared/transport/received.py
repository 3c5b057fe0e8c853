"""Set of received chunks, kept in a time that does not grow with the gaps between them.

aiortc sorts and filters all that came ahead of a missing chunk for each chunk, cannot do it where the numbers
begin again at 0, and writes acknowledgements (SACK) that are larger than a packet.
"""

from __future__ import annotations

from typing import Any

from aiortc.rtcsctptransport import SackChunk

from shared.transport.chunks import MODULUS

MAX_TOLD = 64
"""Gap blocks and duplicates in a SACK. The first gaps are reported: those are waited for the longest."""
_HALF = 2**31


class Received:
    """Takes the place of a transport's own ways to note a chunk and to send a SACK."""

    def __init__(self, sctp: Any) -> None:  # noqa: ANN401
        self._sctp = sctp
        sctp._mark_received, sctp._send_sack = self._mark_received, self._send_sack

    def _mark_received(self, tsn: int) -> bool:
        """Take note of a chunk's number; True where it has come before."""
        sctp = self._sctp
        ahead, last = sctp._sack_misordered, sctp._last_received_tsn
        if (last - tsn) % MODULUS < _HALF or tsn in ahead:
            if len(sctp._sack_duplicates) < MAX_TOLD:
                sctp._sack_duplicates.append(tsn)
            return True
        ahead.add(tsn)
        while (following := (last + 1) % MODULUS) in ahead:
            ahead.discard(following)
            last = following
        sctp._last_received_tsn = last
        return False

    async def _send_sack(self) -> None:
        sctp, sack = self._sctp, SackChunk()
        sack.cumulative_tsn = sctp._last_received_tsn
        sack.advertised_rwnd = max(0, sctp._advertised_rwnd)
        sack.gaps = _blocks({(tsn - sack.cumulative_tsn) % MODULUS for tsn in sctp._sack_misordered})
        sack.duplicates = sctp._sack_duplicates[: MAX_TOLD - len(sack.gaps)]
        await sctp._send_chunk(sack)
        sctp._sack_duplicates.clear()
        sctp._sack_needed = False


def _blocks(places: set[int]) -> list[tuple[int, int]]:
    """Return the first runs of consecutive numbers in `places` as (first, last), in order."""
    blocks: list[tuple[int, int]] = []
    for place in sorted(places):
        if blocks and blocks[-1][1] == place - 1:
            blocks[-1] = (blocks[-1][0], place)
        elif len(blocks) == MAX_TOLD or place > 0xFFFF:
            break
        else:
            blocks.append((place, place))
    return blocks
