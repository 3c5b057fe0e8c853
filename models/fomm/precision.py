"""The precision that is chosen by itself: on a GPU the half that draws what float32 draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import numpy as np
import torch

from models.devices import reason_of
from models.fomm.serving import Precision, fastest_precision
from models.gpu import FAILURES
from models.torch_engine import TorchEngine
from shared.runtime.logs import logger

_log = logger("network")
EngineT = TypeVar("EngineT", bound=TorchEngine)  # type: ignore[type-arg]
# Of both halves the one that rounds eight times finer comes first; GPUs compute with them equally fast.
HALVES: tuple[Precision, ...] = ("float16", "bfloat16")
# A frame's mean and largest error, in [0, 1]: the mean is a level of 256. Where numbers overflow, frames are
# black, and off by a hundred times that.
_MEAN_ERROR, _LARGEST_ERROR = 0.004, 0.1


def engine_in(
    precision: Precision | Literal["auto"], device: torch.device | str, make: Callable[[Precision], EngineT]
) -> EngineT:
    """Return the engine that `make` makes in a precision; "auto" is the fastest that can be trusted."""
    if precision != "auto":
        return make(precision)
    if torch.device(device).type == "cpu":
        return make(fastest_precision())
    return trusted_engine(make)


def trusted_engine(make: Callable[[Precision], EngineT], halves: Sequence[Precision] = HALVES) -> EngineT:
    """Return the engine that `make` makes in the first of `halves` that draws a frame as float32 does.

    Activations may overflow float16, and some GPUs have no arithmetic for one of the halves: their frames are
    black, without an error. Where none of them does, it is float32, with a warning.
    """
    exact = make("float32")
    wanted = exact.trial()
    for precision in halves:
        try:
            engine = make(precision)
            off = np.abs(engine.trial() - wanted)
        except FAILURES as error:
            _log.warning("This GPU does not render in %s: %s", precision, reason_of(error))
            continue
        # Written so that no NaN is near anything.
        if off.mean() <= _MEAN_ERROR and off.max() <= _LARGEST_ERROR:
            return engine
        _log.warning("In %s, frames differ from those of float32 on this GPU", precision)
    return exact
