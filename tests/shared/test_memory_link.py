import pytest

from bench.network.memory_link import Impairment, LoopbackConnection, pair
from shared.errors import KeycastError
from shared.interfaces import Connection


async def through(impairment: Impairment, count: int = 200) -> list[int]:
    """Send numbered kp messages through `impairment`; return the numbers in order of arrival."""
    left, right = pair(impairment)
    for n in range(count):
        assert left.send_kp(n.to_bytes(2, "big"))
    await left.close()
    return [int.from_bytes(data, "big") for data in await everything(right)]


async def everything(connection: LoopbackConnection) -> list[bytes]:
    messages = []
    while (message := await connection.recv()) is not None:
        messages.append(message[1])
    return messages


async def test_a_clean_pair_carries_everything_both_ways() -> None:
    left, right = pair()
    ends: tuple[Connection, Connection] = (left, right)
    for end in ends:
        await end.opened()
        assert await end.drained()
    left.send_ctl(b"hello")
    left.send_kp(b"frame")
    right.send_ctl(b"back")
    assert await right.recv() == ("ctl", b"hello")
    assert await right.recv() == ("kp", b"frame")
    assert await left.recv() == ("ctl", b"back")
    assert (left.app_sent, left.app_received) == (right.app_received, right.app_sent) == (10, 4)
    assert (left.wire_sent, right.wire_received) == (10 + 2 * 93, 10 + 2 * 93)


async def test_the_same_seed_gives_the_same_network() -> None:
    rough = Impairment(loss=0.2, duplicate=0.1, reorder=0.3, delay=2, seed=7)
    first = await through(rough)
    assert first == await through(rough)
    assert first != await through(Impairment(loss=0.2, duplicate=0.1, reorder=0.3, delay=2, seed=8))


async def test_loss_loses_its_share() -> None:
    arrived = await through(Impairment(loss=0.25))
    assert arrived == sorted(set(arrived))
    assert 130 < len(arrived) < 170
    assert await through(Impairment(loss=1.0)) == []


async def test_delay_keeps_the_order_and_holds_back_the_last() -> None:
    assert await through(Impairment(delay=5)) == list(range(195))


async def test_reordering_loses_nothing_but_the_order() -> None:
    arrived = await through(Impairment(reorder=0.5))
    assert arrived != sorted(arrived)
    assert set(range(190)) <= set(arrived)
    assert max(abs(place - n) for place, n in enumerate(arrived)) <= 6


async def test_duplicates_arrive_twice() -> None:
    arrived = await through(Impairment(duplicate=1.0))
    assert arrived == [n for n in range(200) for _ in range(2)][: len(arrived)]
    assert len(arrived) == 256, "the unread are bounded"


async def test_ctl_is_never_impaired() -> None:
    left, right = pair(Impairment(loss=1.0, reorder=1.0, delay=9))
    for n in range(50):
        left.send_ctl(bytes([n]))
    await left.close()
    assert await everything(right) == [bytes([n]) for n in range(50)]


@pytest.mark.parametrize("side", [0, 1])
async def test_a_close_ends_both_sides_after_what_arrived(side: int) -> None:
    ends = pair()
    ends[side].send_ctl(b"bye")
    await ends[side].close()
    other = ends[1 - side]
    assert await other.recv() == ("ctl", b"bye")
    assert await other.recv() is None
    assert await other.recv() is None
    assert (other.ended, other.reason) == (True, "")
    assert not other.send_kp(b"late")
    other.send_ctl(b"late")
    assert not await other.drained()
    with pytest.raises(KeycastError):
        await other.opened()


async def test_a_cut_has_a_reason() -> None:
    left, right = pair()
    left.cut("The cable is out.")
    assert (left.reason, right.reason) == ("The cable is out.", "The cable is out.")


async def test_a_ctl_flood_that_nobody_reads_ends_the_connection() -> None:
    left, right = pair()
    for _ in range(2000):
        left.send_ctl(b"x")
    assert right.ended
    assert "faster than they can be read" in right.reason


async def test_oversize_messages_are_a_mistake_of_ours() -> None:
    left, _ = pair()
    with pytest.raises(ValueError, match="over 1160"):
        left.send_kp(bytes(1161))
    with pytest.raises(ValueError, match="over 16384"):
        left.send_ctl(bytes(16385))
