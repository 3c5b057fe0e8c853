"""Console output of a running command: lines that stay, and on a terminal a live status line.

What others have said may stand in it (peers, servers, file names): control characters are escaped here, and
nowhere before. `shared.runtime.command` sees to it that any stdout takes any letter.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

COLOURS = {"green": 32, "yellow": 33, "red": 31, "cyan": 36, "grey": 90}
EVERY_SECONDS = 10.0
"""Interval of status lines where they cannot be rewritten; a changed state is printed sooner."""
MIN_SECONDS = 2.0
# What Ctrl-C echoes fits behind the line, or it would wrap.
_SPARE_COLUMNS = 4
_BEGIN_AND_CLEAR = "\r\x1b[2K"

Part = tuple[str, str]
"""A piece of a status line and its colour, a key of `COLOURS` or "" for none."""


def _columns() -> int:
    return shutil.get_terminal_size().columns


class Console:
    """Stdout and stderr of a command. `status` rewrites one line where `out` is a terminal.

    Elsewhere it prints a line every ten seconds or when the state has changed, so that logs stay readable.
    """

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        environ: Mapping[str, str] = os.environ,
        columns: Callable[[], int] = _columns,
    ) -> None:
        self._out, self._err, self._columns = out, err, columns
        logs = logging.getLogger("keycast").isEnabledFor(logging.DEBUG)
        # Between the lines of a log, none can stand still.
        self._rewrites = out.isatty() and environ.get("TERM") != "dumb" and not logs
        self._colours = self._rewrites and not environ.get("NO_COLOR")
        self._standing = ""
        self._state = ""
        self._printed = float("-inf")
        self._broken = False

    @property
    def blocks(self) -> bool:
        """Whether block characters can be shown."""
        return self._rewrites and "utf" in (self._out.encoding or "").lower()

    def say(self, *lines: str) -> None:
        """Print lines."""
        self._print(self._out, *lines)

    def complain(self, line: str) -> None:
        """Print a line to stderr."""
        self._print(self._err, line)

    def note(self, sentence: str) -> None:
        """Print a note to stderr."""
        self.complain(f"note: {sentence}")

    def status(self, parts: Sequence[Part], now: float) -> None:
        """Show `parts` in a row, the first of which is the state, as the status at `now` (monotonic s)."""
        if self._broken:
            return
        shown = [(printable(text), hue) for text, hue in parts]
        try:
            if self._rewrites:
                self._stand(shown)
            else:
                self._log(shown, now)
        except BrokenPipeError:  # reported when something is said
            self._broken = True

    def close(self) -> None:
        """Take the status line away."""
        self._clear()

    def _print(self, stream: TextIO, *lines: str) -> None:
        standing = self._standing
        self._clear()
        print(*map(printable, lines), sep="\n", file=stream, flush=True)
        if standing:
            self._draw(standing)

    def _stand(self, parts: Sequence[Part]) -> None:
        drawn = self._coloured(trimmed(parts, self._columns() - _SPARE_COLUMNS))
        if drawn != self._standing:
            self._draw(drawn)

    def _draw(self, line: str) -> None:
        self._out.write(_BEGIN_AND_CLEAR + line)
        self._out.flush()
        self._standing = line

    def _clear(self) -> None:
        if self._standing:
            self._draw("")

    def _log(self, parts: Sequence[Part], now: float) -> None:
        state, since = parts[0][0], now - self._printed
        if len(parts) == 1:
            # A state without figures, such as waiting for hours, is no news; its beginning has been said.
            self._state = state
        elif since >= EVERY_SECONDS or (state != self._state and since >= MIN_SECONDS):
            self._state, self._printed = state, now
            print("".join(text for text, _ in parts), file=self._out, flush=True)

    def _coloured(self, parts: Sequence[Part]) -> str:
        if not self._colours:
            return "".join(text for text, _ in parts)
        return "".join(f"\x1b[{COLOURS[hue]}m{text}\x1b[0m" if hue else text for text, hue in parts)


def printable(text: str) -> str:
    """Return `text` on one line, without anything that a terminal would act on: as "\\x1b" or "\\n"."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )


def trimmed(parts: Sequence[Part], columns: int) -> list[Part]:
    """Return `parts`, cut where they are longer than `columns` together."""
    left, kept = columns, list[Part]()
    for text, hue in parts:
        if left > 0:
            kept.append((text[:left], hue))
            left -= len(text)
    return kept


def spaced(parts: Sequence[Part]) -> list[Part]:
    """Return `parts` with two spaces before each but the first."""
    return [(f"  {text}" if index else text, hue) for index, (text, hue) in enumerate(parts)]


def clock(seconds: float) -> str:
    """Return 0:07, 12:34 or 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
