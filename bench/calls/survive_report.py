"""Report of `bench survive`: columns, which targets are met, and the picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.harness.plots import COLOURS, TEXT, legend, new_figure, png
from bench.harness.report import Row
from shared.constants import FPS, Schedule

COLUMNS = (
    "condition", "fps_shown", "longest_freeze_ms", "longest_held_ms", "mae", "mae_clean", "recovery_ms",
)  # fmt: skip
FAILED = ("condition", "failed")
FRAMES = (
    "condition", "frames_observed", "frames_forecast", "frames_interpolated", "frames_held", "late_frames",
    "playout_delay_ms", "latency_p50_ms", "latency_p95_ms",
)  # fmt: skip
SENT = ("condition", "packets", "dropped_packets", "held_back_packets", "rate_halved")
MIN_FPS = FPS - 1
FREEZE_MS = 100
EXCESS = 0.10
RESTART_MS = 3000
_SMOOTH = ("clean", "loss5", "loss10", "loss20", "bursts20", "jitter200", "rtt200loss20")
_PANELS = (
    (("fps_shown", "fps shown in time", COLOURS[0]),),
    (
        ("longest_freeze_ms", "longest freeze, ms", COLOURS[3]),
        ("longest_held_ms", "longest held, ms", COLOURS[1]),
    ),
    (("mae", "MAE", COLOURS[0]), ("mae_clean", "the same frames, clean", COLOURS[8])),
    (("recovery_ms", "recovery, ms", COLOURS[2]),),
)


def lines(rows: Sequence[Row]) -> list[str]:
    """Say of each target whether it is met, and where not; of each direction of two-way calls."""
    directions = dict.fromkeys(str(row.get("direction") or "") for row in rows)
    return [
        f"{direction}: {line}" if direction else line
        for direction in directions
        for line in _lines([row for row in rows if str(row.get("direction") or "") == direction])
    ]


def _lines(rows: Sequence[Row]) -> list[str]:
    by = {str(row["name"]): row for row in rows}
    slow = [f"{row['condition']} {_value(row, 'fps_shown'):.1f}" for row in rows if _is_slow(row)]
    frozen = [
        f"{by[name]['condition']} {_value(by[name], 'longest_freeze_ms'):.0f} ms"
        for name in _SMOOTH
        if name in by and _value(by[name], "longest_freeze_ms", 1e9) > FREEZE_MS
    ]
    said = [
        _said(f"at least {MIN_FPS} of {FPS} fps shown in time throughout", slow),
        _said(f"no freeze over {FREEZE_MS} ms up to 20 % loss and jitter", frozen),
    ]
    return [*said, *_recoveries(by)]


def _recoveries(by: dict[str, Row]) -> Iterator[str]:
    if "loss10" in by:
        row = by["loss10"]
        excess = _value(row, "mae", 1e9) / (_value(row, "mae_clean") or 1e-9) - 1
        missed = [f"{excess:+.1%}"] if excess > EXCESS else []
        yield _said(f"MAE at 10 % loss at most {EXCESS:.0%} above clean ({excess:+.1%})", missed)
    block = Schedule()
    limits = {
        "cut1": ("within one block after a 1 s cut", 1000 * (block.observe + block.skip) / FPS),
        "receiver-restart": ("within 3 s after a restart of the receiver", RESTART_MS),
        "sender-restart": ("within 3 s after a restart of the sender", RESTART_MS),
    }
    for name, (what, limit) in limits.items():
        if name in by:
            took = by[name].get("recovery_ms")
            late = took is None or float(took) > limit
            yield _said(f"back {what}", ["never" if took is None else f"{took} ms"] if late else [])


def _is_slow(row: Row) -> bool:
    return _value(row, "fps_shown") < MIN_FPS


def _said(target: str, missed: Sequence[str]) -> str:
    return f"missed: {target}: {', '.join(missed)}" if missed else f"met: {target}"


def chart(rows: Sequence[Row]) -> bytes:
    """Return a PNG: a bar for each condition, a panel for each figure."""
    figure, axes = new_figure(1, len(_PANELS), 13, 0.42 * len(rows) + 1.6)
    for panel, (axis, bars) in enumerate(zip(axes, _PANELS, strict=True)):
        height = 0.8 / len(bars)
        for place, (name, label, colour) in enumerate(bars):
            known = [
                (index, _value(row, name)) for index, row in enumerate(rows) if row.get(name) is not None
            ]
            at = [index + (place - (len(bars) - 1) / 2) * height for index, _ in known]
            axis.barh(at, [value for _, value in known], height * 0.9, color=colour, label=label)
            for y, (_, value) in zip(at, known, strict=True):
                text = f" {value:.3g}" if value < 100 else f" {value:.0f}"
                axis.text(value, y, text, va="center", fontsize=7, color=TEXT)
        axis.set_yticks(range(len(rows)), [_title(row) if panel == 0 else "" for row in rows])
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.margins(x=0.18)
        axis.grid(axis="y", visible=False)
        legend(axis, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(bars), fontsize=8)
    return png(figure)


def _title(row: Row) -> str:
    return " ".join(str(row[name]) for name in ("condition", "direction") if row.get(name))


def _value(row: Row, name: str, missing: float = 0.0) -> float:
    value = row.get(name)
    return float(value) if value is not None else missing
