"""ICE consent (RFC 7675), asked for as seldom as a path allows.

aioice asks every five seconds, which costs both directions a third of a kbps, as much as a quarter of the
keypoints. RFC 7675 bounds from below how far apart the checks are (4 s), and for how long a consent holds
(30 s). So a path that has answered three times in a row is asked every 14 s, or once where nothing that the
other side has sent in the meantime was lost; and every 5 s as soon as one check is lost: an outage is found
out after the same 30 s, and before that there are at least three more checks. A path that loses a lot is
never asked seldom.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import random
from typing import Any

from aioice import stun
from aiortc import RTCPeerConnection

from shared.runtime.logs import logger
from shared.transport import aiortc_patches

_log = logger("transport")
CHECK_SECONDS, SPARSE_SECONDS = 5.0, 14.0
"""Between checks, give or take a fifth, as RFC 7675 (5.1) has it."""
PROVEN = 3
"""Checks in a row that were answered, after which they are sparse."""
ENOUGH = 4
"""Pieces that have come, and none of them lost, since the check before: then one check will do."""
EXPIRY_SECONDS = 30.0
_NAMES = ("query_consent", "build_request", "close", "_nominated", "_query_consent_task", "remote_password")


def space_out_consent(peer: RTCPeerConnection, pieces: Callable[[], tuple[int, int]]) -> None:
    """Have `peer`, which has a data channel and is not connected yet, ask for consent as seldom as it may.

    `pieces` says how many pieces the other side has sent so far, and how many of them have come. Raise
    KeycastError where the installed aioice does not have the names this rests on.
    """
    connection: Any = aiortc_patches.ice_of(peer)
    aiortc_patches.require("aioice", connection, _NAMES)
    connection.query_consent = _Consent(connection, pieces).run


class _Consent:
    """Takes the place of a connection's own checks."""

    def __init__(self, connection: Any, pieces: Callable[[], tuple[int, int]]) -> None:  # noqa: ANN401
        self._connection, self._pieces = connection, pieces
        self._answered = 0
        self._before = (0, 0)

    async def run(self) -> None:
        """Ask until the connection closes, or nobody has answered for 30 s: then it is closed."""
        loop = asyncio.get_running_loop()
        given = loop.time()
        while loop.time() - given < EXPIRY_SECONDS:
            pace = SPARSE_SECONDS if self._answered >= PROVEN else CHECK_SECONDS
            wait, left = pace * (0.8 + 0.4 * random()), given + EXPIRY_SECONDS - loop.time()
            if wait >= left:
                # No check sooner than RFC 7675 allows, though the consent runs out before the next.
                await asyncio.sleep(left)
                break
            await asyncio.sleep(wait)
            if await self._ask():
                self._answered = PROVEN if self._lossless() else self._answered + 1
                given = loop.time()
            else:
                self._answered = 0
        _log.debug("the other side's consent has expired")
        self._connection._query_consent_task = None
        await self._connection.close()

    def _lossless(self) -> bool:
        """Say whether enough has come since the check before, and nothing was lost."""
        (sent_before, came_before), (sent, came) = self._before, self._pieces()
        self._before = sent, came
        return sent - sent_before == came - came_before >= ENOUGH

    async def _ask(self) -> bool:
        """Send a check over each pair in use, once, and say whether all were answered."""
        connection = self._connection
        key = connection.remote_password.encode()
        for pair in list(connection._nominated.values()):
            request = connection.build_request(pair, nominate=False)
            try:
                await pair.protocol.request(request, pair.remote_addr, integrity_key=key, retransmissions=0)
            except stun.TransactionError:
                return False
        return True
