"""Report interval of the receiver: short while anything is wrong with the path, long while nothing is."""

from __future__ import annotations

import math

from shared.protocol.reports import Report

OFTEN_SECONDS, SELDOM_SECONDS = 0.5, 4.0
MEDIA_SECONDS = 1.0
"""In place of `SELDOM_SECONDS` where keypoints travel as media: nothing else says that they have come."""
QUIET_DELAY_MS = 30
"""A delay that no sender would do anything about."""
TROUBLE_SECONDS = 5.0
"""For so long after a loss the sender has its figures often: it looks at the last five seconds."""


class ReportPolicy:
    """Says which of the reports that could be made every `OFTEN_SECONDS` are worth their bytes.

    What a sender steers by is loss and delay: the first report, those while messages are lost or wait on
    their way, and the one that says this is over are sent, and of others one in `seldom` seconds.
    """

    def __init__(self, seldom: float = SELDOM_SECONDS) -> None:
        self.seldom = seldom
        self._last = Report()
        self._sent = self._lost_at = -math.inf
        self._missing = self._packets = 0

    def is_due(self, report: Report, missing: int, now: float) -> bool:
        """Say whether to send `report` at `now` (s); `missing` of the sender's messages have not come."""
        if missing > self._missing:
            self._lost_at = now
        anew = report.packets < self._packets
        self._missing, self._packets = missing, report.packets
        often = (
            now - self._lost_at <= TROUBLE_SECONDS
            or max(report.delay_ms, self._last.delay_ms) > QUIET_DELAY_MS
            or anew  # another connection
        )
        if not often and now - self._sent < self.seldom:
            return False
        self._last, self._sent = report, now
        return True
