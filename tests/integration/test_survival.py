"""Calls between real processes that are killed and started again."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_call import TOKEN, Command, Place, frames_of, lines_of, place, shared_files, stats

pytestmark = pytest.mark.slow

__all__ = ["place", "shared_files"]  # fixtures

BACK_SECONDS = 120.0


def live(place: Place) -> dict[str, Any]:
    """What the receiver says of the call that is on; nothing where it does not answer."""
    request = urllib.request.Request(f"{place.url}/stats", headers={"Authorization": f"Bearer {TOKEN}"})
    try:
        with urllib.request.urlopen(request, timeout=2) as answer:
            values: dict[str, Any] = json.load(answer)
            return values
    except (urllib.error.URLError, OSError):
        return {}


def wait_until(place: Place, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + BACK_SECONDS
    while not holds(values := live(place)):
        assert time.monotonic() < deadline, values
        time.sleep(0.1)
    return values


def shows(least: int) -> Callable[[dict[str, Any]], bool]:
    return lambda values: values.get("phase") == "in a call" and values["frames_observed"] >= least


def ended_in_order(sender: Command, receiver: Command) -> list[str]:
    """Interrupt both, the sender in a call; return what they had to say on stderr."""
    sender.interrupt()
    ends = [sender.done()]
    receiver.interrupt()
    ends.append(receiver.done())
    for end in ends:
        assert end.code == 0, end.err
        assert "The sender hung up." in end.out
    return [end.err for end in ends]


def test_a_sender_that_was_killed_and_starts_again_is_taken_at_once(place: Place) -> None:
    output, received = place.folder / "call.mp4", place.folder / "receiver.json"
    with place.serving_receiver("--output", output, "--stats", received) as there:
        with place.sender("--loop") as first:
            wait_until(place, shows(10))
            first.process.kill()
        with place.sender("--loop") as second:
            second.said("calling")
            before = wait_until(place, lambda values: values.get("phase") == "in a call")
            values = wait_until(place, shows(10))
            assert values["reconnects"] == before["reconnects"] == 0
            assert ended_in_order(second, there) == ["", ""]
    # Both calls are in the one file, and the figures are the second one's.
    assert frames_of(output) > stats(received)["frames"] + 10


def test_a_receiver_that_was_killed_leaves_whole_lines_and_goes_on_where_it_starts_again(
    place: Place, capfd: pytest.CaptureFixture[str]
) -> None:
    """It was in its second call; the first one had ended in order."""
    received, sent, again = (place.folder / f"{name}.jsonl" for name in ("receiver", "sender", "again"))
    with place.serving_receiver("--stats", received) as first:
        assert place.sender_here(capfd, "--stats", sent).code == 0
        with place.sender("--loop", "--stats", again) as here:
            deadline = time.monotonic() + BACK_SECONDS
            while len(lines_of(received, call=2)) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            wait_until(place, shows(10))
            first.process.kill()
            first.process.wait()
            with place.serving_receiver() as second:
                wait_until(place, shows(10))
                (notes, nothing) = ended_in_order(here, second)
    assert_whole(lines_of(received, call=1), lines_of(received, call=2), figures(sent))
    assert notes.splitlines() == ["note: The connection is lost; calling again.", "note: The call goes on."]
    assert nothing == ""
    ours = stats(again)
    assert ours["reconnects"] == 1
    # The first one, to each receiver; how many more, is a matter of time.
    assert ours["pictures_sent"] >= 2
    assert ours["seconds"] > 5


def figures(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def assert_whole(
    first: list[dict[str, Any]], second: list[dict[str, Any]], ours: list[dict[str, Any]]
) -> None:
    """Check the receiver's lines of a whole call and of one that was cut off, and a sender's whole ones."""
    assert [line["event"] for line in first] == ["second"] * (len(first) - 1) + ["summary"]
    assert {line["event"] for line in second} == {"second"}
    named = {"state", "fps_shown", "payload_kbps", "wire_up_kbps", "loss_percent", "latency_ms"}
    assert all(named <= set(line) for line in (*first[:-1], *second))
    assert [line["event"] for line in ours] == ["second"] * (len(ours) - 1) + ["summary"]
    assert len(ours) >= 2
    assert ours[-1]["frames"] >= ours[-2]["frames"]
    # What ran the network is told by both sides.
    for summary in (first[-1], ours[-1]):
        assert summary["backbone"] == "lite"
        assert summary["device"] in ("cpu", "cuda")
        assert summary["engine"] in ("openvino", "torch")
        assert summary["precision"] in ("int8", "bfloat16", "float32")
