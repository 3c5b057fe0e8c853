"""The Thin-Plate-Spline model stage by stage: what leaves torch is made from this."""

from __future__ import annotations

from torch import Tensor

from models.inference import prepare
from models.stages import Function, Network
from models.tps.dense_motion import MotionSource
from models.tps.model import SourceState, Tps

_LEVELS = ("level_0", "level_1", "level_2", "level_3")
_SOURCE = ("picture", *_LEVELS, "small", "points", "heatmap")


def tps_network(model: Tps) -> Network:
    """Return the stages of the model; its detector's batch norms are folded."""

    def detect(net: Tps, pictures: Tensor) -> Tensor:
        points: Tensor = net.kp_detector(pictures)
        return points.flatten(1)

    def encode(net: Tps, picture: Tensor) -> tuple[Tensor, ...]:
        state = net.encode_source(picture, net.kp_detector(picture))
        small, points, heatmap = state.motion
        # An output that is the input itself is none to an exporter.
        return picture.clone(), *state.levels, small, points.flatten(1), heatmap

    def render(net: Tps, *tensors: Tensor) -> Tensor:
        picture, *levels, small, points, heatmap, keypoints = tensors
        motion = MotionSource(small, points.reshape(1, -1, 2), heatmap)
        state = SourceState(picture, tuple(levels), motion)
        return net.decode(state, keypoints.reshape(keypoints.shape[0], -1, 2)).prediction

    ready = prepare(model)
    functions = (Function(ready, part).eval() for part in (detect, encode, render))
    return Network("tps", model.fingerprint(), model.config.image_size, _SOURCE, *functions)
