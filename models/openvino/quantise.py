"""A rendering graph in int8: the convolutions that paint, calibrated on clips of people."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from models.clips.layouts import find_clips, training_part
from models.clips.video import CLIP_ERRORS, timed_pictures
from models.openvino.cut import painting
from models.openvino.engine import KEYPOINTS, Graphs, OpenVinoEngine
from models.openvino.runtime import Model, openvino
from models.openvino.stage import Stage
from shared.errors import KeycastError, RequestError
from shared.keypoints import Pictures

CLIPS, FRAMES, LONGEST = 80, 3, 300
"""Clips that are looked at; frames of each, one source and the others as it moves; of how many at most."""
LOOSEST = 1.0
"""Mean difference from float32, in levels of 256, beyond which a graph is refused."""
# Of the clips, every fourth one is kept to compare on.
_COMPARED = 4
_log = logging.getLogger(__name__)
Inputs = dict[str, npt.NDArray[Any]]


def quantised(graphs: Graphs, size: int, folders: Sequence[Path]) -> tuple[Model, float]:
    """Return `graphs`' rendering in int8, and how far its pictures are from float32's, in levels.

    Activations are scaled by what is seen in rendering clips from `folders`, moved as they move themselves;
    weights have seven bits, so that sums of products of two fit where a CPU adds them in sixteen (AVX2).
    Raises RequestError without NNCF or usable clips, KeycastError where the result is too far off.
    """
    nncf = _nncf()
    clips = _clips(folders)
    engine = OpenVinoEngine(graphs, size, "float32")
    seen = [_inputs(engine, clip) for clip in clips]
    compared = [row for rows in seen[::_COMPARED] for row in rows]
    calibrated = [row for index, rows in enumerate(seen) if index % _COMPARED for row in rows] or compared
    found = _scaled(nncf, graphs.model("render"), calibrated)
    difference = _difference(graphs.model("render"), found, compared)
    if not difference <= LOOSEST:
        raise KeycastError(
            f"In int8, pictures differ by {difference:.2f} of 256 levels from float32's; {LOOSEST:g} is the "
            "most. Give more clips, or leave --calibrate out."
        )
    return found, difference


def _scaled(nncf: Any, model: Model, rows: list[Inputs]) -> Model:  # noqa: ANN401
    """Return `model` with what paints in int8, scaled by what drawing `rows` shows."""
    kept = nncf.IgnoredScope(names=_others(model), validate=False)
    refusals = (RuntimeError, nncf.InternalError, nncf.UnsupportedModelError, nncf.ValidationError)
    try:
        # Its progress is not what the command has to say.
        with redirect_stdout(sys.stderr):
            return nncf.quantize(
                model,
                nncf.Dataset(rows),
                # What follows a rectifier has no sign, the rest does.
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(rows),
                ignored_scope=kept,
                advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
            )
    except refusals as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise KeycastError(f"NNCF cannot take this network ({reason}).") from error


def _nncf() -> Any:  # noqa: ANN401
    # Before NNCF: what it would report itself by is shut off there.
    openvino()
    try:
        import nncf
    except ImportError as error:
        raise RequestError("--calibrate needs nncf; install keycast[int8].") from error
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf


def _others(model: Model) -> list[str]:
    """Return all nodes that stay as they are."""
    chosen = {*painting(model)}
    kinds = ("Parameter", "Constant", "Result")
    nodes = ((node.get_friendly_name(), node.get_type_name()) for node in model.get_ops())
    return [name for name, kind in nodes if kind not in kinds and name not in chosen]


def _clips(folders: Sequence[Path]) -> list[Pictures]:
    """Return frames (FRAMES, 256, 256, 3) of clips in `folders`, evenly spread over what is there."""
    found = [clip for _, clip in find_clips(training_part(folders))]
    chosen = [found[index] for index in np.linspace(0, len(found) - 1, min(CLIPS, len(found))).astype(int)]
    clips = []
    for clip in tqdm(chosen, desc="clips", unit="clip", leave=False):
        try:
            pictures = [picture for _, picture in islice(timed_pictures(clip), LONGEST)]
        except CLIP_ERRORS as error:
            _log.warning("Left out %s: %s", clip, error)
            continue
        if len(pictures) >= FRAMES:
            places = np.linspace(0, len(pictures) - 1, FRAMES).astype(int)
            clips.append(np.stack([pictures[place] for place in places]))
    if not clips:
        raise RequestError("No clip has enough frames to calibrate with; give --calibrate others.")
    return clips


def _inputs(engine: OpenVinoEngine, clip: Pictures) -> list[Inputs]:
    """Return what rendering takes to draw the first frame of `clip` as each of the others."""
    source = engine.encode(clip[0])
    parts = {name: np.array(tensor.data) for name, tensor in source.kept.parts.items()}
    return [parts | {KEYPOINTS: row[None]} for row in engine.detect(clip[1:])]


def _difference(exact: Model, model: Model, rows: list[Inputs]) -> float:
    """Return the mean difference of what two graphs draw, in levels."""
    stages = Stage(exact, "float32"), Stage(model, "int8")
    total = 0.0
    for row in rows:
        drawn = [_drawn(stage, row) for stage in stages]
        total += float(np.abs(drawn[0].astype(int) - drawn[1]).mean())
    return total / len(rows)


def _drawn(stage: Stage, row: Inputs) -> Pictures:
    for name, values in row.items():
        stage.put(name, values)
    frame: Pictures = np.empty(stage.shape, np.uint8)
    stage.run_into(frame)
    return frame
