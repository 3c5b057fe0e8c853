"""Checkpoints: a folder with `model.safetensors` and `config.json`, named by a fingerprint of the contents.

Two machines hold the same weights exactly when their fingerprints are equal, however the files are laid out.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from shared.errors import RequestError

FORMAT = 1
TENSORS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"
MAX_CONFIG_BYTES = 1 << 20
MAX_TENSORS_BYTES = 2 << 30
FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint folder holds: its config, its tensors by name, and their fingerprint (16 hex)."""

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    fingerprint: str


def fingerprint(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> str:
    """Return the first 16 hex digits of SHA-256 over `config` and `tensors`.

    Config counts as canonical JSON (sorted keys, no spaces); tensors count in the order of their names, each
    with name, dtype, shape and its row-major bytes. Device, strides and file layout do not count.
    """
    digest = hashlib.sha256(_canonical(config))
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        header = json.dumps([name, str(tensor.dtype), list(tensor.shape)])
        digest.update(b"\0" + header.encode() + b"\0")
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def save(folder: Path | str, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> str:
    """Write a checkpoint to `folder` (made where missing) and return its fingerprint.

    `config` needs "model" (str); "format" is filled in. Tensors keep their dtype. Each file is written beside
    its place and renamed into it, so that an interrupted save never leaves half a file. Raises RequestError
    if the config is unusable or the folder cannot be written.
    """
    folder = Path(folder)
    complete = {**config, "format": FORMAT}
    _check_config(complete, folder / CONFIG_NAME, None)
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
    folder = Path(folder)
    if not folder.is_dir():
        raise RequestError(f"There is no checkpoint folder at {folder}; give one that holds {TENSORS_NAME}.")
    config = _read_config(folder / CONFIG_NAME, expect)
    tensors = _read_tensors(folder / TENSORS_NAME)
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


def _canonical(config: Mapping[str, Any]) -> bytes:
    return json.dumps(config, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _check_config(config: object, path: Path, expect: str | None) -> dict[str, Any]:
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


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _read_config(path: Path, expect: str | None) -> dict[str, Any]:
    raw = _checked_file(path, MAX_CONFIG_BYTES).read_bytes()
    try:
        config = json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{path} is not valid JSON ({error}); use an intact checkpoint.") from error
    return _check_config(config, path, expect)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(_checked_file(path, MAX_TENSORS_BYTES), device="cpu")
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise RequestError(
            f"{path} is not a readable safetensors file ({error}); copy it again, it may be truncated."
        ) from error


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
