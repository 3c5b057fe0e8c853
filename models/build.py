"""Networks by name: what `--backbone`, `--checkpoint`, `--forecaster` and `--device` mean everywhere."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from models import stored
from models.devices import choose_device, device_facts, device_words
from models.entry import WEIGHTS, Entry
from models.head.finder import NetworkHeadFinder
from models.landmarks.finder import LandmarkFinder
from models.threads import one_thread, use_threads
from shared.codec.tables import CodecTables
from shared.constants import BACKBONES
from shared.errors import RequestError
from shared.interfaces import Backbone
from shared.media.heads import HeadFinder

__all__ = [
    "SHIPPED", "TABLES", "choose_device", "device_facts", "load_backbone", "load_head_finder", "load_stages",
    "load_tables", "network_facts", "network_words", "one_thread", "use_threads",
]  # fmt: skip

if TYPE_CHECKING:
    from models.stages import Network

TABLES = "codec.safetensors"
SHIPPED = WEIGHTS
_USUAL, _PUBLISHED = "lite", "fomm"


def load_backbone(name: str | None = None, path: Path | None = None, device: str = "auto") -> Backbone:
    """Build the backbone called `name`, one of `shared.constants.BACKBONES`, from the weights at `path`.

    Some have weights that came with the project, the full First Order Motion Model needs a public checkpoint.
    Without a name it is what the weights are of: fomm for a published file, for a folder what its config
    says, lite for none. A GPU that cannot run it is left for the CPU, with a warning, where `device` is
    "auto". Raises RequestError, in one sentence, for whatever is missing or does not fit.
    """
    entry, where = _entry(name or _named_by(path)), choose_device(device)
    if where == "cpu":
        return entry.load(path, where)
    from models.gpu import on_gpu

    return on_gpu(lambda place: entry.load(path, place), insist=device == "cuda")


def network_facts(backbone: Backbone) -> dict[str, str]:
    """Return what runs `backbone` now, as reports give it: engine, precision, device and what it is."""
    facts = {"backbone": backbone.name, "engine": backbone.engine, "precision": backbone.precision}
    return {**facts, **device_facts(backbone.device)}


def network_words(backbone: Backbone) -> str:
    """Return what runs `backbone` now, in words, such as "lite on the CPU (openvino, float32)"."""
    where = device_words(backbone.device)
    return f"{backbone.name} on {where} ({backbone.engine}, {backbone.precision})"


def load_stages(name: str, path: Path | None = None) -> Network:
    """Return the network of the backbone `name` in torch, stage by stage. Raises as `load_backbone`."""
    return _entry(name).stages(path)


def _entry(name: str) -> Entry:
    if name not in BACKBONES:
        raise RequestError(f"There is no backbone {name!r}; choose from: {', '.join(BACKBONES)}.")
    entry: Entry = importlib.import_module(f"models.{name}.entry").ENTRY
    return entry


def _named_by(path: Path | None) -> str:
    """Return the backbone whose weights lie at `path`; the usual one where that cannot be determined."""
    if path is None or not path.exists():
        return _USUAL
    if path.is_file():
        return _PUBLISHED
    model = str(stored.read_config(path)["model"])
    return model if model in BACKBONES else _USUAL


def load_tables(backbone: Backbone, path: Path | None) -> CodecTables | None:
    """Return the codec tables that lie next to the weights `backbone` was loaded from; None without any.

    In a folder of weights they are `codec.safetensors`; next to a published file, NAME.codec.safetensors.
    Raises RequestError where they are damaged or of another detector.
    """
    folder = path or SHIPPED / backbone.name
    file = folder / TABLES if folder.is_dir() else folder.with_name(f"{folder.name}.{TABLES}")
    if not file.exists():
        return None
    tables = CodecTables.load(file)
    if tables.tracks_of != backbone.detector:
        raise RequestError(
            f"The codec tables {file} were made for other weights ({tables.tracks_of}); make them again with "
            "python -m models.training codec, or remove them."
        )
    if tables.dimensions != backbone.layout.dimensions:
        raise RequestError(
            f"The codec tables {file} are for {tables.dimensions} numbers a frame, not the backbone's "
            f"{backbone.layout.dimensions}; make them again with python -m models.training codec."
        )
    return tables


def load_head_finder() -> HeadFinder:
    """Return the shipped head finder; RequestError where its weights are damaged. One thread owns it."""
    return NetworkHeadFinder.load(SHIPPED / "head")


def load_landmark_finder(models: Path) -> LandmarkFinder:
    """Return the landmark finder of the networks in the folder `models`, which are not shipped.

    RequestError where they are missing or others, KeycastError without OpenVINO. One thread owns it.
    """
    return LandmarkFinder(models, load_head_finder())
