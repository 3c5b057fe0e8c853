"""A backbone on a GPU, which may fail at any moment: while it is loaded, warmed up, or used in a call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from models.devices import reason_of, torch_words
from shared.errors import KeycastError, RequestError
from shared.interfaces import Backbone, Source, Transfer
from shared.keypoints import Floats, KeypointLayout, Pictures
from shared.runtime.logs import logger

_log = logger("network")
ResultT = TypeVar("ResultT")
FAILURES = (RuntimeError, AssertionError, OSError)
"""What torch raises for a GPU: too little memory, cuDNN, a missing kernel, no CUDA, a library's file."""


# What tells a GPU's failure from other errors in torch.
_OF_GPUS = ("OutOfMemoryError", "AcceleratorError", "NoNumbersError")
_WORDS = ("CUDA", "cuDNN", "CUDNN", "CUBLAS", "NCCL", "HIP error")


class NoNumbersError(RuntimeError):
    """The network's results are not numbers."""


def on_gpu(load: Callable[[str], Backbone], *, insist: bool) -> Backbone:
    """Return what `load` makes of "cuda", warm and looked after; where that fails, of "cpu", with a warning.

    A GPU that fails later is left for the CPU as well. With `insist` both are errors instead: RequestError
    now, KeycastError later.
    """
    try:
        backbone = load("cuda")
        backbone.warmup()
    except FAILURES as error:
        if insist:
            raise RequestError(
                f"The GPU cannot run this network with {torch_words()} ({reason_of(error)}); "
                "choose --device cpu."
            ) from error
        _tell(error)
        return load("cpu")
    return GuardedBackbone(backbone, None if insist else lambda: load("cpu"))


@contextmanager
def gpu_failures_explained(advice: str) -> Iterator[None]:
    """Turn what torch raises for a GPU in the block into a KeycastError of one sentence, with `advice`."""
    try:
        yield
    except RuntimeError as error:
        if type(error).__name__ in _OF_GPUS or any(word in str(error) for word in _WORDS):
            raise KeycastError(f"The GPU failed ({reason_of(error)}); {advice}.") from error
        raise


def check_numbers(numbers: Floats) -> Floats:
    """Return `numbers`; NoNumbersError where one of them is infinite or none."""
    if not np.isfinite(numbers).all():
        raise NoNumbersError("its results are not finite numbers")
    return numbers


def _tell(error: BaseException) -> None:
    _log.warning("The GPU failed (%s); continuing on the CPU.", reason_of(error))


@dataclass(eq=False)
class GuardedSource:
    """A source picture, and what the network that encoded it last keeps of it."""

    picture: Pictures
    owner: GuardedBackbone
    by: Backbone
    encoded: Source

    @property
    def keypoints(self) -> Floats:
        """The picture's keypoints (D,)."""
        return self.encoded.keypoints


class GuardedBackbone:
    """Implements `shared.interfaces.Backbone` by one on a GPU; once that fails, by what `otherwise` makes.

    Source pictures are kept, and encoded again by the other where they are still in use. Without `otherwise`
    a failure is a KeycastError.
    """

    def __init__(self, backbone: Backbone, otherwise: Callable[[], Backbone] | None) -> None:
        self.name, self.fingerprint, self.detector = backbone.name, backbone.fingerprint, backbone.detector
        self.layout: KeypointLayout = backbone.layout
        self._backbone, self._otherwise = backbone, otherwise
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """The side of the pictures that it detects in, in pixels."""
        return self._backbone.size

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sides of the source pictures that it takes, rising from `size`."""
        return self._backbone.sizes

    @property
    def engine(self) -> str:
        """What runs the network now."""
        return self._backbone.engine

    @property
    def precision(self) -> str:
        """The precision of the renderer's convolutions now."""
        return self._backbone.precision

    @property
    def device(self) -> str:
        """Where it runs now: "cuda", or "cpu" once the GPU has failed."""
        return self._backbone.device

    def detect(self, frames: Pictures) -> Floats:
        """Return the keypoints (B, D) of `frames` (B, size, size, 3), uint8 RGB."""
        return self._done(lambda backbone: check_numbers(backbone.detect(frames)))

    def encode(self, picture: Pictures) -> Source:
        """Encode a source picture (S, S, 3), uint8 RGB, S being one of `sizes`."""
        by, encoded = self._done(lambda backbone: (backbone, _encoded(backbone, picture)))
        return GuardedSource(np.array(picture), self, by, encoded)

    def render(self, source: Source, keypoints: Floats) -> Pictures:
        """Render a source of this backbone's, of side S, at `keypoints` (B, D): (B, S, S, 3), uint8 RGB."""
        return self._done(lambda backbone: backbone.render(self._of(source, backbone), keypoints))

    def transfer(self, source: Source, initial: Floats, *, adapt_scale: bool = False) -> Transfer:
        """Return what carries motion since `initial` (D,) over to `source`, which no GPU takes part in."""
        return self._done(
            lambda backbone: backbone.transfer(self._of(source, backbone), initial, adapt_scale=adapt_scale)
        )

    def warmup(self, *, detect: bool = True, render: bool = True) -> None:
        """Run what will be used once."""
        self._done(lambda backbone: backbone.warmup(detect=detect, render=render))

    def _of(self, source: Source, backbone: Backbone) -> Source:
        if not isinstance(source, GuardedSource) or source.owner is not self:
            raise RequestError("The source picture was encoded by another network; encode it with this one.")
        if source.by is not backbone:
            source.encoded = _encoded(backbone, source.picture)
            source.by = backbone
        return source.encoded

    def _done(self, act: Callable[[Backbone], ResultT]) -> ResultT:
        """Return what `act` makes of the network that runs now, on the CPU where the GPU fails meanwhile."""
        backbone = self._backbone
        if backbone.device == "cpu":
            return act(backbone)
        try:
            return act(backbone)
        except FAILURES as error:
            return act(self._after(backbone, error))

    def _after(self, failed: Backbone, error: BaseException) -> Backbone:
        """Return the network that runs since `failed`, of which threads may find out side by side."""
        with self._lock:
            if self._backbone is failed:
                if self._otherwise is None:
                    raise KeycastError(
                        f"The GPU failed ({reason_of(error)}); repeat the command with --device cpu."
                    ) from error
                _tell(error)
                self._backbone = self._otherwise()
            return self._backbone


def _encoded(backbone: Backbone, picture: Pictures) -> Source:
    source = backbone.encode(picture)
    check_numbers(source.keypoints)
    return source
