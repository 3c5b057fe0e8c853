"""Networks by name: what `--backbone`, `--checkpoint`, `--forecaster` and `--device` mean everywhere."""

from __future__ import annotations

from pathlib import Path

from models.devices import choose_device
from models.head.finder import NetworkHeadFinder
from models.landmarks.finder import LandmarkFinder
from models.lite.backbone import LiteBackbone
from models.stored import read_config
from models.threads import one_thread, use_threads
from shared.config import BACKBONES
from shared.errors import RequestError
from shared.heads import HeadFinder
from shared.interfaces import Backbone
from shared.tables import CodecTables

__all__ = [
    "SHIPPED", "TABLES", "choose_device", "load_backbone", "load_head_finder", "load_tables", "one_thread",
    "use_threads",
]  # fmt: skip

TABLES = "codec.safetensors"
SHIPPED = Path(__file__).parent / "weights"


# What the weights of a backbone that is not shipped are called, and a file of them.
_PUBLISHED = {
    "fomm": ("First Order Motion Model", "vox-cpk.pth.tar"),
    "tps": ("Thin-Plate-Spline Motion Model", "vox.pth.tar"),
    "nth": ("neural talking head", "00000189-checkpoint.pth.tar of Vox-256-New"),
}


def load_backbone(name: str | None = None, path: Path | None = None, device: str = "auto") -> Backbone:
    """Build the backbone called `name` from the weights at `path`.

    The lite backbone's weights are shipped; the others need a public checkpoint. Without a name it is what
    the weights are of: fomm for a published file, what a folder says, lite for none.
    Raises RequestError, in one sentence, for whatever is missing or does not fit.
    """
    where = choose_device(device)
    if name is None:
        name = _named_by(path)
    if name == "lite":
        return LiteBackbone.load(path or SHIPPED / "lite", where)
    if name not in _PUBLISHED:
        raise RequestError(f"There is no backbone {name!r}; choose from: {', '.join(BACKBONES)}.")
    if path is None:
        called, file = _PUBLISHED[name]
        raise RequestError(
            f"The {name} backbone needs --checkpoint with a published {called} file, such as {file}; "
            "without one, use --backbone lite."
        )
    return _load_published(name, path, where)


def _named_by(path: Path | None) -> str:
    if path is None:
        return "lite"
    if path.is_file():
        return "fomm"
    name = read_config(path).get("model")
    return name if name in BACKBONES else "lite"


def _load_published(name: str, path: Path, device: str) -> Backbone:
    # Imported here, with torch, which the lite network does without on a CPU.
    if name == "tps":
        from models.tps.backbone import TpsBackbone

        return TpsBackbone.load(path, device)
    if name == "nth":
        from models.nth.backbone import NthBackbone

        return NthBackbone.load(path, device)
    from models.fomm.backbone import FommBackbone

    return FommBackbone.load(path, device)


def load_tables(backbone: Backbone, path: Path | None) -> CodecTables | None:
    """Return the codec tables that lie beside the weights `backbone` was loaded from; None without any.

    In a folder of weights they are `codec.safetensors`; beside a published file, NAME.codec.safetensors.
    Raises RequestError where they are damaged or of another detector.
    """
    folder = path or SHIPPED / backbone.name
    file = folder / TABLES if folder.is_dir() else folder.with_name(f"{folder.name}.{TABLES}")
    if not file.exists():
        return None
    tables = CodecTables.load(file)
    if tables.tracks_of != backbone.detector:
        raise RequestError(
            f"The codec tables {file} are of other weights ({tables.tracks_of}); make them again with "
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
