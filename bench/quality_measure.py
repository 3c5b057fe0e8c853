"""How well one clip is reconstructed: one row of figures, and the moments worth looking at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from bench.faces import Face, FaceFinder, Following, lids_opening, lips_opening
from bench.metrics import Figures, PerceptualDistance, compare
from bench.quality_clips import Clip, chosen, moments
from bench.report import Value
from shared.interfaces import Backbone
from shared.keypoints import Pictures

BATCH = 12


@dataclass(frozen=True)
class Tools:
    """What measures: the networks that are there, and how many frames of a clip they see (0 for all)."""

    perceptual: PerceptualDistance | None
    finder: FaceFinder | None
    frames: int


@dataclass(frozen=True)
class Moment:
    """One frame of a clip by number, and what makes it stand out."""

    clip: Clip
    frame: int
    score: float


@dataclass(frozen=True)
class Measured:
    """A clip's row, and its moments: the largest error, the most movement, the widest change of the lips."""

    row: dict[str, Value]
    worst: Moment
    moved: Moment
    spoke: Moment | None


@dataclass
class _Series:
    """What was measured so far, frame by frame; no pictures."""

    numbers: list[int] = field(default_factory=list)
    whole: list[dict[str, Figures]] = field(default_factory=list)
    faces: list[dict[str, Figures]] = field(default_factory=list)
    spoken: list[int] = field(default_factory=list)
    lips: list[tuple[float, float]] = field(default_factory=list)
    lids: list[tuple[float, float]] = field(default_factory=list)


def measure_clip(backbone: Backbone, clip: Clip, tools: Tools) -> Measured:
    """Reconstruct `clip` from its first frame and its true keypoints, and measure frame by frame.

    Memory does not grow with the clip's length. Raises ClipError where the clip cannot be measured.
    """
    numbers = moments(clip, tools.frames)
    pictures = chosen(clip, [0, *numbers])
    source = next(pictures)
    backbone.set_source(source)
    series = _Series()
    for batch in batches(pictures):
        driving = np.stack(batch)
        rendered = backbone.render(backbone.detect(driving))
        start = len(series.numbers)
        series.numbers += numbers[start : start + len(batch)]
        series.whole.append(compare(driving, {"": rendered, "static_": source[None]}, tools.perceptual))
        if tools.finder is not None:
            _measure_faces(series, start, source, driving, rendered, tools)
    return _conclude(backbone.name, clip, series, tools.finder is not None)


def batches(pictures: Iterator[Pictures]) -> Iterator[list[Pictures]]:
    """Give `pictures` in lists of at most 12."""
    while batch := list(islice(pictures, BATCH)):
        yield batch


def _measure_faces(  # noqa: PLR0917 - three pictures and where they go
    series: _Series, start: int, source: Pictures, driving: Pictures, rendered: Pictures, tools: Tools
) -> None:
    """Measure the face of each driving frame, in the same box of all three pictures."""
    assert tools.finder is not None
    found = [(index, face) for index, picture in enumerate(driving) if (face := tools.finder.find(picture))]
    if not found:
        return
    truth, ours, still = (
        np.stack([face.cut(pictures[index]) for index, face in found])
        for pictures in (driving, rendered, np.broadcast_to(source, driving.shape))
    )
    compared = compare(truth, {"": ours, "static_": still}, tools.perceptual)
    series.faces.append({f"face_{name}": values for name, values in compared.items()})
    for index, face in found:
        series.spoken.append(series.numbers[start + index])
        series.lips.append(_both(lips_opening, driving[index], rendered[index], face))
        series.lids.append(_both(lids_opening, driving[index], rendered[index], face))


def _conclude(method: str, clip: Clip, series: _Series, with_faces: bool) -> Measured:
    count = len(series.numbers)
    row: dict[str, Value] = {
        "method": method, "person": clip.person, "clip": clip.name, "kbps": None, "frames": count,
        **_means(series.whole),
    }  # fmt: skip
    if with_faces:
        row |= {"face_frames": len(series.lips), "frames_without_face": count - len(series.lips)}
        row |= _means(series.faces) | _following("lips", series.lips) | _following("lids", series.lids)
    errors, motion = (np.concatenate([part[name] for part in series.whole]) for name in ("mae", "static_mae"))
    spoke = None
    if series.lips:
        wanted = np.array(series.lips)[:, 0]
        # Against the middle, not the first frame, whose mouth may stand open.
        spoke = _peak(clip, series.spoken, np.abs(wanted - np.median(wanted)))
    return Measured(row, _peak(clip, series.numbers, errors), _peak(clip, series.numbers, motion), spoke)


def _both(
    opening: Callable[[Pictures, Face], float], driving: Pictures, rendered: Pictures, face: Face
) -> tuple[float, float]:
    return opening(driving, face), opening(rendered, face)


def _means(parts: Sequence[dict[str, Figures]]) -> dict[str, float]:
    names = parts[0] if parts else ()
    return {name: float(np.concatenate([part[name] for part in parts]).mean()) for name in names}


def _following(part: str, openings: Sequence[tuple[float, float]]) -> dict[str, float]:
    found = Following.of(openings)
    return {
        f"{part}_variance": found.variance,
        f"{part}_rendered_variance": found.rendered_variance,
        f"{part}_covariance": found.covariance,
    }


def _peak(clip: Clip, numbers: Sequence[int], scores: Figures) -> Moment:
    index = int(scores.argmax())
    return Moment(clip, numbers[index], float(scores[index]))
