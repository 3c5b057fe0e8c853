"""Two-way calls as the commands run them, in processes of their own over a real connection."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from bench.harness.disturbed import DisturbedCall, Side
from bench.harness.processes import CallRecord
from bench.network.impairment import PathImpairment
from sender.demo import DemoSource
from shared.constants import FPS
from shared.errors import KeycastError
from shared.keypoints import Pictures
from shared.protocol.liveness import Phase

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("drawn_people")]
LOOPED = ["--crop", "centre", "--loop"]
CALLING = ["--source", "demo", *LOOPED]
ANSWERING = ["--source", "demo2", *LOOPED]
SECONDS = 120.0
"""For a machine that has much else to do; a quiet one takes a few."""
MOTION = 30
"""Levels of 256 by which some place differs where a person has moved."""


def first_picture(name: str) -> Pictures:
    source = DemoSource(1 / 30, name)
    try:
        picture = source.frame(0)
        assert picture is not None
        return picture
    finally:
        source.close()


def assert_shows(record: CallRecord, name: str) -> None:
    """Assert that what was shown is that person and not the other one."""
    shown = np.load(record.pictures, mmap_mode="r")[record.earlier :]
    assert len(shown) == record.receiver["frames"] > 1
    errors = {
        person: float(np.abs(shown[0].astype(float) - first_picture(person)).mean())
        for person in ("demo", "demo2")
    }
    assert min(errors, key=errors.__getitem__) == name
    assert has_moved(shown)


def has_moved(shown: Pictures) -> bool:
    return any(np.abs(shown[0].astype(int) - picture).max() > MOTION for picture in shown[:0:-5])


def count(pictures: Path) -> int:
    # What has just been made may have no header yet.
    begun = pictures.exists() and pictures.stat().st_size > 128
    return len(np.load(pictures, mmap_mode="r")) if begun else 0


def until(call: DisturbedCall, true: Callable[[], bool]) -> None:
    """Wait until it is so, while both ends run."""
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline
        assert call.process("sender").running, call.process("sender").failure()
        assert call.process("receiver").running, call.process("receiver").failure()
        time.sleep(0.1)


def until_moves(call: DisturbedCall, *files: Path) -> None:
    """Wait until whoever is shown from now on has moved, in each of the files."""
    for pictures in files:
        begin = count(pictures)

        def moves(pictures: Path = pictures, begin: int = begin) -> bool:
            return count(pictures) > begin + 1 and has_moved(np.load(pictures, mmap_mode="r")[begin:])

        until(call, moves)


@contextmanager
def calling(
    folder: Path, receiver: list[str], sender: list[str], *, two_way: bool = True
) -> Iterator[DisturbedCall]:
    """A call that shows its first picture."""
    words: dict[Side, list[str]] = {"receiver": receiver, "sender": sender}
    with DisturbedCall(folder, words, two_way=two_way) as call:
        call.start("receiver")
        call.start("sender")
        call.await_picture()
        yield call


def test_both_ends_send_and_show(tmp_path: Path) -> None:
    with calling(tmp_path, ANSWERING, CALLING) as call:
        until_moves(call, call._pictures, call._shown_back)
        record = call.finish()
    assert record.back is not None
    assert_shows(record, "demo")
    assert_shows(record.back, "demo2")
    forth, back = record.sender, record.back.sender
    assert forth["role"] == back["role"] == "sender"
    # One connection: what one end has sent, whatever for, the other one has got.
    for one, other in ((record.sender, record.receiver), (record.back.sender, record.back.receiver)):
        assert one["wire_sent"] == pytest.approx(other["wire_received"], rel=0.05)
    assert record.back.receiver["wire_sent"] == pytest.approx(record.sender["wire_sent"], rel=0.1)


def test_a_caller_that_shows_calls_a_receiver_that_only_receives(tmp_path: Path) -> None:
    """As an older one does: the caller says so once, and goes on."""
    with (
        calling(tmp_path, [], CALLING) as call,
        pytest.raises(KeycastError, match="Nothing was shown in the other direction"),
    ):
        call.finish()


def test_a_receiver_that_would_send_is_called_by_a_sender_that_shows_nothing(tmp_path: Path) -> None:
    with calling(tmp_path, ANSWERING, CALLING, two_way=False) as call:
        until_moves(call, call._pictures)
        record = call.finish()
    assert_shows(record, "demo")
    assert record.back is None


def test_both_directions_begin_anew_with_another_receiver_and_come_back_after_a_cut(tmp_path: Path) -> None:
    with calling(tmp_path, ANSWERING, CALLING) as call:
        call.do("receiver")
        call.await_picture()
        until_moves(call, call._pictures, call._shown_back)
        began = time.monotonic()
        call.do(PathImpairment(loss=100))
        until(call, lambda: call.asked().get("phase") == Phase.AWAY.value)
        # The sender has noticed by then as well.
        time.sleep(1.0)
        cut_frames = FPS * (time.monotonic() - began)
        call.do(PathImpairment())
        until(call, lambda: call.asked().get("reconnects") == 1)
        until_moves(call, call._pictures, call._shown_back)
        record = call.finish()
    assert record.back is not None
    assert_shows(record, "demo")
    assert_shows(record.back, "demo2")
    assert record.receiver["reconnects"] == record.back.sender["reconnects"] == 1
    assert (record.sender["reconnects"], record.back.receiver["reconnects"]) == (2, 1)
    # The newest frames are of after the cut, which began when frames were there.
    for one in (record, record.back):
        assert one.receiver["shown"][-1][0] > cut_frames
