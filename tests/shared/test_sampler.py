import pytest

from shared.runtime.sampler import Figures, Sampler, lost, number, sent_up

FIGURES: Figures = {
    "wire_up_kbps": 7.61, "payload_kbps": 1.64, "pictures_kbps": 0.0, "audio_kbps": 0.0, "loss_percent": 0.4,
    "rate_limit_kbps": None,
}  # fmt: skip


class Over(Exception):  # noqa: N818
    """Ends the watch."""


class Clock:
    """Time passes by sleeping alone, and once by 3.2 s more."""

    def __init__(self, until: float) -> None:
        self.time, self.until = 100.0, 100.0 + until

    def now(self) -> float:
        return self.time

    def wall_ms(self) -> int:
        raise NotImplementedError

    async def sleep_until(self, deadline: float) -> None:
        self.time = max(self.time, deadline)
        if self.time > self.until:
            raise Over


async def watched(pace: float, seconds: float, busy_at: float = -1.0) -> tuple[list[float], ...]:
    clock = Clock(seconds)
    told: list[float] = []
    shown: list[float] = []
    recorded: list[float] = []

    async def tell(_: Figures) -> None:
        told.append(clock.time - 100)
        if abs(told[-1] - busy_at) < 0.01:
            clock.time += 3.2

    def show(_: Figures, now: float) -> None:
        shown.append(now - 100)

    def record(_: Figures) -> None:
        recorded.append(clock.time - 100)

    with pytest.raises(Over):
        await Sampler(clock, lambda: FIGURES, show=show, record=record, tell=tell, pace=pace).run()
    return told, shown, recorded


@pytest.mark.parametrize("pace", [0.1, 0.5])
async def test_each_gets_the_figures_at_its_own_pace(pace: float) -> None:
    told, shown, recorded = await watched(pace, 10.05)
    assert told == pytest.approx([pace * n for n in range(1, round(10 / pace) + 1)])
    assert shown == pytest.approx([0.5 * n for n in range(1, 21)])
    assert recorded == pytest.approx(range(1, 11))


async def test_what_was_missed_is_not_made_up_for() -> None:
    told, _, recorded = await watched(0.5, 10.1, busy_at=2.0)
    assert told == pytest.approx([0.5, 1, 1.5, 2, 5.2, *(5.5 + 0.5 * n for n in range(10))])
    assert recorded == pytest.approx([1, 2, 5.2, 6, 7, 8, 9, 10])


def test_pieces_of_a_status_line() -> None:
    assert sent_up(FIGURES) == ("up 7.6 kbps (keypoints 1.6, pictures 0.0)", "")
    assert "sound 16.0" in sent_up({**FIGURES, "audio_kbps": 16.0})[0]
    assert lost(FIGURES) == ("loss 0 %", "")
    assert lost({**FIGURES, "loss_percent": 20.0}) == ("loss 20 %", "yellow")
    assert number(FIGURES, "rate_limit_kbps") == 0
