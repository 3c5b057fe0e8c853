"""The picture of `bench bandwidth`: what each way of calling costs, on one scale."""

from __future__ import annotations

from collections.abc import Sequence

from bench.harness.plots import COLOURS, TEXT, legend, new_figure, png
from bench.harness.report import Row
from shared.constants import REFERENCE_KBPS

_BARS = (
    ("payload_kbps", "payload", COLOURS[0]),
    ("wire_both_steady_kbps", "wire, both ways, set-up and source pictures apart", COLOURS[2]),
    ("wire_both_60s_kbps", "wire, both ways, all of a minute's call", COLOURS[1]),
)


def chart(rows: Sequence[Row]) -> bytes:
    """Return a PNG of bars, a group for each row, kbps on a logarithmic scale."""
    figure, (axis,) = new_figure(1, 1, 10, 0.75 * len(rows) + 1.5)
    height = 0.8 / len(_BARS)
    for place, (name, label, colour) in enumerate(_BARS):
        known = [(index, _value(row, name)) for index, row in enumerate(rows) if row.get(name) is not None]
        at = [index + (place - 1) * height for index, _ in known]
        axis.barh(at, [value for _, value in known], height * 0.92, color=colour, label=label)
        for y, (_, value) in zip(at, known, strict=True):
            axis.text(value * 1.05, y, f"{value:.1f}", va="center", fontsize=8, color=TEXT)
    axis.axvline(REFERENCE_KBPS, color=COLOURS[3], linewidth=1, label="an ordinary call, 500 kbps")
    axis.set_yticks(range(len(rows)), [_name(row) for row in rows])
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.set_xlim(0.5, 1000)
    axis.set_xlabel("kbps")
    axis.grid(axis="y", visible=False)
    legend(axis, loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=4, fontsize=8)
    return png(figure)


def _value(row: Row, name: str) -> float:
    return float(row[name] or 0.0)


def _name(row: Row) -> str:
    if row["source"] == "published":
        return f"{row['backbone']}, {row['policy']}\n(published, payload alone)"
    return f"{row['preset']}, {row['policy']}"
