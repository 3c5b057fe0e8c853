"""A checkpoint folder as it lies on the disk, read without torch: config, arrays, and their fingerprint.

`models.checkpoint` reads and writes the same for torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, deserialize

from shared.errors import RequestError
from shared.keypoints import Floats

Array = npt.NDArray[Any]

FORMAT = 1
TENSORS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"
MAX_CONFIG_BYTES = 1 << 20
MAX_TENSORS_BYTES = 2 << 30
# As safetensors calls the types of numbers, and as torch, whose names the fingerprint has.
_TYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


@dataclass(frozen=True)
class Stored:
    """Contents of a checkpoint folder: its config, its arrays by name, and their fingerprint (16 hex).

    Arrays have the type that they are stored in; bfloat16, which NumPy has not, comes as float32.
    """

    config: dict[str, Any]
    arrays: dict[str, Array]
    fingerprint: str


class Weights:
    """The arrays of a model called `name`, each to be taken once: RequestError for what does not fit."""

    def __init__(self, name: str, arrays: Mapping[str, Array]) -> None:
        self.name = name
        self._left = dict(arrays)

    def length(self, key: str) -> int:
        """Return how many numbers the vector `key` has, which is left to be taken."""
        array = self._left.get(key)
        if array is None or array.ndim != 1 or not array.size:
            raise self._unfit(key)
        return array.size

    def take(self, key: str, *shape: int) -> Floats:
        """Return the array `key`, of float32, which must be finite and of this shape."""
        array = self._left.pop(key, None)
        if array is None or array.shape != shape:
            raise self._unfit(key)
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise RequestError(
                f"the weights of {self.name} are not finite float32 numbers (at {key}): use another file"
            )
        return array

    def take_positive(self, key: str, *shape: int) -> Floats:
        """Return such an array, of spreads."""
        array = self.take(key, *shape)
        if not (array > 0).all():
            raise RequestError(
                f"the weights of {self.name} have a spread that is not positive (at {key}): use another file"
            )
        return array

    def skip(self, key: str) -> None:
        """Leave aside an array that only training needs."""
        self._left.pop(key, None)

    def check_all_taken(self) -> None:
        """Raise RequestError where something is left over."""
        if self._left:
            raise self._unfit(min(self._left))

    def _unfit(self, key: str) -> RequestError:
        return RequestError(
            f"the weights do not fit their config.json ({self.name}, first at {key}): use another file"
        )


class Part(NamedTuple):
    """A tensor as the fingerprint sees it: type as torch names it, shape, and its row-major bytes."""

    name: str
    dtype: str
    shape: list[int]
    data: bytes | bytearray | memoryview


def read(folder: Path | str, expect: str | None = None) -> Stored:
    """Read the checkpoint in `folder`; `expect` names the model kind that it must hold.

    Raises RequestError for a folder or file that is missing, too large, truncated, malformed or of another
    kind.
    """
    config = read_config(folder, expect)
    path = tensors_file(folder)
    try:
        entries: dict[str, Mapping[str, Any]] = dict(deserialize(path.read_bytes()))  # type: ignore[no-untyped-call]
        parts = [_part(name, entries[name]) for name in sorted(entries)]
        arrays = {part.name: _array(part) for part in parts}
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise unreadable(path, error) from error
    return Stored(config, arrays, digest(parts, config))


def read_config(folder: Path | str, expect: str | None = None) -> dict[str, Any]:
    """Return the config of the checkpoint in `folder`. Raises as `read`."""
    folder = Path(folder)
    if not folder.is_dir():
        raise RequestError(f"There is no checkpoint folder at {folder}; give one that holds {TENSORS_NAME}.")
    path = folder / CONFIG_NAME
    raw = _checked_file(path, MAX_CONFIG_BYTES).read_bytes()
    try:
        config = json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{path} is not valid JSON ({error}); use an intact checkpoint.") from error
    return check_config(config, path, expect)


def check_config(config: object, path: Path, expect: str | None) -> dict[str, Any]:
    """Return `config`, which is or will be in `path`; RequestError unless it is that of a checkpoint."""
    if not isinstance(config, dict) or not isinstance(config.get("model"), str):
        raise RequestError(f'{path} is not a checkpoint config: it must be an object with a "model" name.')
    if config.get("format") != FORMAT or isinstance(config["format"], bool):
        raise RequestError(
            f"{path} has format {config.get('format')!r}, but this version reads format {FORMAT}."
        )
    if expect is not None and config["model"] != expect:
        raise RequestError(
            f"{path} holds a model of kind {config['model']!r}; one of kind {expect!r} is needed."
        )
    return config


def tensors_file(folder: Path | str) -> Path:
    """Return the file of the tensors in `folder`; RequestError where it is missing or too large."""
    return _checked_file(Path(folder, TENSORS_NAME), MAX_TENSORS_BYTES)


def unreadable(path: Path, error: Exception) -> RequestError:
    """Return what is said of a file of tensors that cannot be read."""
    return RequestError(
        f"{path} is not a readable safetensors file ({error}); copy it again, it may be truncated."
    )


def digest(parts: Iterable[Part], config: Mapping[str, Any]) -> str:
    """Return the first 16 hex digits of SHA-256 over `config` and the tensors.

    Config counts as canonical JSON (sorted keys, no spaces); tensors count each with name, type, shape and
    its row-major bytes. Device, strides and file layout do not count; `parts` come in the order of their
    names.
    """
    sha = hashlib.sha256(_canonical(config))
    for part in parts:
        header = json.dumps([part.name, f"torch.{part.dtype}", part.shape])
        sha.update(b"\0" + header.encode() + b"\0")
        sha.update(part.data)
    return sha.hexdigest()[:16]


def _part(name: str, entry: Mapping[str, Any]) -> Part:
    return Part(name, _TYPES[entry["dtype"]], list(entry["shape"]), entry["data"])


def _array(part: Part) -> Array:
    if part.dtype == "bfloat16":
        # Its 16 bits are the upper ones of a float32.
        wide = np.frombuffer(part.data, np.uint16).astype(np.uint32) << 16
        return wide.view(np.float32).reshape(part.shape)
    return np.frombuffer(part.data, np.dtype(part.dtype)).reshape(part.shape)


def _canonical(config: Mapping[str, Any]) -> bytes:
    return json.dumps(config, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _checked_file(path: Path, limit: int) -> Path:
    try:
        size = path.stat().st_size if path.is_file() else None
    except OSError as error:
        raise RequestError(f"Cannot read {path} ({error}); check its permissions.") from error
    if size is None:
        raise RequestError(f"{path} is missing; a checkpoint folder holds {TENSORS_NAME} and {CONFIG_NAME}.")
    if size > limit:
        raise RequestError(f"{path} has {size} bytes, more than the {limit} allowed; use another checkpoint.")
    return path
