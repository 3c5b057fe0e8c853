"""Checkpoints for torch: a folder with `model.safetensors` and `config.json`, named by a fingerprint.

Two machines hold the same weights exactly when their fingerprints are equal, however the files are laid out.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.stored import (
    CONFIG_NAME,
    FORMAT,
    TENSORS_NAME,
    Part,
    check_config,
    digest,
    read_config,
    tensors_file,
    unreadable,
)
from shared.errors import RequestError

FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}


@dataclass(frozen=True)
class Checkpoint:
    """Contents of a checkpoint folder: its config, its tensors by name, and their fingerprint (16 hex)."""

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    fingerprint: str


def fingerprint(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> str:
    """Return what names `tensors` and `config`: 16 hex digits, as `models.stored.digest` says."""
    return digest(_parts(tensors), config)


def _parts(tensors: Mapping[str, Tensor]) -> Iterator[Part]:
    for name, tensor in sorted(tensors.items()):
        dense = tensor.detach().cpu().contiguous()
        data = dense.reshape(-1).view(torch.uint8).numpy().data
        yield Part(name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape), data)


def save(folder: Path | str, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> str:
    """Write a checkpoint to `folder` (made where missing) and return its fingerprint.

    `config` needs "model" (str); "format" is filled in. Tensors keep their dtype. Each file is written next
    to its place and renamed into it, so that an interrupted save never leaves half a file. Raises
    RequestError if the config is unusable or the folder cannot be written.
    """
    folder = Path(folder)
    complete = {**config, "format": FORMAT}
    check_config(complete, folder / CONFIG_NAME, None)
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    text = json.dumps(complete, indent=1, sort_keys=True, allow_nan=False) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as temporary:
            save_file(plain, Path(temporary, TENSORS_NAME))
            Path(temporary, CONFIG_NAME).write_text(text, encoding="utf-8")
            for name in (TENSORS_NAME, CONFIG_NAME):
                os.replace(Path(temporary, name), folder / name)
    except (OSError, SafetensorError) as error:
        raise RequestError(
            f"Cannot write the checkpoint to {folder} ({error}); choose another folder."
        ) from error
    return fingerprint(plain, complete)


def load(folder: Path | str, expect: str | None = None) -> Checkpoint:
    """Read the checkpoint in `folder` onto the CPU; `expect` names the model kind that it must hold.

    Raises RequestError for a folder or file that is missing, too large, truncated, malformed or of another
    kind.
    """
    config = read_config(folder, expect)
    path = tensors_file(folder)
    try:
        tensors = load_file(path, device="cpu")
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise unreadable(path, error) from error
    return Checkpoint(config, tensors, fingerprint(tensors, config))


def load_into(module: nn.Module, checkpoint: Checkpoint) -> None:
    """Copy the tensors of `checkpoint` into `module`; RequestError unless all names and shapes match."""
    load_tensors(module, checkpoint.tensors, f"The checkpoint of {checkpoint.config.get('model')!r}")


def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Copy `tensors` into `module` strictly; RequestError says about `what` which name or shape differs.

    Floating tensors are converted to the dtype of the module; NaN and infinity are refused. A module built on
    the meta device, which saves initialising it, takes over the tensors themselves.
    """
    wanted = module.state_dict()
    differences = [
        *(f"{name} is missing" for name in wanted if name not in tensors),
        *(f"{name} is unknown" for name in tensors if name not in wanted),
        *(
            f"{name} has shape {tuple(tensors[name].shape)} instead of {tuple(tensor.shape)}"
            for name, tensor in wanted.items()
            if name in tensors and tensors[name].shape != tensor.shape
        ),
    ]
    if differences:
        more = f" and {len(differences) - 1} more" if len(differences) > 1 else ""
        raise RequestError(
            f"{what} does not fit this network ({differences[0]}{more}); use matching weights."
        )
    converted = {name: _converted(name, tensors[name], tensor, what) for name, tensor in wanted.items()}
    module.load_state_dict(converted, assign=any(tensor.is_meta for tensor in wanted.values()))


def _converted(name: str, tensor: Tensor, wanted: Tensor, what: str) -> Tensor:
    if tensor.dtype != wanted.dtype and not {tensor.dtype, wanted.dtype} <= FLOATS:
        raise RequestError(
            f"{what} does not fit this network ({name} is {tensor.dtype}); use matching weights."
        )
    converted = tensor.to(wanted.dtype).contiguous()
    if not bool(torch.isfinite(converted).all()):
        raise RequestError(f"{what} is unusable ({name} holds NaN or infinity); use intact weights.")
    return converted
