"""The full network's training objective: one module, so that one process or many can run it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.fomm.generator import Rendered
from models.fomm.keypoint_detector import Points
from models.fomm.model import Fomm
from models.training.backbones.fomm_losses import AdversarialLoss, PyramidDistance, equivariance
from models.training.data.thin_plate import ThinPlateWarp

EQUIVARIANCE = 10.0


class FommObjective(nn.Module):
    """Reconstruct a driving frame from another frame of the same clip, with the published losses.

    Feature distance of a pyramid (10 for each of its depths), 10 equivariance of values, 10 of Jacobians,
    and, with an adversary, 1 least-squares GAN + 10 feature matching for each of its blocks
    (Siarohin et al., NeurIPS 2019, and their vox-256 and vox-adv-256 configurations).
    """

    def __init__(
        self, network: Fomm, distance: PyramidDistance, adversary: AdversarialLoss | None, bf16: bool
    ) -> None:
        super().__init__()
        self.network = network
        self.distance = distance
        self.adversary = adversary
        self.bf16 = bf16

    def forward(
        self, source: Tensor, driving: Tensor, _window: object = None, _landmarks: object = None
    ) -> dict[str, Tensor]:
        """Return the weighted losses of pictures in [0, 1]; their sum is minimised.

        `source` is (B, 3, H, W), `driving` (B, 1, 3, H, W): one frame of each.
        """
        driving = driving.flatten(0, 1)
        of_source = self._detect(source)
        of_driving = self._detect(driving)
        rendered: Rendered = self.network.generator(source, of_source, of_driving)
        warp = ThinPlateWarp(len(driving), driving.device)
        value, jacobian = equivariance(of_driving, self._detect(warp.warp(driving)), warp)
        with torch.autocast(driving.device.type, torch.bfloat16, enabled=self.bf16):
            losses = {"features": self.distance(rendered.prediction, driving)}
            if self.adversary is not None:
                losses |= self.adversary(rendered.prediction, driving, of_driving.value)
        return losses | {"value": EQUIVARIANCE * value, "jacobian": EQUIVARIANCE * jacobian}

    def _detect(self, pictures: Tensor) -> Points:
        found: Points = self.network.kp_detector(pictures)
        return found


class _Bf16Conv2d(nn.Conv2d):
    """A convolution in bfloat16, whatever stands around it."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            return super().forward(x)


def convolve_in_bf16(network: Fomm) -> None:
    """Make the convolutions of `network` compute in bfloat16, but for the keypoints' last; weights stay.

    Autocast around the whole network would take its coordinates along: keypoints and motions are matrix
    products, and eight bits tell positions no finer than a pixel apart. The layer that draws heatmaps is as
    sensitive: its temperature makes ten of every rounding error.
    """
    exact = (network.kp_detector.kp, network.kp_detector.jacobian)
    for module in network.modules():
        if type(module) is nn.Conv2d and module not in exact:
            module.__class__ = _Bf16Conv2d
