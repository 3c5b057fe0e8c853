"""The landmarks of what is trained on, clip by clip, from the folders that the user gives."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.landmarks.landmark_files import CANONICAL, DRAWN, LandmarkFolder
from models.landmarks.points import COUNT
from models.training.data.frames import Clip
from shared.errors import RequestError
from shared.keypoints import Floats

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Labels:
    """Landmarks of clips, one array (frames, 175, 2) each, and of stills (stills, 175, 2); None without."""

    clips: list[Floats] | None
    stills: Floats | None

    @classmethod
    def of(
        cls, folders: Sequence[Path], clips: Sequence[Clip], stills: Path | None, still_count: int
    ) -> Labels:
        """Look in `folders`; what has no landmarks is reported, and trained on as if it had no faces.

        RequestError where not a single clip has any, or a clip has other frames than its landmarks.
        """
        if not folders:
            return cls(None, None)
        opened = [LandmarkFolder.load(folder) for folder in folders]
        found = [_of_clip(clip, opened) for clip in clips]
        missing = sum(not np.isfinite(points).any() for points in found)
        if missing == len(clips):
            raise RequestError(
                "None of the clips has landmarks; make them with python -m models.training landmarks."
            )
        if missing:
            _log.warning(
                "%d of %d clips have no landmarks: nothing is learned from their faces", missing, len(clips)
            )
        return cls(found, _of_stills(stills, still_count, opened))


def canonical_face(folders: Sequence[Path]) -> Floats | None:
    """Return the face (175, 3) that Jacobians are measured against; None without folders.

    It is that of the first folder that has one, and of drawn people only where no real face is given.
    RequestError where none has.
    """
    if not folders:
        return None
    having = [folder for folder in folders if (folder / CANONICAL).exists()]
    having.sort(key=lambda folder: (folder / DRAWN).exists())
    return LandmarkFolder.load((having or folders)[0]).canonical()


def _of_clip(clip: Clip, folders: Sequence[LandmarkFolder]) -> Floats:
    for folder in folders:
        if clip.name in folder:
            points = folder.of(clip.name)
            if len(points) != len(clip.frames):
                raise RequestError(
                    f"{clip.name} has {len(clip.frames)} frames to train on, but landmarks of {len(points)}; "
                    "make them again with python -m models.training landmarks."
                )
            return points
    return np.full((len(clip.frames), COUNT, 2), np.nan, np.float32)


def _of_stills(stills: Path | None, count: int, folders: Sequence[LandmarkFolder]) -> Floats | None:
    """Return the landmarks of the portraits in `stills`, where a folder has those of all of them."""
    if stills is None:
        return None
    for folder in folders:
        try:
            points = folder.stills(stills.resolve().name)
        except RequestError:
            continue
        if len(points) == count:
            return points
    _log.warning("There are no landmarks of the portraits in %s: nothing is learned from their faces", stills)
    return None
