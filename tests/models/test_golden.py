"""Golden output of the shipped weights on a tiny generated clip, so that no change goes unnoticed.

`python tests/models/test_golden.py` writes the file anew: to be done with new weights, and at no other time.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from models.build import SHIPPED
from models.forecast.build import load_forecaster
from models.forecast.names import LEARNED
from models.lite.backbone import LiteBackbone
from sender.demo import DemoSource
from shared.keypoints import Pictures

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parents[1] / "data" / "golden.npz"
# Processors round differently, and the portrait's drawing may: a changed network is far outside of these.
KEYPOINT_TOLERANCE, LEVELS = 2e-3, 3

Outputs = dict[str, npt.NDArray[np.floating] | npt.NDArray[np.uint8]]


def clip() -> Pictures:
    source = DemoSource()
    try:
        frames = [source.frame(n) for n in range(0, 60, 6)]
    finally:
        source.close()
    return np.stack([frame for frame in frames if frame is not None])


def outputs(engine: str) -> Outputs:
    torch.set_num_threads(1)
    pictures = clip()
    backbone = LiteBackbone.load(SHIPPED / "lite", precision="float32", engine=engine)  # type: ignore[arg-type]
    keypoints = backbone.detect(pictures)
    frames = backbone.render(backbone.encode(pictures[0]), keypoints[[0, 4, 9]])
    # Every eighth pixel of three frames: enough to see a change, small enough to keep.
    found: Outputs = {"keypoints": keypoints, "frames": frames[:, 4::8, 4::8]}
    for name in LEARNED:
        forecaster = load_forecaster(name)
        forecaster.observe(keypoints)
        found[f"{name}_forecast"] = forecaster.forecast(6)
    return found


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_the_shipped_weights_give_what_they_gave(engine: str) -> None:
    if engine == "openvino" and find_spec("openvino") is None:
        pytest.skip("OpenVINO has no build for this machine")
    found = outputs(engine)
    with np.load(GOLDEN) as golden:
        assert set(golden.files) == set(found)
        frames = np.abs(found["frames"].astype(int) - golden["frames"])
        assert frames.max() <= LEVELS
        np.testing.assert_allclose(found["keypoints"], golden["keypoints"], atol=KEYPOINT_TOLERANCE, rtol=0)
        for name in LEARNED:
            key = f"{name}_forecast"
            np.testing.assert_allclose(found[key], golden[key], atol=2 * KEYPOINT_TOLERANCE, rtol=0)


def test_the_golden_frames_differ_from_each_other_and_from_the_source() -> None:
    with np.load(GOLDEN) as golden:
        first, second, third = golden["frames"].astype(int)
    assert (
        min(np.abs(a - b).max() for a, b in ((first, second), (second, third), (first, third))) > 10 * LEVELS
    )


if __name__ == "__main__":
    np.savez_compressed(GOLDEN, **outputs("torch"))
    print(f"wrote {GOLDEN}")
