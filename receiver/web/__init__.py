"""The viewer page's own files, as browsers get them: no build step, no framework, nothing from elsewhere."""

from __future__ import annotations

from importlib.resources import files

_SUFFIXES = (".html", ".css", ".js", ".svg")


def page_files() -> dict[str, bytes]:
    """Return every file of the page by name."""
    folder = files(__name__)
    return {item.name: item.read_bytes() for item in folder.iterdir() if item.name.endswith(_SUFFIXES)}
