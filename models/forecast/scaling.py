"""Standardisation of keypoints, its statistics stored with the weights, and what a network predicts in it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.forecast.config import LIMIT, PREDICTS, Predict

__all__ = ["LIMIT", "PREDICTS", "Predict", "Scaling"]


class Scaling(nn.Module):
    """Standardises frames per dimension: levels by mean and std, changes by `step`, the std of changes.

    `predict` selects the meaning of a network's D outputs: the standardised change since the last frame
    ("delta") or the standardised frame itself ("frame"). Buffers `mean`, `std`, `step`: (D,), in keypoint
    units.
    """

    mean: Tensor
    std: Tensor
    step: Tensor

    def __init__(self, predict: Predict, dimensions: int) -> None:
        super().__init__()
        self.predict = predict
        self.register_buffer("mean", torch.zeros(dimensions))
        self.register_buffer("std", torch.ones(dimensions))
        self.register_buffer("step", torch.ones(dimensions))

    def describe(self, frame: Tensor, last: Tensor) -> Tensor:
        """Return a network's input (..., D), in [-10, 10], for `frame` (..., D) following `last`.

        It is the target, bounded. In "delta" mode a network never sees the level itself: where the points sit
        says who somebody is rather than where they go, and a network that sees it learns people by heart.
        """
        return self.target(frame, last).clamp(-LIMIT, LIMIT)

    def target(self, frame: Tensor, last: Tensor) -> Tensor:
        """Return what a network has to predict (..., D), unbounded, for `frame` to follow `last`."""
        if self.predict == "frame":
            return (frame - self.mean) / self.std
        return (frame - last) / self.step

    def frame(self, target: Tensor, last: Tensor) -> Tensor:
        """Undo `target`: return the frame (..., D) that a prediction stands for."""
        if self.predict == "frame":
            return torch.addcmul(self.mean, target, self.std)
        return torch.addcmul(last, target, self.step)

    def frame_log_variance(self) -> Tensor:
        """Return the log-variance (D,) in targets of what varies by one in standardised frames."""
        return torch.zeros_like(self.std) if self.predict == "frame" else 2 * torch.log(self.std / self.step)

    def log_determinant(self) -> Tensor:
        """Return log |det d target / d frame|, a scalar: it turns a density of targets into one of frames."""
        return -torch.log(self.std if self.predict == "frame" else self.step).sum()
