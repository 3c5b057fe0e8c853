"""Transfer between different people, where no truth exists: is the motion followed, the identity kept?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.harness.clip_set import Clip, chosen, moments
from bench.harness.faces import Face
from bench.harness.following import Following
from bench.harness.landmark_measures import Speech, with_slopes
from bench.harness.media import contact_sheet
from bench.harness.metrics import Figures
from bench.harness.report import Value
from bench.quality.quality_measure import Tools, batches
from shared.interfaces import Backbone
from shared.keypoints import Floats, KeypointLayout, Pictures

PAIRS = 10
COLUMNS = ("method", "person", "frames", "motion_correlation", "motion_error", "face_motion_correlation",
           "lips_slope", "lips_correlation", "lids_slope", "lids_correlation", "identity_kept",
           "distance_to_source", "distance_to_driver", "face_found")  # fmt: skip
_SHOWN = 4


@dataclass(frozen=True)
class Pair:
    """Whose picture is animated by whose motion."""

    source: Clip
    driver: Clip

    @property
    def name(self) -> str:
        """`A<-B`: the picture of A moves as B does."""
        return f"{self.source.person}<-{self.driver.person}"

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Transferred:
    """One pair's row and some frames: the source, then rendered ones; the driver's first, then driving."""

    row: dict[str, Value]
    rendered: Sequence[Pictures]
    driving: Sequence[Pictures]


@dataclass
class _Seen:
    """Measurements so far, a line per frame; NaN for what is not there. No pictures."""

    asked: list[Floats] = field(default_factory=list)
    found: list[Floats] = field(default_factory=list)
    distances: list[Figures] = field(default_factory=list)
    faces: list[tuple[Face | None, Face | None]] = field(default_factory=list)


def choose_pairs(clips: Sequence[Clip], count: int = PAIRS) -> list[Pair]:
    """Return up to `count` pairs of different people, spread over the list, the same for the same clips.

    Of a person's clips the first is used. Fewer pairs result where there are few people, none for one.
    """
    first = {clip.person: clip for clip in reversed(clips)}
    people = [first[name] for name in dict.fromkeys(clip.person for clip in clips)]
    total = len(people)
    if total < 2:
        return []
    # Half way round the list, and one further: sources and drivers are not the same few people then.
    step = 1 if total < 4 else total // 2 + 1
    starts = [index * total // count for index in range(count)]
    pairs = [Pair(people[start], people[(start + step) % total]) for start in starts]
    return list(dict.fromkeys(pairs))


def transfer(backbone: Backbone, pair: Pair, tools: Tools) -> Transferred:
    """Animate the first frame of one clip with the motion of the other, relative to its first frame.

    Columns, all without any truth to compare with:
    motion_correlation: of the displacements that the network's own detector finds in the rendered frames with
    those asked for, over all points and frames. motion_error: mean length of the difference of both, over the
    mean length asked for; a still picture has about 1. face_motion_correlation: of the displacements of the
    face detector's five points since the first frame, driving and rendered, each in units of its face: a
    second opinion. lips_*, lids_*, gaze_*: openings by landmarks, each face's in its own measure; see
    `bench.harness.landmark_measures`. identity_kept: share of frames whose face is nearer to the source's
    than to the driver's of the same moment, in SqueezeNet perceptual distance; the two mean distances stand
    next to it. Without a face detector it is the whole picture, background and all. face_found: share of the
    rendered frames in which the detector finds a face.
    Raises ClipError where a clip cannot be used.
    """
    source = next(chosen(pair.source, [0]))
    numbers = moments(pair.driver, tools.frames)
    pictures = chosen(pair.driver, [0, *numbers])
    first = next(pictures)
    encoded = backbone.encode(source)
    moved, own = backbone.transfer(encoded, backbone.detect(first[None])[0]), encoded.keypoints
    shown = set(np.linspace(0, len(numbers) - 1, _SHOWN).round().astype(int).tolist())
    face = None if tools.finder is None else tools.finder.find(source)
    speech = None if tools.landmarks is None else Speech(tools.landmarks.finder)
    seen, driven, drawn = _Seen(), [first], [source]
    for batch in batches(pictures):
        driving = np.stack(batch)
        asked = moved(backbone.detect(driving))
        rendered = backbone.render(encoded, asked)
        here = [index for index in range(len(batch)) if len(seen.asked) + index in shown]
        driven, drawn = [*driven, *driving[here]], [*drawn, *rendered[here]]
        seen.asked += list(asked - own)
        seen.found += list(backbone.detect(rendered) - own)
        _see(seen, source, face, driving, rendered, tools)
        if speech is not None:
            speech.add(batch, rendered)
    row: dict[str, Value] = {
        "method": "transfer", "person": pair.name, "clip": pair.driver.name, "kbps": None,
        "frames": len(seen.asked), **_motion(backbone.layout, np.stack(seen.asked), np.stack(seen.found)),
        **_identity(seen),
    }  # fmt: skip
    if tools.finder is not None:
        row |= _face_figures(seen, tools.finder.find(first), face)
    if speech is not None:
        # Where landmarks are is another question: they belong to two people.
        row |= {n: v for n, v in with_slopes(speech.columns()).items() if not n.startswith("landmark_error")}
    return Transferred(row, drawn, driven)


def transfer_sheet(done: Sequence[Transferred]) -> bytes:
    """Return a PNG, two lines a pair: the driver's first and later frames, below them source and rendered."""
    rows: list[tuple[str, Sequence[Pictures]]] = []
    for result in done:
        source, _, driver = str(result.row["person"]).partition("<-")
        rows += [(driver, result.driving), (f"> {source}", result.rendered)]
    return contact_sheet(rows, ("first frame / source", *["driving / rendered"] * _SHOWN), 192)


def _see(  # noqa: PLR0917 - the source and its face, two batches, and where they go
    seen: _Seen, source: Pictures, own: Face | None, driving: Pictures, rendered: Pictures, tools: Tools
) -> None:
    """Take in one batch: the faces in it, and how far the rendered pictures are from both people."""
    compared: list[tuple[Pictures, Pictures, Pictures]] = []
    if tools.finder is None:
        compared = [(drawn, source, truth) for truth, drawn in zip(driving, rendered, strict=True)]
    else:
        for truth, drawn in zip(driving, rendered, strict=True):
            wanted, got = tools.finder.find(truth), tools.finder.find(drawn)
            seen.faces.append((wanted, got))
            if own and wanted and got:
                compared.append((got.cut(drawn), own.cut(source), wanted.cut(truth)))
    if tools.perceptual is not None and compared:
        drawn, mine, theirs = (np.stack(part) for part in zip(*compared, strict=True))
        seen.distances.append(np.stack(tools.perceptual.between(drawn, mine, theirs), axis=1))


def _motion(layout: KeypointLayout, asked: Floats, found: Floats) -> dict[str, float]:
    """Compare displacements (T, D), of which the points' positions count; NaN where there are none."""
    wanted, got = (layout.positions(moved).reshape(-1, 2).astype(np.float64) for moved in (asked, found))
    if not wanted.size:
        return {"motion_correlation": np.nan, "motion_error": np.nan}
    length, error = (float(np.linalg.norm(moved, axis=1).mean()) for moved in (wanted, got - wanted))
    return {
        "motion_correlation": _correlation(wanted, got),
        "motion_error": error / length if length else np.nan,
    }


def _identity(seen: _Seen) -> dict[str, float]:
    if not seen.distances:
        return {"identity_kept": np.nan, "distance_to_source": np.nan, "distance_to_driver": np.nan}
    own, other = np.concatenate(seen.distances).T
    return {
        "identity_kept": float((own < other).mean()),
        "distance_to_source": float(own.mean()),
        "distance_to_driver": float(other.mean()),
    }


def _face_figures(seen: _Seen, first: Face | None, source: Face | None) -> dict[str, float]:
    """Compare what the face detector sees in driving and rendered frames."""
    pairs = [(wanted, got) for wanted, got in seen.faces if wanted and got]
    motion = np.nan
    if first and source and pairs:
        wanted, got = (
            np.stack([(face.points - start.points) / np.hypot(*start.eye_line) for face in faces])
            for start, faces in zip((first, source), zip(*pairs, strict=True), strict=True)
        )
        motion = _correlation(wanted, got)
    return {
        "face_motion_correlation": motion,
        "face_found": float(np.mean([got is not None for _, got in seen.faces])),
    }


def _correlation(a: Figures, b: Figures) -> float:
    """Return Pearson's correlation of all numbers of two arrays; NaN where either is constant."""
    return Following.of(a.ravel(), b.ravel()).correlation
