"""A network's three stages in OpenVINO, a picture or frame at a time, each compiled when first used."""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from models.engine import Encoded
from models.larger import ALPHA, FLOW
from models.openvino.runtime import EngineError, Model, Tensor, computes_in_bfloat16, computes_in_int8
from models.openvino.stage import Stage
from shared.keypoints import Floats, Pictures
from shared.media.squares import scaled
from shared.runtime.logs import logger

if TYPE_CHECKING:
    from models.openvino.enlarging import LargePicture

StageName = Literal["detect", "encode", "render"]
STAGES: tuple[StageName, ...] = ("detect", "encode", "render")
# Names of the graphs' inputs and outputs, in addition to the parts of a source.
PICTURE, KEYPOINTS, POINTS = "picture_bytes", "keypoints", "points"
_log = logger("network")


@dataclass(frozen=True, eq=False)
class Kept:
    """The parts of a source picture by name, and what a larger one has beyond its smaller version."""

    parts: dict[str, Tensor]
    large: LargePicture | None


Source = Encoded[Kept]


class Graphs(Protocol):
    """Source of a network's graphs."""

    @property
    def has_int8(self) -> bool:
        """Whether rendering is to be had in int8."""
        ...

    def key(self, stage: StageName, *, int8: bool = False) -> str | None:
        """Return what tells the graph of one stage from all others; None where it is made for this run."""
        ...

    def model(self, stage: StageName, *, int8: bool = False) -> Model:
        """Return the graph of one stage, anew. Raises EngineError where there is none to be had.

        "detect" maps PICTURE (1, size, size, 3) uint8 to KEYPOINTS (1, D); "encode" maps PICTURE to all that
        depends on a source picture alone, its keypoints POINTS (1, D) among it; "render" maps that and
        KEYPOINTS (1, D) to PICTURE and, where larger pictures can be drawn, to FLOW and ALPHA. With `int8` it
        is "render" whose convolutions behind the warps are in int8.
        """
        ...


class OpenVinoEngine:
    """Implements `models.engine.Engine`. Pictures larger than `size` can be drawn where `sizes` say so.

    `precision` is that of the convolutions that paint. "auto" is int8 where the CPU computes in it and there
    is such a graph, else bfloat16 where it computes in that. Keypoints, motion and warps are float32. It uses
    as many threads as were chosen (`models.threads`) when a stage is compiled. Stages run side by side, each
    for one caller at a time. Raises EngineError where OpenVINO or the precision is missing; each method does
    where it cannot take the network.
    """

    name, processor = "openvino", "cpu"

    def __init__(
        self, graphs: Graphs, size: int, precision: str = "auto", sizes: tuple[int, ...] = ()
    ) -> None:
        self.size, self.sizes = size, sizes or (size,)
        if precision == "int8" and not graphs.has_int8:
            raise EngineError(
                "These weights have no graph in int8; "
                "`python -m models.openvino FOLDER --calibrate CLIPS` makes it."
            )
        self._free = precision == "auto"
        self.precision = _best(graphs) if self._free else precision
        self._graphs = graphs
        self._stages: dict[StageName, Stage] = {}
        self._locks = {name: threading.Lock() for name in STAGES}
        # The source that rendering reads. Whoever drops it frees it, but for the memory that is read from.
        self._source: weakref.ref[Source] | None = None

    @property
    def compiled(self) -> tuple[StageName, ...]:
        """The stages that have been used."""
        return tuple(self._stages)

    def stage(self, name: StageName) -> Stage:
        """Return a stage, compiled."""
        if name not in self._stages:
            self._stages[name] = self._rendering() if name == "render" else self._compiled(name, "float32")
        return self._stages[name]

    def _rendering(self) -> Stage:
        try:
            return self._compiled("render", self.precision)
        except EngineError as error:
            if not (self._free and self.precision == "int8"):
                raise
            _log.warning("%s Going on in float32.", error)
            self.precision = "float32"
            return self._compiled("render", self.precision)

    def _compiled(self, name: StageName, precision: str) -> Stage:
        int8 = precision == "int8"
        return Stage(self._graphs.model(name, int8=int8), precision, self._graphs.key(name, int8=int8))

    def detect(self, pictures: Pictures) -> Floats:
        """Return the keypoints (B, D) of pictures (B, size, size, 3), uint8 RGB."""
        with self._locks["detect"]:
            stage = self.stage("detect")
            found = np.empty((len(pictures), *stage.shape[1:]), np.float32)
            for index, picture in enumerate(pictures):
                stage.put(PICTURE, picture)
                stage.run_into(found[index : index + 1])
        return found

    def encode(self, picture: Pictures) -> Source:
        """Return what is kept of a source picture (S, S, 3), S being one of `sizes`."""
        small = scaled(picture, self.size)
        with self._locks["encode"]:
            stage = self.stage("encode")
            stage.put(PICTURE, small)
            parts = stage.run()
        kept = Kept(parts, None if small is picture else _large(picture, small))
        return Encoded(self, parts[POINTS].data[0].copy(), kept, len(picture))

    def render(self, source: Source, keypoints: Floats) -> Pictures:
        """Render a source of side S at keypoints (B, D): pictures (B, S, S, 3), uint8 RGB."""
        drawn: Pictures = np.empty((len(keypoints), source.size, source.size, 3), np.uint8)
        with self._locks["render"]:
            stage = self.stage("render")
            if self._source is None or self._source() is not source:
                stage.keep(source.kept.parts)
                self._source = weakref.ref(source)
            for index, row in enumerate(keypoints):
                stage.put(KEYPOINTS, row)
                _run_into(drawn[index], stage, source.kept.large)
        return drawn


def _best(graphs: Graphs) -> str:
    """Return the fastest precision of those that this CPU computes in and there are graphs for."""
    if graphs.has_int8 and computes_in_int8():
        return "int8"
    return "bfloat16" if computes_in_bfloat16() else "float32"


def _run_into(result: Pictures, stage: Stage, large: LargePicture | None) -> None:
    """Render one frame into `result` (S, S, 3)."""
    if large is None:
        stage.run_into(result[None])
        return
    frame: Pictures = np.empty(stage.shape, np.uint8)
    stage.run_into(frame)
    large.enlarge(frame[0], stage.output(FLOW)[0], stage.output(ALPHA)[0, 0], result)


def _large(picture: Pictures, small: Pictures) -> LargePicture:
    # OpenCV is loaded where it is used.
    from models.openvino.enlarging import LargePicture

    return LargePicture(picture, small)
