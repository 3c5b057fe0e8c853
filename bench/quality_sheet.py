"""The pictures of a quality report. Only the moments shown are read and rendered again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.faces import FaceFinder, Points
from bench.media import contact_sheet
from bench.quality_clips import chosen, spread
from bench.quality_measure import Measured, Moment, Tools
from bench.quality_summary import Summary
from shared.config import SIZE
from shared.interfaces import Backbone
from shared.keypoints import Pictures

_ERROR_SCALE = 4
# Pixels of the frame that are cut out around eyes and mouth, and how much larger they are drawn.
_DETAIL, _ENLARGED = 96, 3
# A picture with more people than this would be too large to look at.
_MOST_PEOPLE, _MOST_FACES = 40, 8


@dataclass(frozen=True)
class Drawing:
    """What the pictures are of."""

    backbone: Backbone
    measured: Sequence[Measured]
    summary: Summary
    tools: Tools


def sheets(drawing: Drawing) -> dict[str, bytes]:
    """Return the report's PNGs by file name: worst.png, people.png and, with a face detector, faces.png."""
    shares = {str(row["person"]): row["mae_share"] for row in drawing.summary.people}
    worst = [str(row["person"]) for row in drawing.summary.worst()]
    moments = {name: _peak([m.worst for m in _of(drawing, name)]) for name in worst}
    moved = {name: _peak([m.moved for m in _of(drawing, name)]) for name in _some(list(shares), _MOST_PEOPLE)}
    found = {
        "worst.png": worst_sheet(drawing.backbone, [(f"{n} {shares[n]:.2f}", m) for n, m in moments.items()]),
        "people.png": people_sheet(drawing.backbone, list(moved.items())),
    }
    if drawing.tools.finder is not None:
        spoken = {name: [m.spoke for m in _of(drawing, name) if m.spoke] for name in shares}
        peaks = {name: _peak(there) for name, there in spoken.items() if there}
        chosen_faces = [(name, peaks[name]) for name in _some(list(peaks), _MOST_FACES)]
        found["faces.png"] = faces_sheet(drawing.backbone, chosen_faces, drawing.tools.finder)
    return found


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


def faces_sheet(backbone: Backbone, moments: Sequence[tuple[str, Moment]], finder: FaceFinder) -> bytes:
    """Return a PNG of eyes and mouth, three times as large as in the frame, a labelled row for each moment.

    The driving frame and the rendering are cut at the same place; moments without a face are left out.
    """
    rows = []
    for label, moment in moments:
        source, driving, rendered = _shown(backbone, moment)
        before, now = finder.find(source), finder.find(driving)
        if before is None or now is None:
            continue
        pictures = ((source, before), (driving, now), (rendered, now))
        details = [_detail(picture, face.eyes) for picture, face in pictures]
        rows.append((label, details + [_detail(picture, face.mouth) for picture, face in pictures]))
    captions = tuple(
        f"{part}, {name}" for part in ("eyes", "mouth") for name in ("source", "driving", "rendered")
    )
    return contact_sheet(rows, captions, _DETAIL * _ENLARGED)


def _shown(backbone: Backbone, moment: Moment) -> tuple[Pictures, Pictures, Pictures]:
    """Return the source picture, the driving frame at `moment`, and its rendering."""
    source, driving = chosen(moment.clip, [0, moment.frame])
    backbone.set_source(source)
    return source, driving, backbone.render(backbone.detect(driving[None]))[0]


def _detail(picture: Pictures, centre: Points) -> Pictures:
    """Cut the square around `centre` (x, y) out of `picture`, moved inside where it would reach out."""
    left, top = (int(min(max(round(at - _DETAIL / 2), 0), SIZE - _DETAIL)) for at in centre)
    return picture[top : top + _DETAIL, left : left + _DETAIL]
