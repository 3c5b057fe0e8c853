"""Larger pictures on a CPU: as `models.lite.enlarging` in torch, by OpenCV.

OpenVINO's own warp and enlargement of planes took 7 to 23 ms where these take 3. OpenCV samples at 32nds of a
pixel: at sharp edges a pixel may be some levels off torch's.
"""

from __future__ import annotations

import cv2
import numpy as np

from models.larger import BRIGHTNESS
from models.threads import threads
from shared.keypoints import Floats, Pictures

# Beyond the border by more than a picture, whatever numbers a peer sends.
_FARTHEST = 3.0
_WEIGHTS = np.array(BRIGHTNESS, np.float32)


class LargePicture:
    """What a larger source picture (S, S, 3) has beyond `small`, what it is scaled down: both uint8 RGB."""

    def __init__(self, picture: Pictures, small: Pictures) -> None:
        self._bright, self._small = picture @ _WEIGHTS, small @ _WEIGHTS
        chosen = threads()
        if chosen is not None:
            cv2.setNumThreads(chosen)

    def enlarge(self, frame: Pictures, flow: Floats, alpha: Floats, result: Pictures) -> None:
        """Write `frame` (256, 256, 3), rendered from the smaller picture, into `result` (S, S, 3).

        `flow` (64, 64, 2) and `alpha` (256, 256) say where its pixels come from, see `lite.structures`.
        """
        side = (len(result), len(result))
        sharp = _warped(self._bright, flow, cv2.INTER_CUBIC)
        soft = _warped(self._small, flow, cv2.INTER_LINEAR)
        detail = sharp - cv2.resize(soft, side, interpolation=cv2.INTER_CUBIC)
        added = cv2.multiply(detail, cv2.resize(alpha, side), dtype=cv2.CV_16S)
        grown = cv2.resize(frame, side, interpolation=cv2.INTER_CUBIC)
        cv2.add(grown, cv2.merge([added, added, added]), dst=result, dtype=cv2.CV_8U)


def _warped(picture: Floats, flow: Floats, sampling: int) -> Floats:
    """Sample `picture` (H, H) at a smaller `flow` (h, h, 2) in [-1, 1]; outside, the border."""
    side, count = len(picture), len(flow)
    # By fmin and fmax, which leave no NaN.
    held = np.fmax(np.fmin(flow, np.float32(_FARTHEST)), np.float32(-_FARTHEST))
    place = (held + 1) * np.float32(side / 2) - np.float32(0.5)
    grown = cv2.resize(_extended(place), (side + 2 * side // count,) * 2, interpolation=cv2.INTER_LINEAR)
    margin = side // count
    # Apart: one map of both, and an empty one beside it, has been seen to give no numbers.
    x, y = cv2.split(grown[margin : margin + side, margin : margin + side])
    found = cv2.remap(picture, x, y, sampling, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32)


def _extended(place: Floats) -> Floats:
    """Return (h + 2, w + 2, 2): one more place on each side, where it goes on linearly."""
    out = np.pad(place, ((1, 1), (1, 1), (0, 0)), mode="edge")
    out[0], out[-1] = 2 * out[1] - out[2], 2 * out[-2] - out[-3]
    out[:, 0], out[:, -1] = 2 * out[:, 1] - out[:, 2], 2 * out[:, -2] - out[:, -3]
    return out
