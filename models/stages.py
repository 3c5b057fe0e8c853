"""Both networks as plain functions of tensors, stage by stage: what leaves torch is made from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from models.fomm.dense_motion import MotionSource
from models.fomm.generator import SourceState
from models.fomm.keypoint_detector import Points as FommPoints
from models.fomm.model import Fomm
from models.inference import prepare
from models.lite.network import LiteNetwork, Points, Source
from shared.config import SIZE


@dataclass(frozen=True)
class Network:
    """What a backbone consists of, as functions of tensors.

    `source` names what `encode` returns, the picture's keypoints "points" (1, D) among it.
    """

    model: str
    fingerprint: str
    size: int
    source: tuple[str, ...]
    detect: nn.Module
    encode: nn.Module
    render: nn.Module


class _Function(nn.Module):
    """A function of tensors that keeps the weights of `network` in view of the exporter."""

    def __init__(self, network: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.network = network
        self.function = function

    def forward(self, *tensors: Tensor) -> Any:  # noqa: ANN401
        return self.function(self.network, *tensors)


def lite_network(network: LiteNetwork, fingerprint: str) -> Network:
    """Return the stages of a lite network that is ready to serve."""

    def detect(net: LiteNetwork, pictures: Tensor) -> Tensor:
        points: Points = net.detector(pictures)
        return points.flat()

    def encode(net: LiteNetwork, picture: Tensor) -> tuple[Tensor, ...]:
        parts = net.encode(picture).tensors()
        # An output that is the input itself is none to an exporter.
        return tuple(part.clone() if part is picture else part for part in parts)

    def render(net: LiteNetwork, *tensors: Tensor) -> Tensor:
        source, keypoints = Source(*tensors[:-1]), tensors[-1]
        return net.render(source.expand(keypoints.shape[0]), Points.from_flat(keypoints))

    functions = (_Function(network, part).eval() for part in (detect, encode, render))
    return Network("lite", fingerprint, SIZE, Source.names(), *functions)


def fomm_network(model: Fomm) -> Network:
    """Return the stages of a full network; its batch norms are folded where they can be."""

    def detect(net: Fomm, pictures: Tensor) -> Tensor:
        points: FommPoints = net.kp_detector(pictures)
        return points.flat()

    def encode(net: Fomm, picture: Tensor) -> tuple[Tensor, ...]:
        features, (small, points, heatmap) = net.generator.encode_source(picture, net.kp_detector(picture))
        return features, small, points.flat(), heatmap

    def render(net: Fomm, *tensors: Tensor) -> Tensor:
        features, small, points, heatmap, keypoints = tensors
        state = SourceState(features, MotionSource(small, FommPoints.from_flat(points), heatmap))
        return net.generator.decode(state, FommPoints.from_flat(keypoints)).prediction

    ready = prepare(model)
    functions = (_Function(ready, part).eval() for part in (detect, encode, render))
    names = ("features", "small", "points", "heatmap")
    return Network("fomm", model.fingerprint(), model.config.image_size, names, *functions)
