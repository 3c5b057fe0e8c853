"""The full network as published, frame by frame in float32: what every faster path is measured against."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.facade import EngineBackbone
from models.fomm.backbone import layout_of
from models.fomm.config import FommConfig
from models.fomm.generator import Rendered
from models.fomm.keypoint_detector import Points
from models.fomm.model import Fomm
from models.torch_engine import TorchEngine


def untrained_fomm(seed: int = 0, config: FommConfig | None = None) -> Fomm:
    """Build a FOMM with random weights, the same for the same seed: its speed is that of a trained one.

    Weights are drawn as He et al. (2015) do for layers with ReLUs, so that activations keep their size
    through all layers and pictures are as varied as a trained network's: errors of precision show in them.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Fomm(config or FommConfig())
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        with torch.no_grad():
            # Trained networks turn little, and draw without clipping.
            model.kp_detector.jacobian.weight.mul_(0.2)
            model.generator.final.weight.mul_(0.2)
        return model


PlainSource = tuple[Tensor, Points]


class PlainEngine(TorchEngine[PlainSource]):
    """The published forward pass: nothing folded or batched, the source encoded again for every frame."""

    cpu_batch = gpu_batch = 1
    records = False

    def __init__(self, model: Fomm, device: torch.device | str = "cpu") -> None:
        super().__init__(device, model.config.image_size)
        self.model = model.eval().to(device)

    def _detect(self, pictures: Tensor) -> Tensor:
        points: Points = self.model.kp_detector(pictures)
        return points.flat()

    def _encode(self, picture: Tensor) -> tuple[PlainSource, Tensor]:
        points: Points = self.model.kp_detector(picture)
        return (picture, points), points.flat()

    def _draw(self, source: PlainSource, keypoints: Tensor) -> Tensor:
        rendered: Rendered = self.model.generator(*source, Points.from_flat(keypoints))
        return rendered.prediction


class PlainFomm(EngineBackbone):
    """`PlainEngine` as a backbone."""

    name = "fomm"

    def __init__(self, model: Fomm, device: torch.device | str = "cpu") -> None:
        super().__init__(PlainEngine(model, device), layout_of(model), model.fingerprint())
