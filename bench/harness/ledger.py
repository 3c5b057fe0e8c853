"""Progress of a long measurement, kept in a file as it goes: a stopped run resumes where it was."""

from __future__ import annotations

import json
from collections.abc import Hashable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from shared.errors import KeycastError, RequestError

if TYPE_CHECKING:
    from dataclasses import Field


class Finished(Protocol):
    """A dataclass of plain values, and the `place` it holds the figures of."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def place(self) -> Hashable:
        """What was measured; no two units of a ledger share it."""
        ...


UnitT = TypeVar("UnitT", bound=Finished)


class Ledger(Generic[UnitT]):
    """Finished units, a JSON line each in a file where there is one.

    The file's first line says of which settings they are. RequestError where they are others, or the file
    is not a ledger.
    """

    def __init__(self, path: Path | None, settings: dict[str, object], kind: type[UnitT]) -> None:
        self._path, self._kind = path, kind
        self._units: dict[Hashable, UnitT] = {}
        if path is None:
            return
        first = json.dumps(settings, sort_keys=True)
        if path.exists():
            self._read(path, first)
        else:
            self._append(first)

    @property
    def units(self) -> list[UnitT]:
        """All units, in the order in which they were finished."""
        return list(self._units.values())

    def find(self, place: Hashable) -> UnitT | None:
        """Return the unit of `place`, None where it is still to be done."""
        return self._units.get(place)

    def add(self, unit: UnitT) -> None:
        """Keep `unit`."""
        self._units[unit.place] = unit
        if self._path is not None:
            self._append(json.dumps(asdict(unit)))

    def _read(self, path: Path, first: str) -> None:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        if lines[0] != first:
            raise RequestError(
                f"{path} holds results for other settings or weights; delete it, or choose another --report."
            )
        whole = lines[1:-1]
        if lines[-1]:
            # A kill in the middle of a line: what it said is measured again.
            path.write_text("\n".join([first, *whole, ""]), encoding="utf-8")
        try:
            self._units = {unit.place: unit for unit in (self._kind(**json.loads(line)) for line in whole)}
        except (ValueError, TypeError) as error:
            raise RequestError(f"{path} is damaged ({error}); delete it to start over.") from error

    def _append(self, line: str) -> None:
        assert self._path is not None
        try:
            with self._path.open("a", encoding="utf-8") as out:
                out.write(f"{line}\n")
        except OSError as error:
            raise KeycastError(f"Writing {self._path} failed: {error.strerror}; free some space.") from error
