"""The lite network stage by stage: what leaves torch is made from this."""

from __future__ import annotations

from torch import Tensor

from models.larger import ALPHA, FLOW
from models.lite.layout import SIZE
from models.lite.network import LiteNetwork, Points, Source
from models.stages import Function, Network


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

    def rendered(net: LiteNetwork, *tensors: Tensor) -> tuple[Tensor, ...]:
        source, keypoints = Source(*tensors[:-1]), tensors[-1]
        return tuple(net.rendered(source.expand(keypoints.shape[0]), Points.from_flat(keypoints)))

    functions = (Function(network, part).eval() for part in (detect, encode, render))
    whole = Function(network, rendered).eval()
    return Network("lite", fingerprint, SIZE, Source.names(), *functions, rendered=whole, parts=(FLOW, ALPHA))
