"""The full network stage by stage: what leaves torch is made from this."""

from __future__ import annotations

from torch import Tensor

from models.fomm.dense_motion import MotionSource
from models.fomm.generator import SourceState
from models.fomm.keypoint_detector import Points
from models.fomm.model import Fomm
from models.inference import prepare
from models.stages import Function, Network


def fomm_network(model: Fomm) -> Network:
    """Return the stages of a full network; its batch norms are folded where they can be."""

    def detect(net: Fomm, pictures: Tensor) -> Tensor:
        points: Points = net.kp_detector(pictures)
        return points.flat()

    def encode(net: Fomm, picture: Tensor) -> tuple[Tensor, ...]:
        features, (small, points, heatmap) = net.generator.encode_source(picture, net.kp_detector(picture))
        return features, small, points.flat(), heatmap

    def render(net: Fomm, *tensors: Tensor) -> Tensor:
        features, small, points, heatmap, keypoints = tensors
        state = SourceState(features, MotionSource(small, Points.from_flat(points), heatmap))
        return net.generator.decode(state, Points.from_flat(keypoints)).prediction

    ready = prepare(model)
    functions = (Function(ready, part).eval() for part in (detect, encode, render))
    names = ("features", "small", "points", "heatmap")
    return Network("fomm", model.fingerprint(), model.config.image_size, names, *functions)
