import io
import logging
import sys

import pytest

from shared.errors import KeycastError
from shared.runtime.command import run_command
from shared.runtime.console import Console
from shared.runtime.logs import VARIABLE, debug_log, logger


def told(debug: bool, capsys: pytest.CaptureFixture[str]) -> str:
    with debug_log(debug):
        logger("session").debug("sender: %s", "hello")
    return capsys.readouterr().err


def test_nothing_is_told_unless_it_is_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert told(False, capsys) == ""
    assert told(True, capsys).endswith(" keycast.session: sender: hello\n")
    assert told(False, capsys) == ""
    monkeypatch.setenv(VARIABLE, "debug")
    assert told(False, capsys).count("\n") == 1


def test_what_a_peer_says_cannot_look_like_a_line_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    with debug_log(True):
        logger("session").debug("ended: %s", "bye\n12:00:00.000 keycast.session: \x1b[2Jall is well")
    (line,) = capsys.readouterr().err.splitlines()
    assert "\\n12:00" in line
    assert "\x1b" not in line


def test_a_traceback_is_escaped_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    with debug_log(True):
        logger("call").debug("a call failed", exc_info=KeycastError("bye \x1b[2J"))
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert err.splitlines()[1] == "shared.errors.KeycastError: bye \\x1b[2J"


def test_a_command_logs_where_it_is_asked_to(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def main() -> int:
        logger("session").debug("hello")
        return 0

    assert run_command(main, debug=True) == 0
    assert "keycast.session: hello" in capsys.readouterr().err
    monkeypatch.setenv(VARIABLE, "loud")
    assert run_command(main, debug=False) == 2
    assert capsys.readouterr().err == "error: KEYCAST_LOG must be debug or unset, not 'loud'.\n"
    assert not logging.getLogger("keycast").handlers


def test_no_line_stands_still_between_those_of_a_log() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def shown() -> str:
        out = Terminal()
        console = Console(out, sys.stderr, {})
        console.status([("live", "green"), (" 30.0 fps", "")], 100.0)
        return out.getvalue()

    assert shown().startswith("\r")
    with debug_log(True):
        assert shown() == "live 30.0 fps\n"
