"""Calls between real processes that are killed and started again."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.test_call import TOKEN, Command, Place, frames_of, place, shared_files, stats

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


def ended_in_order(*commands: Command) -> list[str]:
    """Interrupt each; return what they had to say on stderr."""
    said = []
    for command in commands:
        command.interrupt()
        done = command.done()
        assert done.code == 0, done.err
        said.append(done.err)
    return said


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


def test_a_receiver_that_was_killed_and_starts_again_goes_on(place: Place) -> None:
    sent = place.folder / "sender.json"
    with place.serving_receiver() as first, place.sender("--loop", "--stats", sent) as here:
        wait_until(place, shows(10))
        first.process.kill()
        first.process.wait()
        with place.serving_receiver() as second:
            wait_until(place, shows(10))
            (notes, nothing) = ended_in_order(here, second)
    assert notes.splitlines() == ["note: The connection is lost; calling again.", "note: The call goes on."]
    assert nothing == ""
    ours = stats(sent)
    assert ours["reconnects"] == 1
    # The first one, to each receiver; how many more, is a matter of time.
    assert ours["pictures_sent"] >= 2
    assert ours["seconds"] > 5
