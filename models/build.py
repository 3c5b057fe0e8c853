"""Networks by name: what `--backbone`, `--checkpoint`, `--forecaster` and `--device` mean everywhere."""

from __future__ import annotations

from pathlib import Path

from models.devices import choose_device
from models.head.finder import NetworkHeadFinder
from models.landmarks.finder import LandmarkFinder
from models.lite.backbone import LiteBackbone
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


def load_backbone(name: str | None = None, path: Path | None = None, device: str = "auto") -> Backbone:
    """Build the backbone called `name` from the weights at `path`.

    The lite backbone's weights are shipped; the full First Order Motion Model needs a public checkpoint.
    Without a name it is what the weights are of: fomm for a published file, lite for a folder or for none.
    Raises RequestError, in one sentence, for whatever is missing or does not fit.
    """
    where = choose_device(device)
    if name is None:
        name = "fomm" if path is not None and path.is_file() else "lite"
    if name == "lite":
        return LiteBackbone.load(path or SHIPPED / "lite", where)
    if name == "fomm":
        if path is None:
            raise RequestError(
                "The fomm backbone needs --checkpoint with a published First Order Motion Model file, "
                "such as vox-cpk.pth.tar; without one, use --backbone lite."
            )
        # Imported here, with torch, which the lite network does without on a CPU.
        from models.fomm.backbone import FommBackbone

        return FommBackbone.load(path, where)
    raise RequestError(f"There is no backbone {name!r}; choose from: {', '.join(BACKBONES)}.")


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
