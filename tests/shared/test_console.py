import io
from collections.abc import Mapping

import pytest

from shared.runtime.console import Console, clock, spaced, trimmed

LIVE = [("live", "green"), ("  0:07", ""), ("  loss 3 %", "yellow")]


class Terminal(io.StringIO):
    """What a terminal shows of what is written to it; it knows \\r and "erase the line"."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    @property
    def lines(self) -> list[str]:
        shown = [""]
        for piece in self.getvalue().replace("\n", "\r\n\0").split("\r"):
            if piece.startswith("\n\0"):
                shown.append(piece[2:])
            elif piece.startswith("\x1b[2K"):
                shown[-1] = piece.removeprefix("\x1b[2K")
            else:
                shown[-1] = piece + shown[-1][len(piece) :]
        return shown


def console(
    out: io.StringIO, environ: Mapping[str, str] | None = None, columns: int = 80
) -> tuple[Console, io.StringIO]:
    err = io.StringIO()
    return Console(out, err, environ or {"TERM": "xterm"}, lambda: columns), err


def test_a_terminal_has_one_line_that_is_rewritten() -> None:
    out = Terminal()
    shown, _ = console(out, {"TERM": "xterm", "NO_COLOR": "1"})
    shown.status([("connecting", "cyan"), ("  and some more", "")], 0.0)
    shown.status(LIVE, 0.5)
    assert out.lines == ["live  0:07  loss 3 %"]
    shown.say("saved a.png", "as asked")
    assert out.lines == ["saved a.png", "as asked", "live  0:07  loss 3 %"]
    shown.close()
    assert out.lines == ["saved a.png", "as asked", ""]


def test_a_note_on_stderr_does_not_stand_on_the_status_line() -> None:
    out = Terminal()
    # As on a terminal, both streams go to the same place.
    shown = Console(out, out, {"TERM": "xterm", "NO_COLOR": "1"}, lambda: 80)
    shown.status(LIVE, 0.0)
    shown.note("The connection is lost; calling again.")
    assert out.lines == ["note: The connection is lost; calling again.", "live  0:07  loss 3 %"]


def test_the_same_again_is_not_written_again() -> None:
    out = Terminal()
    shown, _ = console(out)
    shown.status(LIVE, 0.0)
    before = out.getvalue()
    shown.status(LIVE, 0.5)
    assert out.getvalue() == before


def test_colours_unless_asked_not_to() -> None:
    for environ, coloured in (
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
    ):
        out = Terminal()
        console(out, environ)[0].status(LIVE, 0.0)
        assert ("\x1b[32mlive\x1b[0m" in out.getvalue()) is coloured


def test_a_narrow_terminal_cuts_the_line() -> None:
    out = Terminal()
    shown, _ = console(out, {"TERM": "xterm", "NO_COLOR": "1"}, columns=14)
    shown.status(LIVE, 0.0)
    # Room for ^C stays.
    assert out.lines == ["live  0:07"]


@pytest.mark.parametrize("environ", [{"TERM": "xterm"}, {"TERM": "dumb"}])
def test_elsewhere_lines_are_few_and_plain(environ: dict[str, str]) -> None:
    out: io.StringIO = io.StringIO() if environ["TERM"] == "xterm" else Terminal()
    shown, err = console(out, environ)
    for tenth in range(300):
        state = "forecasting" if 120 <= tenth < 125 else "stalled" if 125 <= tenth < 180 else "live"
        shown.status([(state, "green"), (f"  {tenth}", "")], tenth / 10)
    shown.close()
    # Each ten seconds and at each change; of two changes within two seconds the later one.
    assert out.getvalue().split("\n") == [
        "live  0", "live  100", "forecasting  120", "stalled  140", "live  180", "live  280", ""
    ]  # fmt: skip
    assert err.getvalue() == ""
    assert not shown.blocks


def test_a_state_without_figures_fills_no_log() -> None:
    out = io.StringIO()
    shown, _ = console(out)
    for second in range(100):
        shown.status([("listening", "cyan")] if second != 50 else LIVE, float(second))
    assert out.getvalue() == "live  0:07  loss 3 %\n"


def test_a_reader_that_has_gone_ends_the_status_and_is_told_at_the_next_line() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:  # noqa: ARG002
            raise BrokenPipeError

    shown, _ = console(Closed())
    shown.status(LIVE, 0.0)
    shown.status(LIVE, 20.0)
    with pytest.raises(BrokenPipeError):
        shown.say("done")


def test_blocks_need_a_terminal_that_can_show_them() -> None:
    latin = Terminal()
    latin.encoding = "latin-1"  # type: ignore[misc]
    assert console(Terminal())[0].blocks
    assert not console(latin)[0].blocks
    assert not console(io.StringIO())[0].blocks


HOSTILE = "\x1b]0;title\x07\x1b[2J\r\nlistening\x9b31m \u202e\u2028 \udc80 über"
ESCAPED = r"\x1b]0;title\x07\x1b[2J\r\nlistening\x9b31m \u202e\u2028 \udc80 über"


def test_what_others_say_cannot_act_on_a_terminal_nor_look_like_another_line() -> None:
    out = Terminal()
    shown, err = console(out, {"TERM": "xterm", "NO_COLOR": "1"}, columns=200)
    shown.say(HOSTILE, "and on")
    shown.complain(HOSTILE)
    shown.note(HOSTILE)
    shown.status([("live", "green"), (HOSTILE, "")], 0.0)
    assert out.lines == [ESCAPED, "and on", f"live{ESCAPED}"]
    assert err.getvalue() == f"{ESCAPED}\nnote: {ESCAPED}\n"
    log = io.StringIO()
    console(log)[0].status([("live", ""), (HOSTILE, "")], 0.0)
    assert log.getvalue() == f"live{ESCAPED}\n"


def test_pieces_of_a_line() -> None:
    assert spaced([("a", "red"), ("b", "")]) == [("a", "red"), ("  b", "")]
    assert trimmed(LIVE, 6) == [("live", "green"), ("  ", "")]
    assert trimmed(LIVE, 0) == []
    assert [clock(seconds) for seconds in (7.9, 754, 3723)] == ["0:07", "12:34", "1:02:03"]
