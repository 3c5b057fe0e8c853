"""The neural talking head stage by stage: what leaves torch is made from this."""

from __future__ import annotations

from torch import Tensor

from models.inference import prepare
from models.nth.dense_motion import MotionSource
from models.nth.generator import SourceState
from models.nth.model import Nth
from models.nth.pose import Pose
from models.stages import Function, Network

_SOURCE = ("points", "canonical", "volume", "features", "still", "places", "heatmap")


def nth_network(model: Nth) -> Network:
    """Return the stages of the model; its batch norms are folded where they can be."""

    def detect(net: Nth, pictures: Tensor) -> Tensor:
        pose: Pose = net.he_estimator(pictures)
        return pose.flat()

    def encode(net: Nth, picture: Tensor) -> tuple[Tensor, ...]:
        canonical, pose = net.find(picture)
        volume, motion = net.generator.encode_source(picture, pose.place(canonical))
        return pose.flat(), canonical, volume, *motion

    def render(net: Nth, *tensors: Tensor) -> Tensor:
        _, canonical, volume, *motion, keypoints = tensors
        state = SourceState(volume, MotionSource(*motion))
        return net.generator.decode(state, Pose.from_flat(keypoints).place(canonical)).prediction

    ready = prepare(model)
    functions = (Function(ready, part).eval() for part in (detect, encode, render))
    return Network("nth", model.fingerprint(), model.config.image_size, _SOURCE, *functions)
