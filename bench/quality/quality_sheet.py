"""The pictures of a quality report. Only the moments shown are read and rendered again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.harness.clip_set import chosen, spread
from bench.harness.media import contact_sheet
from bench.quality.quality_measure import Measured, Moment, Tools
from bench.quality.quality_summary import Summary
from bench.quality.scaled_up import ScaledUp
from models.landmarks.finder import LandmarkFinder
from models.landmarks.points import EYES, LIPS, Rows
from shared.constants import SIZE
from shared.interfaces import Backbone
from shared.keypoints import Floats, Pictures
from shared.media.squares import scaled

_ERROR_SCALE = 4
# Pixels of the frame that are cut out around eyes and mouth.
_DETAIL = 96
# A picture with more people than this would be too large to look at.
_MAX_PEOPLE, _MAX_LARGE_ROWS = 40, 6


@dataclass(frozen=True)
class Drawing:
    """Contents of the pictures."""

    backbone: Backbone
    measured: Sequence[Measured]
    summary: Summary
    tools: Tools


def sheets(drawing: Drawing) -> dict[str, bytes]:
    """Return the report's PNGs by file name: worst.png, people.png and, with landmarks, speech.png."""
    shares = {str(row["person"]): row["mae_share"] for row in drawing.summary.people}
    worst = [str(row["person"]) for row in drawing.summary.worst()]
    moments = {name: _peak([m.worst for m in _of(drawing, name)]) for name in worst}
    moved = {name: _peak([m.moved for m in _of(drawing, name)]) for name in _some(list(shares), _MAX_PEOPLE)}
    found = {
        "worst.png": worst_sheet(drawing.backbone, [(f"{n} {shares[n]:.2f}", m) for n, m in moments.items()]),
        "people.png": people_sheet(drawing.backbone, list(moved.items())),
    }
    if drawing.tools.size > drawing.backbone.size:
        found["larger.png"] = larger_sheet(drawing, moved)
    if drawing.tools.landmarks is not None:
        found["speech.png"] = speech_sheet(drawing, drawing.tools.landmarks.finder)
    return found


def larger_sheet(drawing: Drawing, moments: Mapping[str, Moment]) -> bytes:
    """Return a PNG at full size: driving frame, rendering, and what is drawn smaller and scaled up."""
    size = drawing.tools.size
    rows = []
    for name in _some(list(moments), _MAX_LARGE_ROWS):
        _, driving, large = _shown(drawing.backbone, moments[name], size)
        _, _, small = _shown(ScaledUp(drawing.backbone, size), moments[name], size)
        rows.append((name, [driving, large, small]))
    captions = ("driving", f"rendered at {size}", f"at {drawing.backbone.size}, scaled up")
    return contact_sheet(rows, captions, size)


def _of(drawing: Drawing, person: str) -> list[Measured]:
    return [measured for measured in drawing.measured if measured.row["person"] == person]


def _peak(moments: Sequence[Moment]) -> Moment:
    return max(moments, key=lambda moment: moment.score)


def _some(names: Sequence[str], count: int) -> list[str]:
    """Return at most `count` of `names`, spread over them."""
    return [names[index] for index in spread(0, len(names) - 1, count)] if names else []


def worst_sheet(backbone: Backbone, moments: Sequence[tuple[str, Moment]]) -> bytes:
    """Return a PNG, a labelled row for each moment: source, driving frame, rendering, their difference x4."""
    rows = []
    for label, moment in moments:
        source, driving, rendered = _shown(backbone, moment)
        error = np.abs(driving.astype(np.int16) - rendered) * _ERROR_SCALE
        rows.append((label, [source, driving, rendered, np.minimum(error, 255).astype(np.uint8)]))
    return contact_sheet(rows, ("source", "driving", "rendered", f"error x{_ERROR_SCALE}"), SIZE)


def people_sheet(backbone: Backbone, moments: Sequence[tuple[str, Moment]]) -> bytes:
    """Return a PNG, a labelled row for each moment: source, driving frame, rendering."""
    rows = [(label, _shown(backbone, moment)) for label, moment in moments]
    return contact_sheet(rows, ("source", "driving", "rendered"))


def speech_sheet(drawing: Drawing, finder: LandmarkFinder) -> bytes:
    """Return a PNG of the three people whose lips and eyes are furthest off, two labelled rows for each.

    They are the moments of the widest mouth and of the most closed lids: the whole picture, and mouth or eyes
    almost three times as large, of driving frame and rendering cut at the same place.
    """
    rows = []
    for person in drawing.summary.least_alike():
        name = str(person["person"])
        for what, part in (("widest mouth", LIPS), ("closed lids", EYES)):
            peaks = [m.spoke[what] for m in _of(drawing, name) if what in m.spoke]
            if peaks:
                rows.append((f"{name}, {what}", _spoken(drawing.backbone, _peak(peaks), finder, part)))
    captions = ("source", "driving", "rendered")
    return contact_sheet(rows, (*captions, *(f"{caption}, near" for caption in captions)), SIZE)


def _spoken(backbone: Backbone, moment: Moment, finder: LandmarkFinder, part: Rows) -> list[Pictures]:
    """Return source, driving frame and rendering, then what of them is around the landmarks `part`."""
    source, driving, rendered = _shown(backbone, moment)
    places = [np.nan_to_num((finder.follow([p])[0, part].mean(0) + 1) * SIZE / 2) for p in (source, driving)]
    pairs = ((source, places[0]), (driving, places[1]), (rendered, places[1]))
    return [source, driving, rendered, *(_detail(picture, place) for picture, place in pairs)]


def _shown(backbone: Backbone, moment: Moment, size: int = SIZE) -> tuple[Pictures, Pictures, Pictures]:
    """Return the source picture, the driving frame at `moment`, and its rendering, `size` pixels large."""
    source, driving = chosen(moment.clip, [0, moment.frame], size)
    seen = scaled(driving, backbone.size)[None]
    drawn: Pictures = backbone.render(backbone.encode(source), backbone.detect(seen))[0]
    return source, driving, drawn


def _detail(picture: Pictures, centre: Floats) -> Pictures:
    """Cut the square around `centre` (x, y) out of `picture`, moved inside where it would reach out."""
    left, top = (int(min(max(round(at - _DETAIL / 2), 0), SIZE - _DETAIL)) for at in centre)
    return picture[top : top + _DETAIL, left : left + _DETAIL]
