"""Two-way calls as the commands run them, in processes of their own over a real connection."""

from pathlib import Path

import numpy as np
import pytest

from bench.harness.disturbed import Step, run_disturbed
from bench.harness.processes import CallRecord, run_call
from bench.network.impairment import PathImpairment
from sender.demo import DemoSource
from shared.keypoints import Pictures

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("drawn_people")]
LOOPED = ["--crop", "centre", "--loop"]
CALLING = ["--source", "demo", *LOOPED]
ANSWERING = ["--source", "demo2", *LOOPED]


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
    # It moves: no two moments are alike.
    assert np.abs(shown[0].astype(int) - shown[-1]).max() > 30


def test_both_ends_send_and_show(tmp_path: Path) -> None:
    record = run_call(tmp_path, ANSWERING, CALLING, 9.0, two_way=True)
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
    with pytest.raises(Exception, match="Nothing was shown in the other direction"):
        run_call(tmp_path, [], CALLING, 5.0, two_way=True)


def test_a_receiver_that_would_send_is_called_by_a_sender_that_shows_nothing(tmp_path: Path) -> None:
    record = run_call(tmp_path, ANSWERING, CALLING, 5.0)
    assert_shows(record, "demo")
    assert record.back is None


def test_both_directions_come_back_after_the_connection_was_cut(tmp_path: Path) -> None:
    # The other direction has begun by then.
    cut = (Step(4.0, PathImpairment(loss=100)), Step(11.5, PathImpairment()))
    record = run_disturbed(tmp_path, ANSWERING, CALLING, 21.0, cut, two_way=True).record
    assert record.back is not None
    for one in (record, record.back):
        assert one.sender["reconnects"] == one.receiver["reconnects"] == 1
        # The newest frames are of long after the cut.
        assert one.receiver["shown"][-1][0] > 14 * 30


def test_both_directions_begin_anew_when_the_receiver_is_restarted(tmp_path: Path) -> None:
    record = run_disturbed(tmp_path, ANSWERING, CALLING, 16.0, (Step(2.0, "receiver"),), two_way=True).record
    assert record.back is not None
    assert_shows(record, "demo")
    assert_shows(record.back, "demo2")
