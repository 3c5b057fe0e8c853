"""Linear autoregression: the least that a network has to beat once there is anything to learn from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.forecast.config import LinearConfig
from models.forecast.recurrent import State
from models.forecast.window import WindowNetwork

__all__ = ["Linear", "LinearConfig", "design", "fit"]


class Linear(WindowNetwork):
    """A vector autoregression: all numbers of the last `order` changes say the next ones.

    Luetkepohl, "New Introduction to Multiple Time Series Analysis" (2005), chapter 2. Its forecast is its
    mean: all samples are one.
    """

    noise_size = 0

    def __init__(self, config: LinearConfig, dimensions: int) -> None:
        super().__init__(config.predict, dimensions, config.order + 1)
        self.map = nn.Linear(config.order * dimensions, dimensions)

    def inputs(self, frames: Tensor) -> Tensor:
        """Return what the map takes (..., order * D) for the frame after `frames` (..., order + 1, D)."""
        return self.scaling.describe(frames[..., 1:, :], frames[..., :-1, :]).flatten(-2)

    def advance(self, state: State, noise: Tensor | None = None) -> State:  # noqa: ARG002
        """Predict one frame."""
        predicted = self.map(self.inputs(state.hidden.transpose(0, 1)))
        return self.observe(state, self.scaling.frame(predicted, state.last))


def design(network: Linear, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Return inputs (T-order-1, order * D) and bounded targets (T-order-1, D) of a clip (T, D)."""
    windows = frames.unfold(0, network.window, 1).transpose(1, 2)[:-1]
    after, before = frames[network.window :], frames[network.window - 1 : -1]
    return network.inputs(windows), network.scaling.describe(after, before)


def fit(network: Linear, clips: list[Tensor], ridge: float) -> None:
    """Set the map to the least squares of all `clips`, each (T, D), with the penalty `ridge` a sample.

    Hoerl and Kennard, "Ridge Regression" (Technometrics 12(1), 1970). Clips of `order` + 1 frames or fewer
    say nothing. ValueError where that is all of them.
    """
    size, dimensions = network.map.in_features + 1, network.dimensions
    products, answers, count = torch.zeros(size, size).double(), torch.zeros(size, dimensions).double(), 0
    for clip in clips:
        if len(clip) <= network.window:
            continue
        inputs, targets = (part.double() for part in design(network, clip))
        inputs = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], dim=1)
        products += inputs.T @ inputs
        answers += inputs.T @ targets
        count += len(inputs)
    if not count:
        raise ValueError("no clip is long enough for a linear autoregression")
    penalty = torch.full((size,), ridge * count).double()
    penalty[-1] = 1e-9  # the mean change itself is not shrunk
    solution = torch.linalg.solve(products + torch.diag(penalty), answers).float()
    with torch.no_grad():
        network.map.weight.copy_(solution[:-1].T)
        network.map.bias.copy_(solution[-1])
