"""Commands end in one sentence and one exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from shared.errors import KeycastError, PeerError, RequestError
from shared.runtime.command import run_command


def raising(error: BaseException) -> Callable[[], int]:
    def main() -> int:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (RequestError("There is no file x; give another."), 2, "error: There is no file x; give another.\n"),
        (KeycastError("The disk is full."), 1, "error: The disk is full.\n"),
        (PeerError("Garbage."), 1, "error: Garbage.\n"),
        (KeyboardInterrupt(), 130, "stopped\n"),
        (ValueError("odd\nmore"), 1, "error: ValueError: odd (internal; run with --debug)\n"),
        (PeerError("a\x1b[2J\nb \u202e"), 1, "error: a\\x1b[2J\\nb \\u202e\n"),
        (ZeroDivisionError(), 1, "error: ZeroDivisionError (internal; run with --debug)\n"),
    ],
)
def test_each_error_is_one_sentence(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(raising(error), debug=False) == code
    assert capsys.readouterr().err == line


def test_the_commands_own_code_is_returned() -> None:
    assert run_command(lambda: 7, debug=False) == 7


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(raising(RequestError("Wrong.")), debug=True) == 2
    shown = capsys.readouterr().err
    assert "Traceback (most recent call last)" in shown
    assert shown.endswith("error: Wrong.\n")


@pytest.mark.slow
@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_no_letter_is_too_much_for_a_terminal(encoding: str, debug: bool) -> None:
    work = "import sys\nfrom shared.runtime.command import run_command\n"
    work += "from shared.runtime.console import Console\n"
    work += "from shared.errors import PeerError\n"
    work += "def main():\n Console(sys.stdout, sys.stderr).say('\\u6f22\\x1b \\U0001f600')\n"
    work += f" raise PeerError('\\u6f22\\x1b')\nraise SystemExit(run_command(main, {debug}))"
    done = subprocess.run(
        [sys.executable, "-c", work],
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stdout == rb"\u6f22\x1b \U0001f600" + b"\n"
    assert done.stderr.endswith(rb"error: \u6f22\x1b" + b"\n")
    assert b"\x1b" not in done.stderr


def test_a_closed_pipe_is_no_traceback() -> None:
    program = (
        "import sys; from shared.runtime.command import run_command\n"
        "def main():\n    for _ in range(100000): print('line')\n    return 0\n"
        "sys.exit(run_command(main, False))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.readline()
        child.stdout.close()
        assert child.wait(20) == 1
        assert child.stderr.read() == b""


def test_sigterm_stops_as_ctrl_c_does_and_lines_leave_as_they_are_printed() -> None:
    work = "import time\nfrom shared.runtime.command import run_command\n"
    work += "def main():\n print('ready')\n time.sleep(60)\n return 0\n"
    work += "raise SystemExit(run_command(main, False))"
    process = subprocess.Popen(
        [sys.executable, "-c", work], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.communicate(timeout=20) == ("", "stopped\n")
    assert process.returncode == 130


def test_sigterm_is_the_callers_again_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert run_command(lambda: 0, debug=False) == 0
    assert signal.getsignal(signal.SIGTERM) is before
