"""Losses of the full network, as published: features of a pyramid, equivariance, and an adversary's."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from models.fomm.blocks import AntiAliasInterpolation2d
from models.fomm.dense_motion import inverse
from models.fomm.keypoint_detector import Points
from models.perceptual import Perceptual
from models.training.backbones.discriminator import MultiScaleDiscriminator
from models.training.data.thin_plate import ThinPlateWarp
from shared.errors import RequestError

SCALES = (1.0, 0.5, 0.25, 0.125)
# Features of VGG-19's fifth depth vanish below this many pixels.
_SMALLEST = 32
# Features as faint as this are taken for a black picture's.
_FAINT = 1e-2


class Vgg19(nn.Module):
    """VGG-19's features after the first ReLU of each of its five depths; input RGB in [0, 1].

    `weights` have torchvision's names (features.0.weight ...). Raises KeyError where one is missing,
    ValueError where one is of a shape that the others do not fit.
    """

    # Convolutions by their place in torchvision's list. A depth ends with the first one after its pooling.
    _DEPTHS = ((0,), (2, 5), (7, 10), (12, 14, 16, 19), (21, 23, 25, 28))

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        channels = 3
        for index in (index for depth in self._DEPTHS for index in depth):
            weight, bias = (weights[f"features.{index}.{kind}"].float() for kind in ("weight", "bias"))
            if weight.shape[1:] != (channels, 3, 3) or bias.shape != weight.shape[:1]:
                raise ValueError(f"features.{index} is no 3x3 convolution of {channels} channels")
            self.register_buffer(f"weight_{index}", weight, persistent=False)
            self.register_buffer(f"bias_{index}", bias, persistent=False)
            channels = len(weight)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1), persistent=False)

    def features(self, pictures: Tensor) -> list[Tensor]:
        """Return the features of (B, 3, H, W) at five depths."""
        x = (pictures - self.get_buffer("mean")) / self.get_buffer("deviation")
        taps = []
        for depth in self._DEPTHS:
            for index in depth:
                if index == depth[-1] and index:
                    x = F.max_pool2d(x, 2)
                weight, bias = self.get_buffer(f"weight_{index}"), self.get_buffer(f"bias_{index}")
                x = F.relu(F.conv2d(x, weight, bias, padding=1))
            taps.append(x)
        return taps


def load_features(path: Path) -> Vgg19 | Perceptual:
    """Read a frozen network with a method `features`: SqueezeNet v1.1 (see `Perceptual`) or VGG-19.

    VGG-19 is recognised by its tensors, in a .safetensors or in torchvision's own .pth file, which is only
    ever read as data. RequestError for anything else.
    """
    try:
        if path.suffix == ".safetensors":
            weights = load_file(path)
        else:
            weights = torch.load(path, map_location="cpu", weights_only=True)
        if "features.28.weight" in weights:
            return Vgg19(weights)
    # On a damaged or hostile file either reader fails with many kinds of exceptions.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RequestError(
            f"Could not read the perceptual network {path} ({reason}); give SqueezeNet v1.1 or VGG-19."
        ) from error
    return Perceptual(path)


class PyramidDistance(nn.Module):
    """Sum over four scales and all depths of 10 times the mean absolute difference of features (eq. 9).

    VGG-19's features are compared as they are, as published. SqueezeNet's are of another magnitude at each
    depth, and the pixels that stand for features where there is no network of yet another: they are compared
    in units of the target's mean, so that the sum is again about a hundred times the other losses. Scales at
    which a picture of `size` pixels has fewer than 32 are left out; RequestError where none remains.
    """

    weight = 10.0

    def __init__(self, size: int, network: Vgg19 | Perceptual | None) -> None:
        super().__init__()
        scales = [scale for scale in SCALES if size * scale >= _SMALLEST]
        if not scales:
            raise RequestError(
                f"Pictures of {size} pixels are too small to train on; give --sizes of {_SMALLEST} or more."
            )
        self.downs = nn.ModuleList(AntiAliasInterpolation2d(3, scale) for scale in scales)
        self.network: Vgg19 | Perceptual | None = network

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the distance (a scalar) of two batches of pictures."""
        total = prediction.new_zeros(())
        for down in self.downs:
            with torch.no_grad():
                wanted = self._features(down(target))
            got = self._features(down(prediction))
            for one, other in zip(got, wanted, strict=True):
                unit = 1.0 if isinstance(self.network, Vgg19) else other.abs().mean().clamp(min=_FAINT)
                total = total + self.weight * (one - other).abs().mean() / unit
        return total

    def _features(self, pictures: Tensor) -> list[Tensor]:
        return [pictures] if self.network is None else self.network.features(pictures)


def equivariance(plain: Points, warped: Points, warp: ThinPlateWarp) -> tuple[Tensor, Tensor]:
    """Return the losses of value and Jacobian for `warped`, found in the warped picture (section 3.3)."""
    back = warp.points(warped)
    identity = torch.eye(2, device=back.jacobian.device)
    jacobian = (inverse(plain.jacobian) @ back.jacobian - identity).abs().mean()
    return (plain.value - back.value).abs().mean(), jacobian


class AdversarialLoss(nn.Module):
    """Least-squares GAN with feature matching; one call gives the losses of both sides.

    Neither side's loss reaches the other's weights, so that all can be added and minimised in one step.
    """

    matching = 10.0

    def __init__(self, critic: MultiScaleDiscriminator) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, prediction: Tensor, target: Tensor, points: Tensor) -> dict[str, Tensor]:
        """Return `gan` and `matching`, which teach the generator, and `critic`, which teaches the critic."""
        points = points.detach()
        real = self.critic(target, points)
        false = self.critic(prediction.detach(), points)
        self.critic.requires_grad_(False)
        made = self.critic(prediction, points)
        self.critic.requires_grad_(True)
        gan = torch.stack([(1 - maps[-1]).square().mean() for maps in made]).sum()
        matching = torch.stack(
            [
                (theirs.detach() - ours).abs().mean()
                for r, m in zip(real, made, strict=True)
                for theirs, ours in zip(r[:-1], m[:-1], strict=True)
            ]
        ).sum()
        critic = torch.stack(
            [(1 - r[-1]).square().mean() + f[-1].square().mean() for r, f in zip(real, false, strict=True)]
        ).sum()
        return {"gan": gan, "matching": self.matching * matching, "critic": critic}
