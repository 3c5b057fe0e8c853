"""Face detection in pictures with YuNet; its file is the user's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.constants import SIZE
from shared.errors import RequestError
from shared.keypoints import Pictures

Rows = npt.NDArray[np.float32]
# How sure it has to be of a face.
_CONFIDENCE = 0.7


class FaceDetector:
    """YuNet from the ONNX file at `path`. Raises RequestError for another file."""

    def __init__(self, path: Path) -> None:
        import cv2

        if not path.is_file():
            raise RequestError(f"There is no face detector {path}; give the ONNX file of YuNet.")
        # What it says about its own backends is of no use to whoever looks for faces.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        try:
            self._network: Any = cv2.FaceDetectorYN.create(
                str(path), "", (SIZE, SIZE), score_threshold=_CONFIDENCE
            )
            # Only a pass tells YuNet from another network: any ONNX file is taken.
            self._network.detect(np.zeros((SIZE, SIZE, 3), np.uint8))
        except cv2.error as error:
            raise RequestError(f"{path} is not a YuNet face detector; give its ONNX file.") from error

    def rows(self, picture: Pictures) -> Rows:
        """Return what it sees in `picture` (H, W, 3), uint8 RGB: (F, 15), the largest face first.

        Of each face the box (left, top, width, height), five points as x and y (right eye, left eye, nose,
        right and left corner of the mouth), all in pixels, and how sure it is.
        """
        height, width = picture.shape[:2]
        self._network.setInputSize((width, height))
        _, rows = self._network.detect(np.ascontiguousarray(picture[..., ::-1]))
        if rows is None:
            return np.zeros((0, 15), np.float32)
        return np.asarray(rows[np.argsort(-rows[:, 2] * rows[:, 3], kind="stable")], np.float32)
