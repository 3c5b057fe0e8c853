"""Summary of the clips' rows: averages over people, shares of the still picture's figures, the worst."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.harness import landmark_measures
from bench.harness.report import ALL, Row, Value

WHOLE = ("method", "person", "mae", "ssim", "perceptual", "static_mae", "static_ssim", "static_perceptual",
         "mae_share", "perceptual_share")  # fmt: skip
FACE = ("method", "person", "face_mae", "face_ssim", "face_perceptual", "face_static_mae",
        "face_static_perceptual", "face_mae_share", "face_perceptual_share")  # fmt: skip
SPEECH = (
    "method",
    "person",
    *landmark_measures.COLUMNS,
    landmark_measures.STATIC[0],
    "jitter_px",
    "gaze_alone",
)
LARGER_TARGETS = (
    ("perceptual", "SqueezeNet perceptual distance", 0.15),
    ("face_perceptual", "the same of the face box", 0.10),
)
MAE_TARGET, PERCEPTUAL_TARGET = 0.60, 0.55
_SHARES = ("mae", "perceptual", "face_mae", "face_perceptual")
_MEASURES = ("mae", "ssim", "perceptual")
_COUNTED = ("frames", "face_frames", "frames_without_face", "frames_without_landmarks")


@dataclass(frozen=True)
class Summary:
    """One method over all clips: a row for each person, and their average."""

    people: list[dict[str, Value]]
    overall: dict[str, Value]

    def worst(self, count: int = 3) -> list[dict[str, Value]]:
        """Return the rows of the people with the largest share of the still picture's MAE."""
        known = [row for row in self.people if not math.isnan(_number(row, "mae_share"))]
        return sorted(known, key=lambda row: -_number(row, "mae_share"))[:count]

    def least_alike(self, count: int = 3) -> list[dict[str, Value]]:
        """Return the rows of the people whose lips and eyes are furthest off, by landmarks."""
        known = [row for row in self.people if not math.isnan(_speech_error(row))]
        return sorted(known, key=lambda row: -_speech_error(row))[:count]

    def worse_than_still(self, share: str) -> list[str]:
        """Return the names of the people whose `share` is above 1."""
        return [str(row["person"]) for row in self.people if _number(row, share) > 1]


def summarise(rows: Sequence[Row]) -> Summary:
    """Average the clips of each person, then the people, each of whom counts the same.

    A share is that person's figure over the still picture's; the average of the people's shares stands in
    the overall row. How far lips, lids and gaze follow is taken over all frames, each clip's mean taken off:
    who moves more counts more, as a mouth that rests has nothing to follow.
    """
    names = list(dict.fromkeys(str(row["person"]) for row in rows))
    people = []
    for name in names:
        clips = [row for row in rows if row["person"] == name]
        people.append(with_shares({**_average(clips), "method": clips[0]["method"], "person": name}))
    overall = with_shares({**_average(people), "method": rows[0]["method"], "person": ALL})
    shares = {key: _mean([_number(row, key) for row in people]) for key in _share_names(people)}
    return Summary(people, {**overall, **shares})


def with_shares(row: Row) -> dict[str, Value]:
    """Return `row` with its shares of the still picture's figures, and how far lips, lids and gaze follow."""
    more: dict[str, Value] = dict(landmark_measures.with_slopes(row))
    for name in _SHARES:
        still = _number(row, _static(name))
        if _static(name) in row:
            more[f"{name}_share"] = _number(row, name) / still if still > 0 else math.nan
    return more


def static_row(overall: Row) -> dict[str, Value]:
    """Return the anchor's row: what showing the first frame all the time would score."""
    row: dict[str, Value] = {"method": "static", "person": ALL, "clip": "", "kbps": None}
    for face in ("", "face_"):
        for name in _MEASURES:
            if f"{face}static_{name}" in overall:
                row[f"{face}{name}"] = row[f"{face}static_{name}"] = overall[f"{face}static_{name}"]
        for name in ("mae", "perceptual"):
            if math.isfinite(_number(row, f"{face}{name}")):
                row[f"{face}{name}_share"] = 1.0
    for static in (name for name in landmark_measures.STATIC if name in overall):
        row[static] = row[static.removeprefix("static_")] = overall[static]
    # A still picture does not move: no slope, and no correlation to speak of.
    return row | {f"{part}_slope": 0.0 for part in landmark_measures.PARTS if f"{part}_slope" in overall}


def missing_fomm() -> dict[str, Value]:
    """Return the row that stands for the full network where nobody gave a checkpoint: no figures."""
    return {"method": "fomm (not trained: no checkpoint given)", "person": ALL, "clip": "", "kbps": None}


def verdicts(summary: Summary, with_perceptual: bool) -> list[str]:
    """Say in plain lines what was reached of the targets."""
    measures = [("mae", "MAE", MAE_TARGET)]
    if with_perceptual:
        measures.append(("perceptual", "SqueezeNet perceptual distance", PERCEPTUAL_TARGET))
    reached = [_target(summary, name, label, target) for name, label, target in measures]
    return reached + [_worse(summary, f"{name}_share", label) for name, label, _ in measures]


def larger_verdicts(large: Summary, small: Summary) -> list[str]:
    """Say how much nearer larger pictures come to the clips' frames than smaller ones, scaled up."""
    lines = []
    for name, label, target in LARGER_TARGETS:
        ours, theirs = _number(large.overall, name), _number(small.overall, name)
        if math.isfinite(ours) and theirs > 0:
            less = 1 - ours / theirs
            verdict = "reached" if less >= target else "missed"
            lines.append(
                f"{label} against the smaller pictures, scaled up: {ours:.4f} / {theirs:.4f}, "
                f"{less:.1%} less (target {target:.0%}: {verdict})"
            )
    return lines


def _worse(summary: Summary, share: str, label: str) -> str:
    worse = summary.worse_than_still(share)
    names = f": {', '.join(worse)}" if worse else ""
    return (
        f"people worse than the first frame in {label} (target 0): "
        f"{len(worse)} of {len(summary.people)}{names}"
    )


def _target(summary: Summary, name: str, label: str, target: float) -> str:
    overall = summary.overall
    share, ours, still = (_number(overall, key) for key in (f"{name}_share", name, f"static_{name}"))
    verdict = "reached" if share <= target else "missed"
    of_means = f"; of the means {ours:.4f} / {still:.4f} = {ours / still:.3f}" if still > 0 else ""
    return (
        f"{label}, share of the first frame's, mean over people: {share:.3f} "
        f"(target <= {target:.2f}: {verdict}){of_means}"
    )


def _static(name: str) -> str:
    return f"face_static_{name.removeprefix('face_')}" if name.startswith("face_") else f"static_{name}"


def _share_names(rows: Sequence[Row]) -> list[str]:
    return [f"{name}_share" for name in _SHARES if any(f"{name}_share" in row for row in rows)]


def _average(rows: Sequence[Row]) -> dict[str, Value]:
    """Return the means of the figures, without those that are missing, and the sums of the counts."""
    names = dict.fromkeys(
        key for row in rows for key, value in row.items() if isinstance(value, (int, float))
    )
    found: dict[str, Value] = {"clip": "", "kbps": None}
    for name in names:
        numbers = [_number(row, name) for row in rows]
        found[name] = int(np.nansum(numbers)) if name in _COUNTED else _mean(numbers)
    return found | landmark_measures.pool(rows)


def _speech_error(row: Row) -> float:
    return _number(row, "landmark_error_lips") + _number(row, "landmark_error_eyes")


def _mean(numbers: Sequence[float]) -> float:
    there = [number for number in numbers if not math.isnan(number)]
    return sum(there) / len(there) if there else math.nan


def _number(row: Mapping[str, Value], name: str) -> float:
    value = row.get(name)
    return float(value) if isinstance(value, (int, float)) else math.nan
