"""A call of two real processes under disturbance: the path changes, a side is killed and restarted."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench.harness.counted_path import counting_path
from bench.harness.processes import ANY_PORT, CallRecord, Process, await_receiver, record_back
from bench.network.impairment import PathImpairment
from bench.network.lossy_path import ImpairedPath
from shared.clock import SystemClock
from shared.errors import KeycastError
from shared.runtime.journal import last_summary
from shared.transport.pairing import new_token

Side = Literal["receiver", "sender"]
_START_SECONDS = 120.0
_ASK_SECONDS = 0.1
_ANSWER_SECONDS = 2.0


@dataclass(frozen=True)
class Step:
    """An event `at` seconds after the first frame was shown.

    A path's new state, or the side that is killed (as by kill -9) and started again at once.
    """

    at: float
    what: PathImpairment | Side


@dataclass(frozen=True)
class Disturbed:
    """The call's record, and when each step was done, by the wall's clock in ms modulo 2**32.

    A side that was started again is done when it listens or calls. Of a receiver or sender that was killed
    the record holds its second life.
    """

    record: CallRecord
    done_ms: tuple[int, ...]


class DisturbedCall:
    """Two processes and the path between them; use as a context manager, so that nothing stays behind.

    The path, whose chances `seed` begins, leads to the first receiver; a later one listens at the same place.
    """

    def __init__(
        self,
        folder: Path,
        words: dict[Side, list[str]],
        *,
        seed: int = 0,
        keep_pictures: bool = True,
        two_way: bool = False,
    ) -> None:
        self._folder = folder
        self._keep_pictures, self._two_way = keep_pictures, two_way
        self._seed = seed
        self._address = ANY_PORT
        self._stack = ExitStack()
        self._path: ImpairedPath
        self._words = words
        self._token = new_token()
        self._processes: dict[Side, Process] = {}
        self._lives: dict[Side, int] = {"receiver": 0, "sender": 0}

    def __enter__(self) -> DisturbedCall:
        """Start nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End both sides, the sender first, and then the path."""
        for process in reversed(list(self._processes.values())):
            process.stop()
        self._stack.close()

    def process(self, side: Side) -> Process:
        """Return the process that plays `side` now."""
        return self._processes[side]

    def start(self, side: Side) -> None:
        """Start `side` and wait until it listens or calls; KeycastError with its sentence where it fails."""
        files = ["--stats", str(self._stats(side))]
        if side == "receiver":
            files += ["--once", "--listen", self._address, "--view", "none"]
            files += ["--output", str(self._pictures)] if self._keep_pictures else []
        else:
            files += ["--connect", self._path.url]
            if self._two_way:
                files += ["--view", "none"]
                files += ["--output", str(self._shown_back)] if self._keep_pictures else []
        process = Process(side, [*files, "--token", self._token, *self._words[side]])
        self._processes[side] = process
        process.await_up()
        if self._address == ANY_PORT:
            self._address = process.url.removeprefix("http://")
            self._path = self._stack.enter_context(counting_path(process.url, None, self._seed))

    def await_picture(self, seconds: float = _START_SECONDS) -> None:
        """Wait until a frame has been shown; KeycastError of the side that fails instead."""
        deadline = time.monotonic() + seconds
        while not self.asked().get("frames"):
            for process in self._processes.values():
                if not process.running:
                    raise process.failure()
            if time.monotonic() > deadline:
                raise KeycastError(f"No picture was shown within {seconds:.0f} seconds.")
            time.sleep(_ASK_SECONDS)

    def do(self, what: PathImpairment | Side) -> None:
        """Make the path so, or kill that side and start it again."""
        if isinstance(what, PathImpairment):
            self._path.impair(what)
            return
        self._processes[what].kill()
        self._lives[what] += 1
        self.start(what)

    def finish(self) -> CallRecord:
        """Let the sender hang up, on a path that is good again; return what both wrote down."""
        self._path.impair(PathImpairment())
        sender, receiver = self._processes["sender"], self._processes["receiver"]
        ended_early = not sender.running
        sender.stop()
        if ended_early and sender.failed:
            raise sender.failure()
        await_receiver(receiver, over_bad_path=True)
        theirs, ours = self._read("receiver"), self._read("sender")
        earlier = 0
        if self._keep_pictures and self._lives["sender"]:
            pictures = len(np.load(self._pictures, mmap_mode="r"))
            earlier = max(0, pictures - int(theirs["frames"]))
        back = None
        if self._two_way and self._keep_pictures:
            back = record_back(self._stats("receiver"), self._stats("sender"), self._shown_back, self._path)
        return CallRecord(ours, theirs, self._pictures, self._path.up, self._path.down, earlier, back)

    @property
    def _shown_back(self) -> Path:
        return self._folder / f"received-back-{self._lives['sender']}.npy"

    @property
    def _pictures(self) -> Path:
        return self._folder / f"received-{self._lives['receiver']}.npy"

    def _stats(self, side: Side) -> Path:
        return self._folder / f"{side}-{self._lives[side]}.json"

    def _read(self, side: Side) -> dict[str, Any]:
        try:
            return last_summary(self._stats(side))
        except KeycastError as error:
            raise KeycastError(f"The {side} was in no call at the end.") from error

    def asked(self) -> dict[str, Any]:
        """Return the receiver's figures as of now, {} where it does not answer."""
        request = urllib.request.Request(
            f"http://{self._address}/stats", headers={"Authorization": f"Bearer {self._token}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as answer:
                return dict(json.load(answer))
        except (urllib.error.URLError, TimeoutError, ValueError):
            return {}


def run_disturbed(
    folder: Path,
    receiver: Sequence[str],
    sender: Sequence[str],
    seconds: float,
    steps: Sequence[Step] = (),
    *,
    seed: int = 0,
    two_way: bool = False,
) -> Disturbed:
    """Run one call for `seconds` after its first picture; files go to `folder`.

    The call is set up on a good path. `receiver` and `sender` are further arguments of the two commands,
    `seed` that of the path's chances. Raises KeycastError with the sentence of the side that failed.
    """
    words: dict[Side, list[str]] = {"receiver": list(receiver), "sender": list(sender)}
    with DisturbedCall(folder, words, seed=seed, two_way=two_way) as call:
        call.start("receiver")
        call.start("sender")
        call.await_picture()
        began, done = time.monotonic(), []
        for step in steps:
            _sleep_until(began + step.at, call)
            call.do(step.what)
            done.append(SystemClock().wall_ms())
        _sleep_until(began + seconds, call)
        return Disturbed(call.finish(), tuple(done))


def _sleep_until(moment: float, call: DisturbedCall) -> None:
    """Sleep until `moment`; KeycastError as soon as the sender fails. One whose video ends is fine."""
    sender = call.process("sender")
    while (left := moment - time.monotonic()) > 0:
        if not sender.running:
            if sender.failed:
                raise sender.failure()
            return
        time.sleep(min(left, _ASK_SECONDS))
