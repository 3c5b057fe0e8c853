"""Landmark measures of a rendering: how far lips, lids and gaze follow, and how far points are off.

Driving and rendered frames are seen by the same finder, so what it does not see rightly it sees alike in
both: faces rendered exactly have slopes and correlations of 1 and no error. Openings are not calibrated:
mapped by each clip's quantiles to those of finer landmarks, they came no nearer to what the finer mesh itself
measures of two networks' renderings.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.harness.following import Following, pooled
from models.build import load_landmark_finder
from models.landmarks.finder import Follower, LandmarkFinder
from models.landmarks.landmark_files import LandmarkFolder
from models.landmarks.mesh import FACE_FILE
from models.landmarks.points import COUNT, EYES, LIPS, OPENINGS, eye_distance, openings
from shared.errors import RequestError
from shared.keypoints import Floats, Pictures

Figures = npt.NDArray[np.float64]
PARTS = OPENINGS
FRAMES = 60
"""So many frames of a clip are measured: fewer would miss blinks."""
_ERRORS = {"": slice(None), "_lips": LIPS, "_eyes": EYES}
COLUMNS = (
    *(f"{part}_{figure}" for part in PARTS for figure in ("slope", "correlation")),
    *(f"landmark_error{part}" for part in _ERRORS),
)
STATIC = tuple(f"static_landmark_error{part}" for part in _ERRORS)
NOTE = (
    "slope and correlation: openings of rendered over driving frames, pooled over all frames, each clip's "
    "mean taken off; landmark errors: mean distances, in distances between the eyes"
)


@dataclass(frozen=True)
class Landmarks:
    """Landmark finder, and finer landmarks that were found before, where they are given."""

    finder: LandmarkFinder
    truth: LandmarkFolder | None = None


def add_landmarks_argument(parser: argparse.ArgumentParser) -> None:
    """Declare `--landmarks`, which means the same wherever it appears."""
    what = (
        "with MediaPipe's face_landmark.tflite and iris_landmark.tflite: how well lips, lids and gaze follow"
    )
    parser.add_argument("--landmarks", type=Path, metavar="FOLDER", help=what)


def open_landmarks(folders: Sequence[Path]) -> Landmarks | None:
    """Return what the folders hold: the networks, and landmarks of the clips; None for no folder.

    RequestError for a folder with neither, and where there are no networks to look at renderings with.
    """
    if not folders:
        return None
    models = [folder for folder in folders if (folder / FACE_FILE).exists()]
    others = [folder for folder in folders if folder not in models]
    if not models:
        raise RequestError(
            f"There is no {FACE_FILE} in {', '.join(map(str, folders))}; --landmarks always needs the folder "
            "of the networks that find them."
        )
    if len(models) > 1 or len(others) > 1:
        raise RequestError(
            "--landmarks takes one folder of networks and at most one of landmarks of the clips."
        )
    truth = LandmarkFolder.load(others[0]) if others else None
    return Landmarks(load_landmark_finder(models[0]), truth)


@dataclass
class Speech:
    """One clip or call: what the finder sees in its driving and rendered frames."""

    finder: LandmarkFinder
    source: Pictures | None = None
    truth: Floats | None = None
    """Finer landmarks (T, 175, 2) of the driving frames, in their order."""
    driving: list[Floats] = field(default_factory=list)
    rendered: list[Floats] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._followers = Follower(self.finder), Follower(self.finder)
        self._last: Pictures | None = None

    def add(self, driving: Sequence[Pictures] | Pictures, rendered: Sequence[Pictures] | Pictures) -> None:
        """Take in further frames, pictures (H, W, 3) in order."""
        for wanted, got in zip(driving, rendered, strict=True):
            # A video of fewer frames per second shows the very same picture again.
            if wanted is not self._last:
                self._seen = self._followers[0]([wanted])[0]
                self._last = wanted
            self.driving.append(self._seen)
            self.rendered.append(self._followers[1]([got])[0])

    def columns(self) -> dict[str, Any]:
        """Return the row's columns: statistics to be pooled, errors, and in how many frames there are faces.

        With a source picture, the errors of showing it all the time too; with the truth, the finder's own.
        """
        there, wanted, got = self._both()
        row: dict[str, Any] = {
            "landmark_frames": len(wanted), "frames_without_landmarks": len(self.driving) - len(wanted)
        }  # fmt: skip
        for part, driven, drawn in zip(PARTS, openings(wanted).T, openings(got).T, strict=True):
            row |= Following.of(driven, drawn).columns(part)
        row |= errors("landmark_error", wanted, got)
        if self.source is not None:
            row |= errors("static_landmark_error", wanted, self.finder.follow([self.source]))
        if self.truth is not None:
            row |= errors("finder_error", self.truth[there], wanted)
        return row

    def moments(self) -> dict[str, tuple[int, float]]:
        """Return the driving frames with the widest mouth and the most closed lids, and by how much.

        Their places among those taken in, and the distance from the middle of all; nothing without a face.
        """
        seen = openings(np.stack(self.driving)) if self.driving else np.empty((0, 3))
        if not np.isfinite(seen).any():
            return {}
        apart = (seen - np.nanmedian(seen, 0)) * [1, -1, 1]
        return {name: (int(np.nanargmax(apart[:, place])), float(np.nanmax(apart[:, place])))
                for place, name in enumerate(("widest mouth", "closed lids"))}  # fmt: skip

    def _both(self) -> tuple[npt.NDArray[np.bool_], Floats, Floats]:
        """Return in which frames both faces were found, and their landmarks there."""
        empty = np.empty((0, COUNT, 2), np.float32)
        wanted, got = (np.stack(found) if found else empty for found in (self.driving, self.rendered))
        there = np.isfinite(wanted[:, 0, 0]) & np.isfinite(got[:, 0, 0])
        return there, wanted[there], got[there]


def errors(name: str, truth: Floats, found: Floats) -> dict[str, float]:
    """Return the mean distances of landmarks `found` (T or 1, 175, 2) from `truth` in eye distances."""
    off = np.linalg.norm(found - truth, axis=-1) / eye_distance(truth)[:, None]
    off = off[np.isfinite(off[:, 0])]
    return {
        f"{name}{part}": float(off[:, rows].mean()) if len(off) else np.nan for part, rows in _ERRORS.items()
    }


def with_slopes(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return `row` with the slopes and correlations that its statistics amount to."""
    more = dict(row)
    for part in PARTS:
        if f"{part}_variance" in row:
            found = Following.from_row(row, part)
            more |= {f"{part}_slope": found.slope, f"{part}_correlation": found.correlation}
    return more


def pool(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the statistics of all frames that `rows` are of, and their number; empty where none has any."""
    known = [row for row in rows if "landmark_frames" in row]
    if not known:
        return {}
    counts = [int(row["landmark_frames"]) for row in known]
    found: dict[str, Any] = {"landmark_frames": sum(counts)}
    for part in PARTS:
        every = [Following.from_row(row, part) for row in known]
        found |= pooled(list(zip(counts, every, strict=True))).columns(part)
    return found
