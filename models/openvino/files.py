"""Graphs in files next to the weights they are made of, so that a call needs no torch to make them.

A checkpoint folder's `openvino` holds NAME.xml and NAME.bin of each stage, those of `render-int8` where that
was calibrated, and `graphs.json`: the weights' fingerprint and the files' SHA-256. A graph is more than
numbers, so nothing else than what is listed there is ever read, and it is read only for the weights it was
made of.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from models.openvino.engine import STAGES, StageName
from models.openvino.runtime import EngineError, Model, failure, openvino
from shared.errors import RequestError

FOLDER = "openvino"
LIST = "graphs.json"
MAX_BYTES = 256 << 20
FORM = 2
"""Of the graphs: what they take and return. Those of another one are made anew."""
INT8 = "render-int8"
_SUFFIXES = (".xml", ".bin")
_FILES = tuple(f"{stage}{suffix}" for stage in STAGES for suffix in _SUFFIXES)
_INT8_FILES = tuple(f"{INT8}{suffix}" for suffix in _SUFFIXES)


class NoGraphsError(EngineError):
    """There are no graphs of these weights, which is no fault."""


class GraphFiles:
    """Implements `models.openvino.engine.Graphs` for the checkpoint folder `folder`.

    `fingerprint` is that of its weights. Raises NoGraphsError where there are no graphs of these weights,
    EngineError where they are not as they were written.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._folder = folder / FOLDER
        self._hashes = _listed(self._folder / LIST, fingerprint)
        for name in self._hashes:
            self._read(name)

    @property
    def has_int8(self) -> bool:
        """Whether rendering is to be had in int8."""
        return _INT8_FILES[0] in self._hashes

    def key(self, stage: StageName, *, int8: bool = False) -> str:
        """Return the SHA-256 of a stage's files."""
        name = INT8 if int8 else stage
        return " ".join(self._hashes[f"{name}{suffix}"] for suffix in _SUFFIXES)

    def model(self, stage: StageName, *, int8: bool = False) -> Model:
        """Return the graph of one stage; see `Graphs.model`."""
        name = INT8 if int8 else stage
        graph, weights = (self._read(f"{name}{suffix}") for suffix in _SUFFIXES)
        ov = openvino()
        try:
            # From memory: what is parsed is what was checked.
            return ov.Core().read_model(graph, weights)
        except RuntimeError as error:
            raise failure(error) from error

    def _read(self, name: str) -> bytes:
        path = self._folder / name
        try:
            content = path.read_bytes() if path.stat().st_size <= MAX_BYTES else b""
        except OSError as error:
            raise EngineError(f"The graph {path} cannot be read ({error.strerror}).") from error
        if hashlib.sha256(content).hexdigest() != self._hashes[name]:
            raise EngineError(f"The graph {path} is not the one that {LIST} lists.")
        return content


def write_graphs(
    folder: Path,
    fingerprint: str,
    models: Mapping[str, Model],
    check: Callable[[GraphFiles], object],
) -> int:
    """Write the graphs of all stages, and INT8, into the checkpoint folder `folder`; return their bytes.

    `check` looks at them as a call will read them; what it raises is passed on, and nothing has changed then.
    RequestError where they cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as temporary:
            written, target = Path(temporary, FOLDER), folder / FOLDER
            written.mkdir()
            for name, model in models.items():
                openvino().save_model(model, written / f"{name}.xml", compress_to_fp16=False)
            names = [f"{name}{suffix}" for name in models for suffix in _SUFFIXES]
            hashes = {name: hashlib.sha256((written / name).read_bytes()).hexdigest() for name in names}
            listed = json.dumps({"fingerprint": fingerprint, "form": FORM, "sha256": hashes}, indent=1)
            (written / LIST).write_text(f"{listed}\n", encoding="utf-8")
            check(GraphFiles(Path(temporary), fingerprint))
            target.mkdir(exist_ok=True)
            # The list last: until it is there, what it does not list is not read.
            for name in (*names, LIST):
                os.replace(written / name, target / name)
            for name in {*_INT8_FILES} - {*names}:
                (target / name).unlink(missing_ok=True)
            return sum((target / name).stat().st_size for name in (*names, LIST))
    except OSError as error:
        raise RequestError(f"Cannot write graphs to {folder} ({error}); choose another folder.") from error


def _listed(path: Path, fingerprint: str) -> dict[str, str]:
    """Return the SHA-256 of each file, as the list at `path` has it. Raises as `GraphFiles`."""
    try:
        listed = json.loads(path.read_bytes()[: 1 << 16])
        files = _FILES + (_INT8_FILES if _INT8_FILES[0] in listed["sha256"] else ())
        hashes = {name: str(listed["sha256"][name]) for name in files}
    except OSError as error:
        raise NoGraphsError(f"There are no graphs: {path} cannot be read ({error.strerror}).") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise EngineError(f"{path} does not list the graphs that this version reads.") from error
    if listed.get("form") != FORM:
        raise NoGraphsError(f"The graphs in {path.parent} were written by another version.")
    if listed.get("fingerprint") != fingerprint:
        raise NoGraphsError(f"The graphs in {path.parent} were made from other weights.")
    return hashes
