"""Secrets that need not stand on a command line, where every user of the machine can read them."""

from __future__ import annotations

import os
from pathlib import Path

from shared.errors import RequestError

TOKEN = "KEYCAST_TOKEN"


def from_environment(name: str) -> str | None:
    """Return what the variable `name` holds, or the file that `name`_FILE names; None where neither is set.

    Space around a file's text goes. Raise RequestError where both are set, or the file cannot be read.
    """
    value, path = os.environ.get(name), os.environ.get(f"{name}_FILE")
    if not path:
        return value or None
    if value:
        raise RequestError(f"Both {name} and {name}_FILE are set; unset one of them.")
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or "it is not text"
        raise RequestError(f"Cannot read {path}, which {name}_FILE names: {cause}.") from error
