"""Transfer between different people, where no truth exists: is the motion followed, the identity kept?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.faces import Face, FaceFinder
from bench.media import contact_sheet
from bench.quality_clips import Clip, chosen, moments
from bench.quality_measure import Tools, batches
from bench.report import Value
from shared.interfaces import Backbone
from shared.keypoints import POSITIONS, Floats, Pictures, relative

PAIRS = 10
COLUMNS = ("method", "person", "frames", "motion_correlation", "motion_error", "identity_kept",
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
    """One pair's row, its source picture, and some of its frames: driving (N, 256, 256, 3) and rendered."""

    row: dict[str, Value]
    source: Pictures
    driving: Pictures
    rendered: Pictures


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
    motion_correlation: of the displacements that the detector finds in the rendered frames with those asked
    for, over all points and frames. motion_error: mean length of the difference of both, over the mean length
    asked for; a still picture has about 1. identity_kept: share of frames whose face is nearer to the
    source's than to the driver's of the same moment, in SqueezeNet perceptual distance; the two mean
    distances stand beside it. Without a face detector it is the whole picture, background and all.
    face_found: share of the rendered frames in which the detector finds a face. Raises ClipError where a clip
    cannot be used.
    """
    source = next(chosen(pair.source, [0]))
    numbers = moments(pair.driver, tools.frames)
    pictures = chosen(pair.driver, [0, *numbers])
    initial = backbone.detect(next(pictures)[None])[0]
    own = backbone.set_source(source)
    shown = set(np.linspace(0, len(numbers) - 1, _SHOWN).round().astype(int).tolist())
    asked: list[Floats] = []
    found: list[Floats] = []
    near, kept = [], []
    for batch in batches(pictures):
        driving = np.stack(batch)
        wanted = relative(own, backbone.detect(driving), initial)
        rendered = backbone.render(wanted)
        kept += [(d, r) for n, d, r in zip(range(len(asked), len(numbers)), driving, rendered, strict=False)
                 if n in shown]  # fmt: skip
        asked += list(wanted - own)
        found += list(backbone.detect(rendered) - own)
        near.append(_identity(source, driving, rendered, tools))
    row: dict[str, Value] = {
        "method": "transfer", "person": pair.name, "clip": pair.driver.name, "kbps": None,
        "frames": len(asked), **_motion(np.stack(asked), np.stack(found)),
        **_identity_figures(np.concatenate(near)),
    }  # fmt: skip
    return Transferred(row, source, np.stack([d for d, _ in kept]), np.stack([r for _, r in kept]))


def transfer_sheet(done: Sequence[Transferred]) -> bytes:
    """Return a PNG, two lines a pair: source and driving frames, below these the rendered ones."""
    rows: list[tuple[str, Sequence[Pictures]]] = []
    for result in done:
        source, _, driver = str(result.row["person"]).partition("<-")
        rows.append((source, [result.source, *result.driving]))
        rows.append((f"<- {driver}", [np.zeros_like(result.source), *result.rendered]))
    return contact_sheet(rows, ("source", *["driving, rendered below"] * _SHOWN), 192)


def _motion(asked: Floats, found: Floats) -> dict[str, float]:
    """Compare displacements (T, 60) of which the positions count."""
    wanted, got = (moved[:, :POSITIONS].astype(np.float64) for moved in (asked, found))
    length = float(np.hypot(wanted[:, ::2], wanted[:, 1::2]).mean())
    error = float(np.hypot(*(np.moveaxis((got - wanted).reshape(len(got), -1, 2), 2, 0))).mean())
    both = wanted.std() > 0 and got.std() > 0
    correlation = float(np.corrcoef(wanted.ravel(), got.ravel())[0, 1]) if both else np.nan
    return {"motion_correlation": correlation, "motion_error": error / length if length > 0 else np.nan}


def _identity(source: Pictures, driving: Pictures, rendered: Pictures, tools: Tools) -> Floats:
    """Return for each frame its distance to the source, to the driver, and whether it has a face: (B, 3)."""
    figures = np.full((len(driving), 3), np.nan, np.float32)
    still = np.broadcast_to(source, driving.shape)
    triples = [_cut(tools.finder, *pictures) for pictures in zip(still, driving, rendered, strict=True)]
    if tools.finder is not None:
        figures[:, 2] = [tools.finder.find(picture) is not None for picture in rendered]
    there = [index for index, triple in enumerate(triples) if triple is not None]
    if tools.perceptual is not None and there:
        own, other, drawn = (np.stack(part) for part in zip(*filter(None, triples), strict=True))
        figures[there, :2] = np.stack(tools.perceptual.between(drawn, own, other), axis=1)
    return figures


def _cut(
    finder: FaceFinder | None, source: Pictures, driving: Pictures, rendered: Pictures
) -> tuple[Pictures, Pictures, Pictures] | None:
    """Return what is compared: the faces of all three pictures, None where one has none."""
    if finder is None:
        return source, driving, rendered
    faces: list[Face | None] = [finder.find(picture) for picture in (source, driving, rendered)]
    if any(face is None for face in faces):
        return None
    own, other, drawn = (
        face.cut(picture) for face, picture in zip(faces, (source, driving, rendered), strict=True) if face
    )
    return own, other, drawn


def _identity_figures(figures: Floats) -> dict[str, float]:
    own, other, face = figures[:, 0], figures[:, 1], figures[:, 2]
    known = ~np.isnan(own)
    return {
        "identity_kept": float((own < other)[known].mean()) if known.any() else np.nan,
        "distance_to_source": float(own[known].mean()) if known.any() else np.nan,
        "distance_to_driver": float(other[known].mean()) if known.any() else np.nan,
        "face_found": float(face.mean()) if len(face) else np.nan,
    }
