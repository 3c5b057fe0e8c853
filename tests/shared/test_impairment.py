import math
import statistics
from itertools import pairwise

import pytest

from bench.network.impairment import Lane, PathImpairment
from shared.errors import RequestError

DATAGRAM = 150


def arrivals(text: str, count: int = 4000, gap: float = 0.01, seed: int = 1) -> list[tuple[float, ...]]:
    """What a lane decides for `count` datagrams, one each `gap` seconds from time 100."""
    lane = Lane(PathImpairment.parse(text), seed)
    return [lane.arrivals(DATAGRAM, 100 + n * gap) for n in range(count)]


def lost(decided: list[tuple[float, ...]]) -> list[int]:
    return [n for n, at in enumerate(decided) if not at]


def test_a_path_without_fault_delivers_each_datagram_at_once() -> None:
    assert arrivals("", 50) == [(100 + n * 0.01,) for n in range(50)]


def test_every_part_of_a_text_is_read() -> None:
    text = "loss=20, burst=5:4,delay=100,jitter=50.5,reorder=10:300,duplicate=1,rate=30,queue=500"
    text += ",cut=5:3,cut=9:1"
    assert PathImpairment.parse(text) == PathImpairment(
        loss=20,
        burst=5,
        burst_length=4,
        delay=100,
        jitter=50.5,
        reorder=10,
        reorder_ms=300,
        duplicate=1,
        rate=30,
        queue=500,
        cuts=((5, 3), (9, 1)),
    )
    assert PathImpairment.parse("burst=5,reorder=1") == PathImpairment(burst=5, reorder=1)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("los=20", "no impairment 'los'"),
        ("loss", "has no valid number"),
        ("loss=", "has no valid number"),
        ("loss=nan", "has no valid number"),
        ("loss=inf", "has no valid number"),
        ("loss=101", "0 to 100 percent"),
        ("loss=-1", "0 to 100 percent"),
        ("loss=1:2", "takes one number"),
        ("loss=1,loss=2", "given twice"),
        ("burst=5:0.5", "1 to 1000 datagrams"),
        ("burst=95", "0 to 90 percent"),
        ("cut=5", "start and its length"),
        ("cut=5:", "has no valid number"),
        ("cut=5:0", "out of range"),
        ("cut=-1:2", "out of range"),
        ("rate=1e9", "kbps"),
        ("burst_length=3", "no impairment"),
        ("cuts=3", "no impairment"),
    ],
)
def test_a_wrong_text_is_told_in_one_sentence(text: str, word: str) -> None:
    with pytest.raises(RequestError, match=word) as told:
        PathImpairment.parse(text)
    assert str(told.value).endswith(".")


def test_the_same_seed_decides_the_same_and_another_does_not() -> None:
    text = "loss=20,burst=5:4,jitter=100,duplicate=3,reorder=3"
    assert arrivals(text) == arrivals(text)
    assert arrivals(text) != arrivals(text, seed=2)


def test_random_loss_has_its_share_and_no_memory() -> None:
    gone = lost(arrivals("loss=20"))
    assert len(gone) == pytest.approx(800, abs=80)
    follow = sum(n + 1 in set(gone) for n in gone) / len(gone)
    assert follow == pytest.approx(0.2, abs=0.05)


@pytest.mark.slow
def test_burst_loss_has_its_share_and_its_length() -> None:
    gone = lost(arrivals("burst=10:5", 40_000))
    assert len(gone) / 40_000 == pytest.approx(0.10, abs=0.015)
    bursts = sum(n - 1 not in set(gone) for n in gone)
    assert len(gone) / bursts == pytest.approx(5, abs=0.5)


def test_delay_and_jitter_spread_evenly_and_let_later_ones_overtake() -> None:
    decided = arrivals("delay=100,jitter=200")
    late = [at - 100 - n * 0.01 for n, (at,) in enumerate(decided)]
    assert 0.1 <= min(late) < 0.105
    assert 0.295 < max(late) <= 0.3
    assert statistics.mean(late) == pytest.approx(0.2, abs=0.005)
    assert any(one > two for (one,), (two,) in pairwise(decided))


def test_a_share_is_held_back_and_a_share_comes_twice() -> None:
    late = [at - 100 - n * 0.01 for n, (at,) in enumerate(arrivals("reorder=10:300"))]
    assert {round(one, 6) for one in late} == {0, 0.3}
    assert sum(one > 0.1 for one in late) == pytest.approx(400, abs=60)
    assert sum(len(at) == 2 for at in arrivals("duplicate=10")) == pytest.approx(400, abs=60)


def test_a_bottleneck_passes_its_rate_and_its_queue_is_bounded() -> None:
    # 150 bytes each 10 ms are 120 kbps; 30 get through.
    decided = arrivals("rate=30,queue=2000")
    through = [at[0] for at in decided if at]
    assert len(through) * DATAGRAM * 8 / 1000 / (through[-1] - 100) == pytest.approx(30, rel=0.001)
    assert through == sorted(through)
    waits = [at[0] - 100 - n * 0.01 for n, at in enumerate(decided) if at]
    assert max(waits) <= 2.0
    assert waits[-1] > 1.9
    # Below its rate a bottleneck costs the time to send and no more.
    slow = arrivals("rate=30", 50, gap=0.05)
    assert [at[0] - 100 - n * 0.05 for n, at in enumerate(slow)] == pytest.approx([0.04] * 50)


def test_a_queue_has_room_for_datagrams_of_full_size() -> None:
    lane = Lane(PathImpairment.parse("rate=10,queue=0"), 0)
    at = [lane.arrivals(1250, 100.0) for _ in range(5)]
    assert [len(one) for one in at] == [1, 1, 1, 0, 0]
    assert math.isclose(at[2][0], 103.0)


def test_a_cut_counts_from_the_first_datagram() -> None:
    assert lost(arrivals("cut=0.495:0.2,cut=1.995:0.1", 300)) == [*range(50, 70), *range(200, 210)]
