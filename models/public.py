"""Checkpoints as others publish them: one file of torch, a dictionary of state dicts among other things."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from models import checkpoint
from shared.errors import RequestError

# The largest one that is served, optimisers and discriminator included, has 2.1 GB.
MAX_BYTES = 4 << 30

State = dict[str, Tensor]
Network = TypeVar("Network", bound=nn.Module)


def read_parts(path: Path, needed: Sequence[str], name: str, example: str) -> dict[str, State]:
    """Return the tensors of the networks `needed` from the file `path`, by their published names.

    A file is only ever read as data (`weights_only=True`): code in it is refused. Raises RequestError, which
    calls the model `name` and names an `example` to use, for anything that is not intact or lacks a network.
    """
    stored = _read(path, name)
    if not isinstance(stored, dict) or any(not _is_state(stored.get(part)) for part in needed):
        parts = " and ".join([", ".join(f'"{part}"' for part in needed[:-1]), f'"{needed[-1]}"'])
        raise RequestError(
            f"{path} is not a {name} checkpoint (it needs {parts} weights); download one such as {example}."
        )
    return {part: stored[part] for part in needed}


def from_parts(build: Callable[[], Network], parts: Mapping[str, State], path: Path) -> Network:
    """Return what `build` makes, with `parts`, its networks' tensors by name, that were read from `path`.

    Built on the meta device: nothing is allocated before the tensors of the file are known to fit.
    """
    with torch.device("meta"):
        network = build()
    for name, tensors in parts.items():
        checkpoint.load_tensors(getattr(network, name), tensors, f"{name} of {path}")
    return network


def from_folder(
    build: Callable[[Mapping[str, object]], Network], path: Path, kind: str, name: str
) -> Network:
    """Load a checkpoint folder of our own format: `build` makes a network of `kind` from its sizes.

    Raises RequestError, which calls the model `name`, for anything else.
    """
    stored = checkpoint.load(path, expect=kind)
    sizes = stored.config.get("sizes")
    if not isinstance(sizes, dict):
        raise RequestError(f'The config in {path} has no "sizes" object; use an intact {name} checkpoint.')
    with torch.device("meta"):
        network = build(sizes)
    checkpoint.load_into(network, stored)
    return network


def _is_state(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) and tensor.layout is torch.strided
        for name, tensor in value.items()
    )


def _read(path: Path, name: str) -> object:
    if not path.is_file():
        raise RequestError(
            f"There is no {name} checkpoint at {path}; give a .pth file or a checkpoint folder."
        )
    try:
        size = _unpacked_size(path)
        stored: object = (
            torch.load(path, map_location="cpu", weights_only=True) if size <= MAX_BYTES else None
        )
    # On a damaged or hostile file the restricted unpickler fails with any exception at all.
    except Exception as error:
        raise RequestError(
            f"{path} is truncated, damaged or holds more than weights, and was not loaded; download it again."
        ) from error
    if size > MAX_BYTES:
        raise RequestError(f"{path} unpacks to {size} bytes, more than {MAX_BYTES}; use another checkpoint.")
    return stored


def _unpacked_size(path: Path) -> int:
    """Return the size in memory, before anything is unpacked: a zip archive may be a bomb."""
    if not zipfile.is_zipfile(path):
        return path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        return sum(entry.file_size for entry in archive.infolist())
