"""The paper's Tables 11 and 12, and how the arithmetic counted here compares with what it prints.

Measured there on an RTX 3090 in float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.harness.metrics import tops
from bench.harness.published import payload_kbps, saving
from bench.harness.report import Row, Value
from bench.throughput.subject import Subject
from bench.throughput.timing import BLOCKS, Stages
from shared.constants import FPS

# s per 30 frames for detection, forecast and generation; TOPS for each; total TOPS; fps; numbers a frame.
_PRINTED = {
    "fomm": (0.0336, 0.0743, 0.7097, 0.0310, 0.0001, 2.6883, 2.7194, 36.69, 60),
    "tps": (0.0283, 0.0878, 0.9466, 0.0592, 0.0001, 6.3617, 6.4210, 28.23, 100),
    "nth": (0.0893, 0.0782, 1.1323, 0.1958, 0.0001, 9.8067, 10.0026, 23.08, 51),
}
_COUNTED = ("tops_detect", "tops_render")
_ALIKE = 0.01


def published_rows() -> list[Row]:
    """Return the paper's rows."""
    rows: list[Row] = []
    for backbone, (detect, forecast, render, *load, total, fps, numbers) in _PRINTED.items():
        rows.append({
            "backbone": backbone, "engine": "published", "device": "RTX 3090", "precision": "float32",
            "weights": "trained",
            **times(Stages(detect, forecast, render)), "fps": fps, "tops": total,
            **dict(zip(("tops_detect", "tops_forecast", "tops_render"), load, strict=True)),
            **rate(int(numbers)),
            "source": "published",
        })  # fmt: skip
    return rows


def times(stages: Stages) -> dict[str, Value]:
    """Return the columns of what the stages take."""
    return {
        "detect_ms": 1000 * stages.detect,
        "forecast_ms": 1000 * stages.forecast,
        "render_ms": 1000 * stages.render,
        "seconds_per_30": stages.total,
        "fps": FPS / stages.total,
    }


def rate(numbers: int) -> dict[str, Value]:
    """Return the columns of what `numbers` a frame take on the line, as raw float32 of every other block."""
    kbps = payload_kbps(numbers, BLOCKS.duty)
    return {"numbers": numbers, "payload_kbps": kbps, "savings_payload": saving(kbps)}


def beside_the_paper(backbone: str, load: Mapping[str, Value]) -> dict[str, float]:
    """Return TOPS of a published pass, by stage, as multiples of the paper's; nothing of other networks."""
    printed = {str(row["backbone"]): row for row in published_rows()}.get(backbone)
    if printed is None:
        return {}
    return {f"{name}_to_paper": float(load[name] or 0) / float(printed[name] or 1) for name in _COUNTED}


def differences(subject: Subject, row: Row) -> dict[str, str]:
    """Return a sentence for each stage of a published pass whose TOPS are not the paper's within 1 %."""
    found = {}
    for name in _COUNTED:
        times_the_paper = row.get(f"{name}_to_paper")
        if times_the_paper is None or abs(float(times_the_paper) - 1) <= _ALIKE:
            continue
        here = f"{subject.backbone}: {float(row[name] or 0):.4g} {name}"
        sentence = f"{here} are {times_the_paper:.3f} times the paper's"
        found[f"{subject.backbone}_{name}"] = "; ".join([sentence, *_reasons(subject, name)])
    return found


def _reasons(subject: Subject, name: str) -> Sequence[str]:
    if name != "tops_render":
        return []
    printed = float(_PRINTED[subject.backbone][5])
    parts = [
        f"{part} alone is {tops(macs, FPS):.4g}, {tops(macs, FPS) / printed:.4f} times"
        for part, macs in subject.parts.items()
    ]
    return [*parts, subject.remark] if subject.remark else parts
