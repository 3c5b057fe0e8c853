"""Keeps a lite checkpoint's graphs next to its weights, after comparing them with torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from models.engine import Engine
from models.inference import to_bytes
from models.lite.layout import SIZE
from models.lite.stages import lite_network
from models.lite.torch_engine import LiteTorchEngine, load_network
from models.openvino.convert import TorchGraphs, shrink
from models.openvino.engine import STAGES, OpenVinoEngine
from models.openvino.files import FOLDER, INT8, GraphFiles, write_graphs
from models.openvino.quantise import quantised
from models.stored import read
from shared.constants import SIZES
from shared.errors import KeycastError
from shared.keypoints import Floats, Pictures

# Other kernels add in another order; a network that was converted wrongly differs by far more.
KEYPOINTS, LEVELS = 1e-3, 2
_SHIFT = 0.03


class Difference(NamedTuple):
    """The largest from torch: of a keypoint's numbers, and of pixels, in levels of 256.

    `int8` is the mean of what is rendered in it; None without.
    """

    keypoints: float
    levels: int
    int8: float | None = None


def has_int8(folder: Path) -> bool:
    """Whether rendering in int8 is among the graphs of the weights in `folder`, of these or others."""
    return (folder / FOLDER / f"{INT8}.xml").exists()


def keep_graphs(folder: Path, calibrate: Sequence[Path] = ()) -> tuple[int, Difference]:
    """Write the graphs of the lite weights in `folder` next to them, in place of any that are there.

    With folders of clips to `calibrate` by, rendering in int8 is one of them. Returns how many bytes they
    take, and how they differ from torch.

    Raises RequestError for unusable weights or folders, KeycastError where OpenVINO is missing, cannot take
    the network, or computes something else.
    """
    fingerprint = read(folder, expect="lite").fingerprint
    network = load_network(folder)
    graphs = TorchGraphs(lite_network(network, fingerprint))
    models = {str(stage): graphs.model(stage) for stage in STAGES}
    int8 = None
    if calibrate:
        models[INT8], int8 = quantised(graphs, SIZE, calibrate)
    for model in models.values():
        shrink(model)
    compared: list[Difference] = []

    def check(files: GraphFiles) -> None:
        compared.append(_compared(OpenVinoEngine(files, SIZE, "float32", SIZES), LiteTorchEngine(network)))
        if files.has_int8:
            OpenVinoEngine(files, SIZE, "int8", SIZES).stage("render")

    size = write_graphs(folder, fingerprint, models, check)
    return size, compared[0]._replace(int8=int8)


def _compared(ours: OpenVinoEngine, theirs: LiteTorchEngine) -> Difference:
    pictures = _pictures()
    keypoints = theirs.detect(pictures)
    moved = keypoints + np.random.default_rng(0).normal(0, _SHIFT, keypoints.shape).astype(np.float32)
    frames, expected = (_rendered(ours, pictures[0], moved), _rendered(theirs, pictures[0], moved))
    found = Difference(
        float(np.abs(ours.detect(pictures) - keypoints).max()),
        int(np.abs(frames.astype(int) - expected).max()),
    )
    # Written so that NaN, which compares false, is refused.
    if not (found.keypoints <= KEYPOINTS and found.levels <= LEVELS):
        raise KeycastError(
            f"OpenVINO computes something else than torch: keypoints differ by {found.keypoints:.3g}, "
            f"pixels by {found.levels} levels; nothing was written."
        )
    return found


def _rendered(engine: Engine, picture: Pictures, keypoints: Floats) -> Pictures:
    return engine.render(engine.encode(picture), keypoints)


def _pictures() -> Pictures:
    """Return two smooth pictures (2, SIZE, SIZE, 3) of nothing."""
    noise = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    pictures: Pictures = to_bytes(F.interpolate(noise, size=(SIZE, SIZE), mode="bilinear")).numpy()
    return pictures
