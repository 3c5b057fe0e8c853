"""Reports cost bytes: many where something is wrong with the path, few where nothing is."""

from receiver.report_policy import OFTEN_SECONDS, SELDOM_SECONDS, TROUBLE_SECONDS, ReportPolicy
from shared.protocol.reports import Report


def sent(reports: list[tuple[Report, int]], policy: ReportPolicy | None = None) -> list[int]:
    """Return which of `reports`, one each half second, each with the messages missing by then, are sent."""
    policy = policy or ReportPolicy()
    return [
        n for n, (report, missing) in enumerate(reports) if policy.is_due(report, missing, n * OFTEN_SECONDS)
    ]


def well(n: int, delay_ms: int = 0) -> Report:
    return Report(packets=3 * n + 1, highest=9 * n + 2, delay_ms=delay_ms)


def test_a_path_that_is_well_gets_one_in_four_seconds() -> None:
    every = round(SELDOM_SECONDS / OFTEN_SECONDS)
    assert sent([(well(n, n % 20), 0) for n in range(100)]) == list(range(0, 100, every))


def test_a_loss_is_told_at_once_and_for_as_long_as_the_sender_looks_back() -> None:
    numbers = sent([(well(n), int(n >= 11)) for n in range(40)])
    told = round(TROUBLE_SECONDS / OFTEN_SECONDS)
    assert numbers == [0, 8, *range(11, 12 + told), 29, 37]


def test_a_delay_is_told_at_once_and_so_is_its_end() -> None:
    numbers = sent([(well(n, 200 if 3 <= n < 6 else 0), 0) for n in range(15)])
    assert numbers == [0, 3, 4, 5, 6, 14]


def test_messages_that_come_late_after_all_are_no_loss() -> None:
    missing = [0, 0, 1, 0, 0] + [0] * 20
    numbers = sent([(well(n), lost) for n, lost in enumerate(missing)])
    assert numbers[:2] == [0, 2]
    assert numbers[-1] < len(missing)


def test_over_another_connection_the_first_report_is_sent() -> None:
    assert sent([(well(n), 0) for n in range(3)] + [(Report(packets=2), 0)]) == [0, 3]
