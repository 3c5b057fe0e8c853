"""Where eyes and mouth are in training pictures, found once by a face detector whose file the user gives."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from models.training.data import Clip
from shared.config import SIZE
from shared.errors import KeycastError, RequestError

# (frames, 5, 2) float32 in [-1, 1]: right eye, left eye, nose, right and left mouth corner; NaN: no face.
Marks: TypeAlias = npt.NDArray[np.float32]
_SURE = 0.6
_log = logging.getLogger(__name__)


def find_marks(clips: Sequence[Clip], detector: Path, cache: Path) -> list[Marks]:
    """Return the marks of every frame of `clips`; what was found before is read from `cache`.

    `detector` is a YuNet ONNX file. Raises RequestError where it cannot be used, KeycastError where the cache
    cannot be written.
    """
    try:
        key = hashlib.sha256(detector.read_bytes()).digest()
        network = cv2.FaceDetectorYN.create(str(detector), "", (SIZE, SIZE), _SURE)
        # OpenCV takes any network, and only finds out when it looks at a picture.
        network.detect(np.zeros((SIZE, SIZE, 3), np.uint8))
    except (OSError, cv2.error) as error:
        reason = str(error).strip().splitlines()[0]
        raise RequestError(
            f"Could not use the face detector {detector}: {reason}; give a YuNet .onnx file."
        ) from error
    return [_marks(clip, network, key, cache) for clip in tqdm(clips, desc="faces", unit="clip", leave=False)]


def _marks(clip: Clip, network: cv2.FaceDetectorYN, key: bytes, cache: Path) -> Marks:
    digest = hashlib.sha256(key)
    for frame in clip.frames:
        digest.update(frame)
    stored = cache / f"marks-{digest.hexdigest()[:24]}.npy"
    try:
        found: Marks = np.load(stored, allow_pickle=False)
        if found.shape == (len(clip.frames), 5, 2) and found.dtype == np.float32:
            return found
    except (OSError, ValueError, EOFError):
        _log.debug("No marks of %s in the cache yet", clip.name)
    found = np.stack([_detect(clip, index, network) for index in range(len(clip.frames))])
    try:
        # A place of its own: the processes of one run may look at the same clip at the same time.
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=cache) as temporary:
            np.save(Path(temporary, stored.name), found)
            Path(temporary, stored.name).replace(stored)
    except OSError as error:
        raise KeycastError(f"Cannot write the cache entry {stored} ({error}); free some space.") from error
    return found


def _detect(clip: Clip, index: int, network: cv2.FaceDetectorYN) -> Marks:
    """Return the marks (5, 2) of the largest face of a frame."""
    _, faces = network.detect(np.ascontiguousarray(clip.picture(index)[..., ::-1]))
    if faces is None:
        return np.full((5, 2), np.nan, np.float32)
    largest = faces[np.argmax(faces[:, 2] * faces[:, 3])]
    return np.asarray((largest[4:14].reshape(5, 2) + 0.5) * (2 / SIZE) - 1, np.float32)


def mirrored(marks: Marks) -> Marks:
    """Exchange left and right of marks (..., 5, 2) whose picture was mirrored."""
    return marks[..., [1, 0, 2, 4, 3], :]
