"""Reconstruction quality of one clip: one row of figures, and the moments worth looking at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from bench.harness.clip_set import Clip, chosen, kept_moments, moments
from bench.harness.faces import FACE_SIZE, FaceFinder
from bench.harness.landmark_measures import Landmarks, Speech
from bench.harness.metrics import Figures, PerceptualDistance, compare
from bench.harness.report import Value
from bench.quality.glances import gaze_alone
from bench.quality.steadiness import jitter
from shared.constants import SIZE
from shared.interfaces import Backbone
from shared.keypoints import Floats, Pictures
from shared.media.squares import scaled

BATCH = 12


@dataclass(frozen=True)
class Tools:
    """Measuring tools: the networks that are there, and how many frames of a clip they see (0 for all).

    Frames are `size` pixels large.
    """

    perceptual: PerceptualDistance | None
    finder: FaceFinder | None
    frames: int
    landmarks: Landmarks | None = None
    size: int = SIZE

    @property
    def face_size(self) -> int:
        """At how many pixels a side faces are compared."""
        return FACE_SIZE * self.size // SIZE


@dataclass(frozen=True)
class Moment:
    """One frame of a clip by number, and what makes it stand out."""

    clip: Clip
    frame: int
    score: float


@dataclass(frozen=True)
class Measured:
    """A clip's row, and its moments: the largest error, the most movement, and those of its landmarks."""

    row: dict[str, Value]
    worst: Moment
    moved: Moment
    spoke: dict[str, Moment]


@dataclass
class _Series:
    """Measurements so far, frame by frame; no pictures."""

    numbers: list[int] = field(default_factory=list)
    whole: list[dict[str, Figures]] = field(default_factory=list)
    faces: list[dict[str, Figures]] = field(default_factory=list)
    speech: Speech | None = None


def measure_clip(backbone: Backbone, clip: Clip, tools: Tools) -> Measured:
    """Reconstruct `clip` from its first frame and its true keypoints, and measure frame by frame.

    Memory does not grow with the clip's length. Raises ClipError where the clip cannot be measured.
    """
    numbers, truth = _moments(clip, tools)
    pictures = chosen(clip, [0, *numbers], tools.size)
    source = next(pictures)
    encoded = backbone.encode(source)
    series = _Series()
    if tools.landmarks is not None:
        series.speech = Speech(tools.landmarks.finder, source, truth)
    for batch in batches(pictures):
        driving = np.stack(batch)
        seen = np.stack([scaled(picture, backbone.size) for picture in batch])
        rendered = backbone.render(encoded, backbone.detect(seen))
        start = len(series.numbers)
        series.numbers += numbers[start : start + len(batch)]
        series.whole.append(compare(driving, {"": rendered, "static_": source[None]}, tools.perceptual))
        if tools.finder is not None:
            _measure_faces(series, source, driving, rendered, tools)
        if series.speech is not None:
            series.speech.add(batch, rendered)
    measured = _conclude(backbone.name, clip, series, tools.finder is not None)
    if tools.landmarks is not None:
        given = (backbone, encoded, source, tools.landmarks.finder)
        measured.row.update(jitter_px=jitter(*given), gaze_alone=gaze_alone(*given))
    return measured


def _moments(clip: Clip, tools: Tools) -> tuple[list[int], Floats | None]:
    """Return the frames to measure: of those with finer landmarks where there are, and these."""
    truth = tools.landmarks.truth if tools.landmarks is not None else None
    if truth is None or clip.file.name not in truth:
        return moments(clip, tools.frames), None
    points = truth.of(clip.file.name)
    numbers, kept = kept_moments(clip, tools.frames, len(points))
    return numbers, points[kept]


def batches(pictures: Iterator[Pictures]) -> Iterator[list[Pictures]]:
    """Give `pictures` in lists of at most 12."""
    while batch := list(islice(pictures, BATCH)):
        yield batch


def _measure_faces(
    series: _Series, source: Pictures, driving: Pictures, rendered: Pictures, tools: Tools
) -> None:
    """Measure the face of each driving frame, in the same box of all three pictures."""
    assert tools.finder is not None
    found = [(index, face) for index, picture in enumerate(driving) if (face := tools.finder.find(picture))]
    if not found:
        return
    truth, ours, still = (
        np.stack([face.cut(pictures[index], tools.face_size) for index, face in found])
        for pictures in (driving, rendered, np.broadcast_to(source, driving.shape))
    )
    compared = compare(truth, {"": ours, "static_": still}, tools.perceptual)
    series.faces.append({f"face_{name}": values for name, values in compared.items()})


def _conclude(method: str, clip: Clip, series: _Series, with_faces: bool) -> Measured:
    count = len(series.numbers)
    row: dict[str, Value] = {
        "method": method, "person": clip.person, "clip": clip.name, "kbps": None, "frames": count,
        **_means(series.whole),
    }  # fmt: skip
    if with_faces:
        faces = sum(len(part["face_mae"]) for part in series.faces)
        row |= {"face_frames": faces, "frames_without_face": count - faces, **_means(series.faces)}
    errors, motion = (np.concatenate([part[name] for part in series.whole]) for name in ("mae", "static_mae"))
    spoke = {}
    if series.speech is not None:
        row |= series.speech.columns()
        peaks = series.speech.moments().items()
        spoke = {name: Moment(clip, series.numbers[index], score) for name, (index, score) in peaks}
    return Measured(row, _peak(clip, series.numbers, errors), _peak(clip, series.numbers, motion), spoke)


def _means(parts: Sequence[dict[str, Figures]]) -> dict[str, float]:
    names = parts[0] if parts else ()
    return {name: float(np.concatenate([part[name] for part in parts]).mean()) for name in names}


def _peak(clip: Clip, numbers: Sequence[int], scores: Figures) -> Moment:
    index = int(scores.argmax())
    return Moment(clip, numbers[index], float(scores[index]))
