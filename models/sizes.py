"""The sizes of a network, as a checkpoint folder gives them: checked before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any, ClassVar, Protocol, TypeVar

from shared.errors import RequestError

MAX_SIZE = 4096


class Sizes(Protocol):
    """A dataclass whose every field has a default, of the type that it must have."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


SizesT = TypeVar("SizesT", bound=Sizes)


def read_sizes(kind: type[SizesT], values: Mapping[str, Any], name: str) -> SizesT:
    """Build sizes from `values`, where what is left out takes its default.

    Raises RequestError, which calls the network `name`, for an unknown entry or a value of another type.
    """
    kinds: dict[str, type] = {field.name: type(field.default) for field in fields(kind)}
    for entry, value in values.items():
        if entry not in kinds:
            raise RequestError(f"The {name} config has an unknown entry {entry!r}; remove it.")
        sane = isinstance(value, bool) or (isinstance(value, int | float) and 0 < value <= MAX_SIZE)
        if not sane or type(value) is not kinds[entry]:
            raise RequestError(f"No {name} can have {entry} = {value!r}; correct its config.")
    return kind(**values)
