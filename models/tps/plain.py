"""The published network, frame by frame in float32: what every faster path is measured against."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.facade import EngineBackbone
from models.torch_engine import TorchEngine
from models.tps.backbone import layout_of
from models.tps.config import GROUP, VOX_256, TpsConfig
from models.tps.inpainting import Rendered
from models.tps.model import Tps

# Where untrained points lie in their group: five on a wide cross, so that splines are of good condition.
_CROSS = (-1.0, -1.0, -1.0, 1.0, 1.0, -1.0, 1.0, 1.0, 0.0, 0.0)


def untrained_tps(seed: int = 0, config: TpsConfig = VOX_256) -> Tps:
    """Build a model with random weights, the same for the same seed: its speed is that of a trained one.

    Weights are drawn as He et al. (2015) do for layers with ReLUs, so that activations keep their size
    through all layers and pictures are as varied as a trained network's: errors of precision show in them.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Tps(config)
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        with torch.no_grad():
            bias = model.kp_detector.fg_encoder.fc.bias
            spread = 0.4 * torch.randn(config.num_tps, 2 * GROUP)
            bias.copy_((torch.tensor(_CROSS) + spread).flatten())
            # Trained networks draw without clipping.
            model.inpainting_network.final.weight.mul_(0.2)
        return model


PlainSource = tuple[Tensor, Tensor]


class PlainTpsEngine(TorchEngine[PlainSource]):
    """The published forward pass: nothing folded or batched, the source encoded again for every frame."""

    cpu_batch = gpu_batch = 1
    records = False

    def __init__(self, model: Tps, device: torch.device | str = "cpu") -> None:
        super().__init__(device, size=model.config.image_size)
        self.model = model.eval().to(device)

    def _detect(self, pictures: Tensor) -> Tensor:
        points: Tensor = self.model.kp_detector(pictures)
        return points.flatten(1)

    def _encode(self, picture: Tensor) -> tuple[PlainSource, Tensor]:
        points: Tensor = self.model.kp_detector(picture)
        return (picture, points), points.flatten(1)

    def _draw(self, source: PlainSource, keypoints: Tensor) -> Tensor:
        rendered: Rendered = self.model(*source, keypoints.reshape(len(keypoints), -1, 2))
        return rendered.prediction


class PlainTps(EngineBackbone):
    """`PlainTpsEngine` as a backbone."""

    name = "tps"

    def __init__(self, model: Tps, device: torch.device | str = "cpu") -> None:
        super().__init__(PlainTpsEngine(model, device), layout_of(model), model.fingerprint())
