"""The rate controller against simulated links, in virtual time, with the receiver's own estimator."""

import heapq
import math
from dataclasses import dataclass, field
from typing import Any

import pytest

from bench.network.impairment import Lane, PathImpairment
from receiver.receiver_statistics import ReceiverStatistics
from sender.rate import RateController
from shared.constants import MESSAGE_OVERHEAD
from shared.protocol.reports import Report

PAPER = (720, 0.2)
SMALL = (57, 0.1)
SPARSE = (57, 0.4)
SECONDS = 90


@dataclass
class Run:
    """What happened: messages sent and their arrivals (sent, arrived), the rate controller at the end."""

    controller: RateController
    size: int
    sent: list[float] = field(default_factory=list)
    arrivals: list[tuple[float, float]] = field(default_factory=list)

    def kbps(self, begin: float, end: float = SECONDS) -> float:
        count = sum(begin <= at < end for at in self.sent)
        return count * (self.size + MESSAGE_OVERHEAD) * 8 / 1000 / (end - begin)

    def delivered(self, begin: float) -> float:
        return sum(at >= begin for at, _ in self.arrivals) / sum(at >= begin for at in self.sent)

    def delays(self, begin: float) -> list[float]:
        return sorted(arrived - at for at, arrived in self.arrivals if at >= begin)


def simulate(text: str, message: tuple[int, float], max_kbps: float | None = None) -> Run:
    """Offer a message of (bytes, each so many seconds) to a link that is as the text says."""
    size, gap = message
    lane, statistics, run = (
        Lane(PathImpairment.parse(text), 1),
        ReceiverStatistics(),
        Run(RateController(max_kbps), size),
    )
    offers = [(n * gap, n, "offer", 0.0) for n in range(round(SECONDS / gap))]
    asks = [(n / 2 + 0.25, 10**6 + n, "report", 0.0) for n in range(SECONDS * 2)]
    agenda: list[tuple[float, int, str, Any]] = sorted(offers + asks)
    order = 10**7
    while agenda:
        now, n, kind, about = heapq.heappop(agenda)
        if kind == "offer" and run.controller.may_send(now):
            run.controller.sent(3 * n + 2, size, now)
            run.sent.append(now)
            for at in lane.arrivals(size + MESSAGE_OVERHEAD, now):
                order += 1
                heapq.heappush(agenda, (at, order, "arrive", (n, now)))
        elif kind == "arrive":
            number, left = about
            statistics.arrived(3 * number, 3, round((left - 2 / 30) * 1000) % 2**32, now)
            run.arrivals.append((left, now))
        elif kind == "report":
            order += 1
            heapq.heappush(agenda, (now + 0.05, order, "reported", statistics.report(now, 0, 0, 0)))
        elif kind == "reported":
            run.controller.reported(about, now)
    return run


@pytest.mark.parametrize("message", [PAPER, SMALL, SPARSE])
@pytest.mark.parametrize("text", ["", "delay=150", "rate=100,delay=50"])
def test_a_link_with_room_is_left_alone(text: str, message: tuple[int, float]) -> None:
    run = simulate(text, message)
    assert len(run.sent) == round(SECONDS / message[1])
    assert run.controller.halved == 0
    assert run.controller.limit_kbps == math.inf


@pytest.mark.parametrize(
    ("text", "message", "rate"),
    [
        ("rate=30", PAPER, 30),
        ("rate=20", PAPER, 20),
        ("rate=20,queue=8000", PAPER, 20),
        ("rate=10", PAPER, 10),
        ("rate=10", SMALL, 10),
        ("rate=10,queue=5000,delay=100", PAPER, 10),
    ],
)
def test_a_bottleneck_is_shared_and_its_queue_drains(
    text: str, message: tuple[int, float], rate: float
) -> None:
    run = simulate(text, message)
    # From half of the time on: most of the link is used, all arrives, and the queue is short.
    half = SECONDS / 2
    assert 0.6 * rate <= run.kbps(half) <= rate
    assert run.delivered(half) > 0.99
    one_message = (message[0] + MESSAGE_OVERHEAD) * 8 / 1000 / rate
    delays = run.delays(half)
    assert delays[len(delays) // 10] < 1.2 * one_message + 0.1
    assert delays[len(delays) * 95 // 100] < 2 * one_message + 0.5


def test_an_overdriven_link_without_control_would_not_work() -> None:
    """What the tests above rest on: the offered load is more than the link carries."""
    assert simulate("", PAPER).kbps(0) > 30
    assert simulate("", SMALL).kbps(0) > 10


@pytest.mark.parametrize("message", [PAPER, SMALL])
def test_a_link_that_loses_by_itself_is_tried_at_half_the_rate_and_then_used(
    message: tuple[int, float],
) -> None:
    run = simulate("loss=75", message)
    full = simulate("", message).kbps(0)
    assert run.controller.halved >= 1
    assert min(run.kbps(n, n + 2) for n in range(30)) <= 0.7 * full
    assert run.kbps(SECONDS / 2) >= 0.95 * full


def test_jitter_and_losses_without_a_queue_are_no_trouble() -> None:
    for text in ("jitter=200", "loss=20", "loss=40", "loss=20,jitter=100,delay=50,reorder=5"):
        run = simulate(text, SMALL)
        assert run.controller.halved == 0, text


@pytest.mark.parametrize("message", [PAPER, SMALL])
def test_bursts_of_loss_cost_little_of_the_rate(message: tuple[int, float]) -> None:
    assert simulate("burst=20:5", message).kbps(0) > 0.75 * simulate("", message).kbps(0)


def test_a_cut_is_waited_for_at_a_low_rate_and_then_the_rate_comes_back() -> None:
    run = simulate("cut=30:10", PAPER)
    full = run.kbps(0, 30)
    assert run.kbps(36, 40) <= 0.6 * full
    assert run.kbps(42, 46) > 0.9 * full


def test_after_a_cut_of_a_full_link_the_rate_comes_back_slowly() -> None:
    run = simulate("rate=20,cut=30:10", PAPER)
    assert run.kbps(36, 40) <= 12
    assert run.kbps(70) > 12
    assert run.delivered(60) > 0.95


@pytest.mark.parametrize("ceiling", [8.0, 15.0, 25.0])
def test_a_ceiling_holds_headers_included(ceiling: float) -> None:
    run = simulate("", PAPER, ceiling)
    assert 0.85 * ceiling <= run.kbps(2) <= 1.02 * ceiling
    assert run.controller.limit_kbps == ceiling
    assert simulate("", SPARSE, ceiling).kbps(0) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("text", "ceiling"), [("", 0.1), ("cut=5:85", None), ("loss=100", None), ("rate=1", None)]
)
def test_one_message_a_second_leaves_whatever_happens(text: str, ceiling: float | None) -> None:
    run = simulate(text, PAPER, ceiling)
    gaps = [two - one for one, two in zip(run.sent, run.sent[1:], strict=False)]
    assert max(gaps) <= 1.2001
    assert len(run.sent) >= 70


def test_without_reports_the_rate_halves_each_few_seconds() -> None:
    controller, sent = RateController(), []
    for n in range(200):
        if controller.may_send(n / 10):
            controller.sent(n, 57, n / 10)
            sent.append(n / 10)
    assert controller.halved >= 4
    counts = [sum(begin <= at < begin + 3 for at in sent) for begin in (0, 4, 8, 12)]
    assert counts[0] == 30
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] <= 4


def test_a_receiver_that_reports_nonsense_changes_no_more_than_the_rate() -> None:
    controller = RateController()
    most = 2**32 - 1
    reports = [Report(most, most, 65535, 65535), Report(0, 0), Report(5, most), Report(most, 0), Report()]
    for n in range(300):
        now = n / 10
        if controller.may_send(now):
            controller.sent(n, 57, now)
        controller.reported(reports[n % len(reports)], now)
    assert controller.may_send(40.0)
    assert controller.limit_kbps > 0
    assert len(controller._heard) < 200
