"""Pictures with the faces in them, to train the head finder: labelled once by YuNet, then kept on disk."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from models.clips.faces import FaceDetector
from models.clips.layouts import find_clips
from models.clips.video import CLIP_ERRORS, open_clip
from models.training.data.frames import decode_jpeg
from shared.constants import SIZE
from shared.errors import KeycastError, RequestError
from shared.keypoints import Floats, Pictures

SIDE = 128
"""Pixels that labelled pictures are kept at: a face in them is as large as one close to a camera."""
PER_CLIP = 8
_log = logging.getLogger(__name__)

Boxes: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Faces:
    """Pictures (N, 128, 128, 3), uint8 RGB; of each the largest face's x, y (centre), width and height.

    `boxes` (N, 4) float32 is in fractions of the picture. Pictures without a face are left out.
    """

    pictures: Pictures
    boxes: Boxes

    def __len__(self) -> int:
        return len(self.pictures)


class Labeller:
    """YuNet, from the file the user gives; RequestError where it cannot be used."""

    def __init__(self, detector: Path) -> None:
        self._detector = FaceDetector(detector)
        self.key = hashlib.sha256(detector.read_bytes()).hexdigest()

    def boxes(self, picture: Pictures) -> Boxes:
        """Return centre x, y, width, height (F, 4), in pixels, of the faces in `picture`, largest first."""
        boxes = self._detector.rows(picture)[:, :4]
        boxes[:, :2] += boxes[:, 2:] / 2
        return boxes


def load_faces(clips: Sequence[Path], stills: Path | None, labeller: Labeller, cache: Path) -> Faces:
    """Return the faces in eight frames of each clip below the folders `clips`, and in the JPEGs of `stills`.

    What was labelled before is read from the folder `cache`. RequestError where there is no face at all.
    """
    files = [file for _, file in find_clips(clips)]
    portraits = sorted(stills.glob("*.jpg")) if stills else []
    names = "\n".join(map(str, [labeller.key, SIDE, PER_CLIP, *files, *portraits]))
    stored = cache / f"faces-{hashlib.sha256(names.encode()).hexdigest()[:16]}.npz"
    if stored.exists():
        with np.load(stored, allow_pickle=False) as arrays:
            return Faces(arrays["pictures"], arrays["boxes"])
    labelled = [
        (cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA), boxes[0] / SIZE)
        for picture in tqdm(_pictures(files, portraits), desc="faces", unit="picture", leave=False)
        if len(boxes := labeller.boxes(picture)) == 1
    ]
    if not labelled:
        raise RequestError("There is no face in any of the clips; give folders with clips of people.")
    faces = Faces(
        np.stack([picture for picture, _ in labelled]),
        np.stack([box for _, box in labelled]).astype(np.float32),
    )
    _store(stored, faces)
    return faces


def _pictures(files: Sequence[Path], portraits: Sequence[Path]) -> Iterator[Pictures]:
    """Yield pictures (256, 256, 3), uint8 RGB."""
    for file in files:
        try:
            with open_clip(file) as (_, frames):
                pictures = [picture for _, picture in frames]
                for index in np.unique(np.linspace(0, len(pictures) - 1, PER_CLIP).astype(int)):
                    yield pictures[index]()
        except CLIP_ERRORS as error:
            _log.warning("Skipped %s: %s", file, error)
    for file in portraits:
        try:
            picture = decode_jpeg(file.read_bytes())
        except (OSError, ValueError) as error:
            _log.warning("Skipped %s: %s", file, error)
            continue
        yield np.asarray(cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA), np.uint8)


def _store(stored: Path, faces: Faces) -> None:
    try:
        stored.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=stored.parent) as temporary:
            np.savez(Path(temporary, stored.name), pictures=faces.pictures, boxes=faces.boxes)
            Path(temporary, stored.name).replace(stored)
    except OSError as error:
        raise KeycastError(f"Cannot write the cache {stored} ({error}); free some space.") from error


def sizes(boxes: Floats) -> Floats:
    """Return the size (N,) of boxes (N, 4) as `shared.media.heads.Head` means it."""
    product: Floats = np.sqrt(boxes[:, 2] * boxes[:, 3])
    return product
