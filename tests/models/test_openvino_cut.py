"""A graph cut behind its warps computes what it did in one piece, whatever its inputs are used for."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from models.openvino.cut import cut_behind_warps
from models.openvino.runtime import openvino
from models.openvino.stage import Stage

pytestmark = pytest.mark.skipif(
    find_spec("openvino") is None, reason="OpenVINO has no build for this machine"
)


def graph() -> Any:
    """`picture` warped by `flow`, times `gain`, which no warp needs, plus `flow`, which one does."""
    ov = openvino()
    ops = ov.opset13
    shapes = {"picture": [1, 2, 4, 4], "flow": [1, 4, 4, 2], "gain": [1, 2, 4, 4]}
    given = {name: ops.parameter(shape, np.float32, name) for name, shape in shapes.items()}
    for name, parameter in given.items():
        parameter.output(0).get_tensor().set_names({name})
    how = {"align_corners": False, "mode": "bilinear", "padding_mode": "border"}
    warped = ops.grid_sample(given["picture"], ops.tanh(given["flow"]), how)
    painted = ops.multiply(ops.relu(warped), given["gain"])
    moved = ops.transpose(given["flow"], ops.constant([0, 3, 1, 2], np.int32))
    model = ov.Model([ops.add(painted, moved)], list(given.values()), "toy")
    model.output(0).get_tensor().set_names({"frame"})
    return model


def test_both_parts_together_are_the_whole() -> None:
    random = np.random.default_rng(0)
    whole, parts = Stage(graph(), "float32"), Stage(graph(), "bfloat16")
    assert (len(whole._requests), len(parts._requests)) == (1, 2)
    for _ in range(3):
        values = {
            name: random.uniform(-1, 1, shape).astype(np.float32)
            for name, shape in (("picture", (1, 2, 4, 4)), ("flow", (1, 4, 4, 2)), ("gain", (1, 2, 4, 4)))
        }
        # As a source's parts are given, and as a frame's keypoints.
        source = {name: openvino().Tensor(values[name]) for name in ("picture", "gain")}
        frames = []
        for stage in (whole, parts):
            stage.keep(source)
            stage.put("flow", values["flow"])
            frames.append(stage.run()["frame"].data.copy())
        np.testing.assert_allclose(frames[1], frames[0], atol=0.03)
        assert frames[0].std() > 0.1


def test_what_decides_where_pixels_lie_comes_first() -> None:
    warps, pixels = cut_behind_warps(graph())
    kinds = [{node.get_type_name() for node in part.get_ops()} for part in (warps, pixels)]
    assert {"GridSample", "Tanh"} <= kinds[0]
    assert {"Relu", "Multiply", "Add"} <= kinds[1]
    assert not kinds[1] & {"GridSample", "Tanh"}
    assert len(pixels.get_parameters()) == len(warps.get_results()) == 3


def test_without_a_warp_there_is_one_part() -> None:
    ov = openvino()
    given = ov.opset13.parameter([1], np.float32)
    assert len(cut_behind_warps(ov.Model([ov.opset13.relu(given)], [given], "toy"))) == 1
