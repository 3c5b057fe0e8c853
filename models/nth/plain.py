"""The published network, frame by frame in float32: what every faster path is measured against."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.facade import EngineBackbone
from models.nth.config import VOX_256, NthConfig
from models.nth.generator import OriginalGenerator, Rendered, SpadeGenerator
from models.nth.layout import layout_of
from models.nth.model import Nth
from models.nth.pose import Pose
from models.torch_engine import TorchEngine


def untrained_nth(seed: int = 0, config: NthConfig = VOX_256) -> Nth:
    """Build a model with random weights, the same for the same seed: its speed is that of a trained one.

    Weights are drawn as He et al. (2015) do for layers with ReLUs, so that activations keep their size
    through all layers and pictures are as varied as a trained network's: errors of precision show in them.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Nth(config)
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d | nn.Conv3d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        with torch.no_grad():
            # Trained networks move a head and its features little, and draw without clipping.
            estimator = model.he_estimator
            for head in (
                estimator.fc_yaw,
                estimator.fc_pitch,
                estimator.fc_roll,
                estimator.fc_t,
                estimator.fc_exp,
            ):
                head.weight.mul_(0.1)
            if isinstance(model.generator, OriginalGenerator):
                model.generator.final.weight.mul_(0.5)
            if isinstance(model.generator, SpadeGenerator):
                model.generator.decoder.conv_img.weight.mul_(0.15)
        return model


PlainSource = tuple[Tensor, Tensor, Tensor]


class PlainNthEngine(TorchEngine[PlainSource]):
    """The published forward pass: nothing folded or batched, the source encoded again for every frame."""

    cpu_batch = gpu_batch = 1
    records = False

    def __init__(self, model: Nth, device: torch.device | str = "cpu") -> None:
        super().__init__(device, size=model.config.image_size)
        self.model = model.eval().to(device)

    def _detect(self, pictures: Tensor) -> Tensor:
        pose: Pose = self.model.he_estimator(pictures)
        return pose.flat()

    def _encode(self, picture: Tensor) -> tuple[PlainSource, Tensor]:
        canonical, pose = self.model.find(picture)
        return (picture, canonical, pose.place(canonical)), pose.flat()

    def _draw(self, source: PlainSource, keypoints: Tensor) -> Tensor:
        picture, canonical, own = source
        rendered: Rendered = self.model.generator(picture, own, Pose.from_flat(keypoints).place(canonical))
        return rendered.prediction


class PlainNth(EngineBackbone):
    """`PlainNthEngine` as a backbone."""

    name = "nth"

    def __init__(self, model: Nth, device: torch.device | str = "cpu") -> None:
        super().__init__(PlainNthEngine(model, device), layout_of(model.config.num_kp), model.fingerprint())
