"""Rate control for the sender: it gives way to a link that fills up, and comes back slowly."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from shared.constants import MESSAGE_OVERHEAD
from shared.protocol.reports import Report
from shared.runtime.logs import logger

_log = logger("rate")
MIN_GAP_SECONDS = 1.0
"""One message per second may leave in any case: without any, nobody learns that the link has recovered."""
DELAY_MS = 150
STANDING_MS = 400
RISING_MS = 10
LOSS = 0.10
QUEUE_MS = 50
LOSS_WITHOUT_QUEUE = 0.60
"""A full link delays before it loses. One that only loses is no fuller for so few bytes as these."""
LOSS_SECONDS = 5.0
MIN_LOST, MIN_EXPECTED = 5, 20
SILENCE_SECONDS, SILENCE_MESSAGES = 3.0, 5
HOLD_SECONDS = 2.0
RECOVER_PER_SECOND = 60.0
"""Bytes per second, each second without trouble: 0.5 kbps."""
MIN_RATE = 100.0
"""Bytes per second: about one small message."""
OWN_LOSS_SECONDS = 60.0
_RATE_SECONDS = 2.0
_BURST_SECONDS = 1.0
_LEDGER = 2048


class _Bucket:
    """Bytes that may leave: up to a second's worth, refilled at a rate; a message may overdraw it."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._tokens = 0.0
        self._last: float | None = None

    def ready(self, now: float) -> bool:
        if not math.isfinite(self.rate):
            return True
        if self._last is not None:
            self._tokens += (now - self._last) * self.rate
        self._tokens = min(self._tokens, self.rate * _BURST_SECONDS)
        self._last = now
        return self._tokens >= 0

    def take(self, size: int) -> None:
        if math.isfinite(self.rate):
            # No debt is older than the second in which a message may leave anyhow.
            self._tokens = max(self._tokens - size, -self.rate * MIN_GAP_SECONDS)


@dataclass(frozen=True)
class _Heard:
    """Figures of one report on the messages since the one before it."""

    at: float
    expected: int
    received: int


class RateController:
    """Decides whether a message may leave now, from what the receiver reports. `now` never decreases.

    Ask `may_send`, and say `sent` of what has left; give every report to `reported`. What may not leave is
    dropped: by the time it could, newer frames say it better.

    The rate halves when the delay passes 150 ms and still rises, or 400 ms in any case; when over 10 % of the
    messages of the last 5 s are lost while there is a delay, or over 60 % without one; and when no message is
    heard to have come for 3 s. Half means half of what was really sent, bytes on the wire, and is given 2 s
    to show. From there it grows by 0.5 kbps per second; after a silence it is what it was before, or half of
    that where messages come with a delay. Where half the rate loses as much as the whole did, the link loses
    by itself: the rate is restored, and only more than that counts as loss.
    """

    def __init__(self, max_kbps: float | None = None) -> None:
        self._ceiling = _Bucket(math.inf if max_kbps is None else max_kbps * 1000 / 8)
        self._limit = _Bucket(math.inf)
        self._sent: deque[tuple[float, int]] = deque()
        self._ledger: deque[int] = deque(maxlen=_LEDGER)
        self._heard: deque[_Heard] = deque()
        self._report = Report()
        self._last_sent = -math.inf
        self._unheard, self._unheard_since = 0, math.inf
        self._rate_before_silence: float | None = None
        self._skip_loss = False
        self._grown_at = -math.inf
        self._wait_until = -math.inf
        self._loss_at_cut: float | None = None
        self._rate_at_cut = math.inf
        self._own_loss, self._own_loss_until = 0.0, -math.inf
        self.halved = 0

    def anew(self) -> RateController:
        """Return one for a new connection: it has seen nothing, and has the same ceiling."""
        fresh = RateController()
        fresh._ceiling.rate, fresh.halved = self._ceiling.rate, self.halved
        return fresh

    @property
    def limit_kbps(self) -> float:
        """The present limit, IP bytes; infinite while nothing has been wrong."""
        return min(self._limit.rate, self._ceiling.rate) * 8 / 1000

    @property
    def loss(self) -> float:
        """The share of messages that is lost, of those that were reported on in the last 5 to 15 s."""
        return self._loss()[1]

    def may_send(self, now: float) -> bool:
        """Say whether a message, of any size, may leave at `now` (s); its bytes are paid for afterwards."""
        self._check_silence(now)
        ready = (self._ceiling.ready(now), self._limit.ready(now))
        return all(ready) or now - self._last_sent >= MIN_GAP_SECONDS

    def sent(self, last_frame: int, packet_bytes: int, now: float, *, around: int = MESSAGE_OVERHEAD) -> None:
        """Note that a message of `packet_bytes`, its newest frame `last_frame`, has left.

        It has cost `around` bytes more: none where something else pays for what is around it.
        """
        size = packet_bytes + around
        self._ceiling.take(size)
        self._limit.take(size)
        self._last_sent = now
        self._sent.append((now, size))
        self._forget(now)
        self._ledger.append(last_frame)
        self._unheard += 1
        self._unheard_since = min(self._unheard_since, now)

    def reported(self, report: Report, now: float) -> None:
        """Take in a report that came at `now`."""
        before, self._report = self._report, report
        if report.packets > before.packets:
            self.acknowledged()
        self._heard.append(self._account(before, report, now))
        self._trim(now)
        self._learn_own_loss(now)
        if now < self._wait_until:
            return
        if self._filling(before, report):
            self._loss_at_cut = None
            self._halve(now, f"messages are queued for {report.delay_ms} ms on the path")
        elif self._losing():
            self._loss_at_cut, self._rate_at_cut = self._loss()[1], self._limit.rate
            self._halve(now, f"{self._loss()[1]:.0%} of the messages are lost")
        else:
            self._grow(now)

    def _account(self, before: Report, report: Report, now: float) -> _Heard:
        expected = 0
        while report.packets and self._ledger and self._ledger[0] <= report.highest:
            self._ledger.popleft()
            expected += 1
        received = max(0, report.packets - before.packets)
        if self._skip_loss:
            self._skip_loss, expected = False, received
        return _Heard(now, expected, received)

    def _trim(self, now: float) -> None:
        """Keep what was heard of the last 5 s, or of up to 15 s where that is of too few messages."""
        while now - self._heard[0].at > LOSS_SECONDS:
            rest = sum(heard.expected for heard in self._heard) - self._heard[0].expected
            if rest < MIN_EXPECTED and now - self._heard[0].at <= 3 * LOSS_SECONDS:
                return
            self._heard.popleft()

    def _loss(self) -> tuple[int, float]:
        """Return how many messages of the last seconds should have come, and the share that is lost."""
        expected = sum(heard.expected for heard in self._heard)
        lost = expected - sum(heard.received for heard in self._heard)
        return expected, lost / expected if lost > 0 else 0.0

    def _losing(self) -> bool:
        """Say whether more is lost than may be; a few lost of a few say nothing."""
        expected, loss = self._loss()
        enough = expected >= MIN_EXPECTED and loss * expected >= MIN_LOST
        most = LOSS if self._report.delay_ms > QUEUE_MS else LOSS_WITHOUT_QUEUE
        return enough and loss - self._own_loss > most

    def _filling(self, before: Report, report: Report) -> bool:
        """Say whether a queue builds up, or stands. A report without a new message says nothing of it."""
        if report.packets == before.packets or report.delay_ms <= DELAY_MS:
            return False
        return report.delay_ms > before.delay_ms + RISING_MS or report.delay_ms > STANDING_MS

    def _check_silence(self, now: float) -> None:
        if now - self._unheard_since > SILENCE_SECONDS and self._unheard >= SILENCE_MESSAGES:
            self._unheard, self._unheard_since = 0, now
            if self._rate_before_silence is None:
                self._rate_before_silence = min(self._limit.rate, self._sent_rate(now))
            self._halve(now, "no message is known to have arrived")

    def acknowledged(self) -> None:
        """Something that was sent is known to have arrived.

        What was lost in a silence before is the gap's doing, and has had its answer.
        """
        self._unheard, self._unheard_since = 0, math.inf
        if self._rate_before_silence is not None:
            share = 0.5 if self._report.delay_ms > QUEUE_MS else 1.0
            self._limit.rate = max(self._limit.rate, self._rate_before_silence * share)
            _log.debug("messages arrive again: limited to %.1f kbps", self.limit_kbps)
            self._rate_before_silence = None
            self._skip_loss = True

    def _halve(self, now: float, why: str) -> None:
        self._limit.ready(now)
        self._limit.rate = max(min(self._limit.rate, self._sent_rate(now)) / 2, MIN_RATE)
        self._wait_until = now + HOLD_SECONDS
        self._grown_at = now + HOLD_SECONDS
        self._heard.clear()
        self.halved += 1
        _log.debug("%s: limited to %.1f kbps", why, self.limit_kbps)

    def _grow(self, now: float) -> None:
        if math.isfinite(self._limit.rate):
            self._limit.ready(now)
            self._limit.rate += max(0.0, now - self._grown_at) * RECOVER_PER_SECOND
            self._grown_at = now

    def _learn_own_loss(self, now: float) -> None:
        """Where half the rate loses as much as the whole did, the rate is not what it is lost by."""
        expected, loss = self._loss()
        if loss > LOSS and self._own_loss:
            self._own_loss_until = now + OWN_LOSS_SECONDS
        elif now > self._own_loss_until:
            self._own_loss = 0.0
        if self._loss_at_cut is None or expected < MIN_EXPECTED:
            return
        if loss > self._loss_at_cut / 2:
            self._own_loss, self._own_loss_until = max(loss, self._own_loss), now + OWN_LOSS_SECONDS
            self._limit.rate = self._rate_at_cut
            _log.debug(
                "the path loses %.0f %% at any bitrate: limited to %.1f kbps", 100 * loss, self.limit_kbps
            )
        self._loss_at_cut = None

    def _sent_rate(self, now: float) -> float:
        """Return the bytes per second of the last two."""
        self._forget(now)
        return sum(size for _, size in self._sent) / _RATE_SECONDS

    def _forget(self, now: float) -> None:
        while self._sent and now - self._sent[0][0] > _RATE_SECONDS:
            self._sent.popleft()
