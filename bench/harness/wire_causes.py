"""Bytes on the wire by their cause, as columns, a table and stacked bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.harness.plots import COLOURS, legend, new_figure, png
from bench.harness.processes import CallRecord
from bench.harness.report import Row
from shared.interfaces import CAUSES
from shared.runtime.stats import kbps

COLUMNS = ("preset", "policy", "way", *CAUSES)
TITLE = "What the wire carries, kbps, set-up and pictures too"
_WAYS = ("up", "down")
# Those that are close in meaning are close in hue.
_HUES = dict(zip(CAUSES, (*COLOURS, "#d8dbe0", "#6c7480", "#7a5c3e"), strict=True))


def columns(ours: Mapping[str, Any], theirs: Mapping[str, Any], seconds: float) -> dict[str, float]:
    """Return `up_CAUSE_kbps` and `down_CAUSE_kbps` of a call, from what its sender and receiver say."""
    return {
        f"{way}_{cause}_kbps": kbps(side["wire_sent_by_cause"][cause], seconds)
        for way, side in zip(_WAYS, (ours, theirs), strict=True)
        for cause in CAUSES
    }


def of_both(forth: CallRecord, back: CallRecord) -> dict[str, float]:
    """Return `columns` of a two-way call: each end is a sender of one direction, a receiver of the other."""
    seconds = forth.sender["seconds"]
    ends = ((forth.sender, back.receiver), (back.sender, forth.receiver))
    calling, answering = ({"wire_sent_by_cause": _merged(*end)} for end in ends)
    return columns(calling, answering, seconds)


def _merged(sender: Mapping[str, Any], receiver: Mapping[str, Any]) -> dict[str, int]:
    """Return what an end has sent, where each direction took what the other one said for control."""
    sent, other = (side["wire_sent_by_cause"] for side in (sender, receiver))
    said = {cause: other[cause] for cause in ("pictures", "reports") if not sent[cause]}
    return {**sent, **said, "control": max(0, sent["control"] - sum(said.values()))}


def by_way(rows: Sequence[Row]) -> list[Row]:
    """Return two table rows for each of `rows`, what it sends up and down, in `COLUMNS`."""
    return [
        {
            "preset": row["preset"], "policy": row["policy"], "way": way,
            **{cause: row[f"{way}_{cause}_kbps"] for cause in CAUSES},
        }
        for row in rows
        for way in _WAYS
    ]  # fmt: skip


def chart(rows: Sequence[Row]) -> bytes:
    """Return a PNG of stacked bars, one up and one down for each call."""
    bars = by_way(rows)
    figure, (axis,) = new_figure(1, 1, 10, 0.45 * len(bars) + 1.6)
    left = [0.0] * len(bars)
    for cause in CAUSES:
        values = [float(bar[cause] or 0.0) for bar in bars]
        if any(values):
            label = cause.replace("_", "-")
            axis.barh(range(len(bars)), values, 0.8, left, color=_HUES[cause], label=label)
        left = [before + value for before, value in zip(left, values, strict=True)]
    axis.set_yticks(range(len(bars)), [f"{bar['preset']}, {bar['policy']}, {bar['way']}" for bar in bars])
    axis.invert_yaxis()
    axis.set_xlabel("kbps")
    axis.grid(axis="y", visible=False)
    legend(axis, loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=6, fontsize=8)
    return png(figure)
