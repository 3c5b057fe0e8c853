"""Runs a receiver and a sender as two real processes on this machine."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from bench.harness.counted_path import counting_path
from bench.network.impairment import PathImpairment
from bench.network.lossy_path import Counts, ImpairedPath
from shared.errors import KeycastError
from shared.runtime.journal import last_summary, last_summary_back
from shared.transport.pairing import new_token

_START_SECONDS = 120.0
_END_SECONDS = 30.0
_BYE_SECONDS = 10.0
ANY_PORT = "127.0.0.1:0"
"""Address of a receiver that listens at a free port of this machine."""
_ADDRESS = re.compile(r" --connect (\S+)")


@dataclass(frozen=True)
class CallRecord:
    """Records of a call from both sides (their `--stats`), and the pictures the receiver showed (.npy).

    `up` (from the sender) and `down` were counted between the two: all IP bytes, set-up included. `earlier`
    pictures are of a call before this one. `back` is the other direction of a two-way call, whose sender is
    the end that answered.
    """

    sender: dict[str, Any]
    receiver: dict[str, Any]
    pictures: Path
    up: Counts
    down: Counts
    earlier: int = 0
    back: CallRecord | None = None


class Process:
    """A command of this project in its own process; its messages are kept for the case that it fails.

    `within` are words to put before the command, such as those that run it in another network.
    """

    def __init__(self, module: str, arguments: Sequence[str], within: Sequence[str] = ()) -> None:
        self.name = module
        self._process = subprocess.Popen(
            [*within, sys.executable, "-m", module, *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        self._errors: list[str] = []
        self.is_up = False
        self.url = ""
        """Where a receiver listens, once it does."""
        self.answered = threading.Event()  # it listens, or calls, or will never
        self._readers = [
            threading.Thread(target=self._read_output, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self._read_errors, args=(self._process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_output(self, stream: IO[str]) -> None:
        for line in stream:
            listens = _ADDRESS.search(line) if not self.url else None
            if listens is not None:
                self.url = listens[1]
            if listens is not None or line.startswith("calling"):
                self.is_up = True
                self.answered.set()
        self.answered.set()

    def _read_errors(self, stream: IO[str]) -> None:
        self._errors.extend(line.strip() for line in stream)

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    @property
    def failed(self) -> bool:
        """Whether it has ended badly; asked when the other side has failed, so a last moment is given."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        return bool(self._process.returncode)

    def await_up(self) -> None:
        """Wait until it listens or calls; KeycastError with its sentence where it fails."""
        if not self.answered.wait(_START_SECONDS) or not self.is_up:
            raise self.failure()

    def wait(self, seconds: float | None) -> None:
        """Wait for a good end; KeycastError with the process's own sentence otherwise."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise KeycastError(f"The {self.name} did not end within {seconds:.0f} seconds.") from error
        if code:
            raise self.failure()

    def failure(self) -> KeycastError:
        """Return the error that it ended with, in its own sentence."""
        self._readers[1].join(1.0)
        said = [line for line in self._errors if line.startswith("error")] or self._errors[-1:]
        return KeycastError(f"The {self.name} failed: {said[-1] if said else 'it said nothing'}")

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def kill(self) -> None:
        """End the process at once, without a chance to say goodbye."""
        self._process.kill()
        self.stop()

    def stop(self, seconds: float = 5.0) -> None:
        """End the process, in order if it will within `seconds`, and give back its pipes."""
        if self.running:
            self._process.terminate()
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for reader, stream in zip(self._readers, (self._process.stdout, self._process.stderr), strict=True):
            reader.join()
            if stream is not None:
                stream.close()


def run_call(
    folder: Path,
    receiver: Sequence[str],
    sender: Sequence[str],
    seconds: float | None = None,
    *,
    impairment: PathImpairment | None = None,
    seed: int = 0,
    two_way: bool = False,
) -> CallRecord:
    """Run one call through real processes and a real connection on 127.0.0.1; files go to `folder`.

    `receiver` and `sender` are further arguments of the two commands. `seconds` after it was set up, the call
    ends early. The path between the two counts all bytes (it adds some 0.05 ms) and is impaired as
    `impairment` and `seed` say. In a `two_way` call the sender shows the receiver as well. Raises
    KeycastError with the sentence of the side that failed.
    """
    token, shown_here = new_token(), folder / "received-back.npy"
    pictures, stats = (
        folder / "received.npy",
        {side: folder / f"{side}.json" for side in ("receiver", "sender")},
    )
    listening = ["--once", "--listen", ANY_PORT, "--view", "none", "--output", str(pictures)]
    there = Process("receiver", [*listening, "--token", token, "--stats", str(stats["receiver"]), *receiver])
    here: Process | None = None
    try:
        there.await_up()
        with counting_path(there.url, impairment, seed) as path:
            calling = ["--connect", path.url, "--token", token, "--stats", str(stats["sender"])]
            showing = ["--view", "none", "--output", str(shown_here)] if two_way else []
            here = Process("sender", [*calling, *showing, *sender])
            _await_sender(here, there, seconds)
            await_receiver(there, over_bad_path=impairment is not None)
    finally:
        for process in (here, there):
            if process is not None:
                process.stop()
    back = None
    if two_way:
        back = record_back(stats["receiver"], stats["sender"], shown_here, path)
    both = {side: last_summary(file) for side, file in stats.items()}
    return CallRecord(both["sender"], both["receiver"], pictures, path.up, path.down, back=back)


def record_back(receiver: Path, sender: Path, pictures: Path, path: ImpairedPath) -> CallRecord:
    """Return the record of a two-way call's other direction, from the `--stats` of both commands.

    Raise KeycastError where nothing was sent or shown there.
    """
    try:
        ours, theirs = last_summary_back(receiver), last_summary_back(sender)
    except KeycastError as error:
        raise KeycastError("Nothing was shown in the other direction of a two-way call.") from error
    earlier = max(0, len(np.load(pictures, mmap_mode="r")) - int(theirs["frames"]))
    return CallRecord(ours, theirs, pictures, path.down, path.up, earlier)


def _await_sender(here: Process, there: Process, seconds: float | None) -> None:
    """Wait for the sender, or stop it after `seconds`; KeycastError of the side that failed first."""
    try:
        if seconds is not None:
            here.answered.wait(_START_SECONDS)
        here.wait(seconds)
    except KeycastError:
        if here.running:  # its time is over
            here.stop()
        elif there.failed:
            raise there.failure() from None
        else:
            raise


def await_receiver(there: Process, *, over_bad_path: bool) -> None:
    """Wait for the receiver; one that a bad path has kept the sender's bye from is asked to hang up."""
    try:
        there.wait(_BYE_SECONDS if over_bad_path else _END_SECONDS)
    except KeycastError:
        if not over_bad_path or not there.running:
            raise
        there.stop()
        if there.failed:
            raise there.failure() from None
