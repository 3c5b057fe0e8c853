"""Debug logging of a call (`--debug`) with the `logging` module, so that a failed one can be explained.

Loggers are named by area, `keycast.signaling`, `keycast.transport` and so on, and tell at DEBUG alone:
nothing is printed by default. What peers and strangers say is escaped here and nowhere before. Tokens,
secrets, keys, pictures and the credentials of session descriptions are never given to a logger.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from types import TracebackType

from shared.errors import RequestError
from shared.runtime.console import printable

ROOT = "keycast"
VARIABLE = "KEYCAST_LOG"
_FORMAT = "%(asctime)s.%(msecs)03d %(name)s: %(message)s"
_Failure = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def logger(area: str) -> logging.Logger:
    """Return the logger of `area`, a word such as "session"."""
    return logging.getLogger(f"{ROOT}.{area}")


@contextlib.contextmanager
def debug_log(debug: bool) -> Iterator[None]:
    """Log to stderr while the block runs, where `debug` or the environment (KEYCAST_LOG=debug) asks for it.

    Raise RequestError where the variable asks for anything else.
    """
    asked = os.environ.get(VARIABLE, "").lower()
    if asked not in ("", "debug"):
        raise RequestError(f"{VARIABLE} must be debug or unset, not {asked!r}.")
    if not (debug or asked):
        yield
        return
    root, handler = logging.getLogger(ROOT), logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Escaping(_FORMAT, "%H:%M:%S"))
    before = root.level, root.propagate
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    root.propagate = False
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.level, root.propagate = before


class _Escaping(logging.Formatter):
    """One line a record, but for tracebacks; nothing in it that a terminal would act on."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the module's name for it
        """Return the line of a record."""
        return printable(super().formatMessage(record))

    def formatException(self, ei: _Failure) -> str:  # noqa: N802 - the module's name for it
        """Return a traceback, a line a line."""
        return "\n".join(map(printable, super().formatException(ei).splitlines()))
