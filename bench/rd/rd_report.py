"""Report of rate-distortion points: averages, rivals at three times our rate, who wins where."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np

from bench.harness.clip_runs import Table
from bench.harness.report import ALL, Row, Value
from bench.rd.bd_rate import Curve, bd_rate
from bench.rd.rd_measure import CALL_SECONDS, STATIC, Point

AIM_KBPS, AIM_TIMES = 8.0, 3.0
ACCOUNTS = {
    "call_kbps": f"wire kbps of a call of {CALL_SECONDS} s, its first picture sent once",
    "wire_kbps": "wire kbps over the clip alone, its first picture included",
}
FRAME_RATES = {
    "own": "codecs at the clip's own frame rate",
    "any": "codecs at any part of it asked for",
}
MEASURES = {"perceptual": "SqueezeNet perceptual distance", "mae": "MAE", "ssim": "SSIM"}
_POINTS = ("method", "quality", "every", "coded_fps", "kbps", "wire_kbps", "call_kbps", "mae", "ssim",
           "perceptual")  # fmt: skip
_AIM = ("our_quality", "our_kbps", "limit_kbps", "codec", "frame_rate", "codec_lowest_kbps", "codec_at_kbps",
        "perceptual", "codec_perceptual", "mae", "codec_mae", "ssim", "codec_ssim", "better")  # fmt: skip
_DELTAS = ("codec", "measure", "bd_rate_percent", "overlap_low", "overlap_high", "verdict")
_FIGURES = tuple(field.name for field in fields(Point) if field.type == "float")


@dataclass(frozen=True)
class Study:
    """The averages over people: a row for each method, setting and part of the frame rate."""

    rows: Sequence[dict[str, Value]]
    ours: str | None

    @property
    def codecs(self) -> list[str]:
        """The names of the ordinary codecs."""
        return list(
            dict.fromkeys(str(r["method"]) for r in self.rows if r["method"] not in {self.ours, STATIC})
        )

    def of(self, method: str | None) -> list[dict[str, Value]]:
        """Return the rows of `method`."""
        return [row for row in self.rows if row["method"] == method]

    def curve(self, method: str | None, account: str, measure: str, frame_rate: str = "any") -> Curve | None:
        """Return the curve of `method`, None where nothing was measured.

        "own" leaves out what was sent at a part of the clip's frame rate.
        """
        rows = [row for row in self.of(method) if frame_rate == "any" or row["every"] == 1]
        points = [(number(row, account), distortion(row, measure)) for row in rows]
        return Curve(points) if any(math.isfinite(value) for _, value in points) else None

    def measures(self) -> list[str]:
        """Return the measures that there are figures of."""
        return [name for name in MEASURES if any(math.isfinite(number(row, name)) for row in self.rows)]


def summarise(clips: Sequence[Sequence[Point]], ours: str | None) -> Study:
    """Average the points of each setting over the clips of each person, then over people, who count alike."""
    groups: dict[tuple[str, float, int], dict[str, list[Point]]] = {}
    for point in (point for clip in clips for point in clip):
        people = groups.setdefault((point.method, point.quality, point.every), {})
        people.setdefault(point.person, []).append(point)
    rows: list[dict[str, Value]] = []
    for (method, quality, every), people in groups.items():
        means = {
            name: float(np.mean([np.mean([getattr(p, name) for p in points]) for points in people.values()]))
            for name in _FIGURES
        }
        rows.append(
            {"method": method, "person": ALL, "clip": "", **means, "quality": quality, "every": every}
        )
    return Study([_plainly(row) for row in rows], ours)


def rows_of(clips: Sequence[Sequence[Point]]) -> list[dict[str, Value]]:
    """Return a row for each point."""
    return [_plainly(asdict(point)) for clip in clips for point in clip]


def _plainly(row: dict[str, Value]) -> dict[str, Value]:
    """Return `row` without what a still picture has not: a setting and a rate."""
    row.pop("file", None)
    if row["method"] == STATIC:
        row |= {
            name: None for name in row if name.endswith("kbps") or name in {"quality", "every", "coded_fps"}
        }
    return row


def number(row: Row, name: str) -> float:
    """Return the figure `name` of `row`, NaN where it has none."""
    value = row.get(name)
    return float(value) if isinstance(value, int | float) else math.nan


def distortion(row: Row, measure: str) -> float:
    """Return the figure as one that is lower for better pictures."""
    return -number(row, measure) if measure == "ssim" else number(row, measure)


def tables(study: Study) -> list[Table]:
    """Return the points, what codecs reach at three times our rate, and the Bjontegaard-delta rates."""
    found: list[Table] = [("all points, means over people", study.rows, _POINTS)]
    if study.ours is not None:
        for account, said in ACCOUNTS.items():
            title = f"ours, and each codec at no more than {AIM_TIMES:g} times our rate ({said})"
            found.append((title, rivals(study, account), _AIM))
        found.append((f"rate we need for the same picture ({ACCOUNTS['call_kbps']})", deltas(study), _DELTAS))
    return found


def rivals(study: Study, account: str) -> list[dict[str, Value]]:
    """Return a row for each of our points, each codec and its frame rates: our figures and the codec's.

    The codec's lie on its curve at three times our rate; where it was not measured that far, at its best
    point, and where it cannot go as low, at its lowest: it is always shown at its best.
    """
    return [
        _beside(study, account, row, codec, frame_rate)
        for row in study.of(study.ours) for codec in study.codecs for frame_rate in FRAME_RATES
        if study.curve(codec, account, "mae", frame_rate) is not None
    ]  # fmt: skip


def _beside(study: Study, account: str, ours: Row, codec: str, frame_rate: str) -> dict[str, Value]:
    limit = AIM_TIMES * number(ours, account)
    line: dict[str, Value] = {
        "our_quality": ours["quality"], "our_kbps": number(ours, account), "limit_kbps": limit,
        "codec": codec, "frame_rate": frame_rate,
    }  # fmt: skip
    better = []
    for measure in study.measures():
        curve = study.curve(codec, account, measure, frame_rate)
        assert curve is not None
        at = min(max(limit, curve.lowest_rate), curve.highest_rate)
        theirs, mine = curve.distortion_at(at), distortion(ours, measure)
        line |= {measure: number(ours, measure), f"codec_{measure}": abs(theirs)}
        # The first measure's; another's best point may lie a little lower.
        line.setdefault("codec_lowest_kbps", curve.lowest_rate)
        line.setdefault("codec_at_kbps", at)
        better.append(f"{measure} {'ours' if mine < theirs else codec}")
    return {**line, "better": ", ".join(better)}


def deltas(study: Study, account: str = "call_kbps") -> list[dict[str, Value]]:
    """Return a row for each codec and measure: our Bjontegaard-delta rate, or who is better without one."""
    found: list[dict[str, Value]] = []
    for measure in study.measures():
        mine = study.curve(study.ours, account, measure)
        for codec in study.codecs:
            theirs = study.curve(codec, account, measure)
            assert mine is not None
            assert theirs is not None
            delta = bd_rate(theirs, mine)
            line: dict[str, Value] = {"codec": codec, "measure": measure}
            if delta is None:
                better = "ours" if mine.worst <= theirs.best else f"{codec}'s"
                line["verdict"] = f"no overlap: all pictures of {better} are better"
            else:
                low, high = sorted((abs(delta.low), abs(delta.high)))
                line |= {"bd_rate_percent": delta.percent, "overlap_low": low, "overlap_high": high}
                line["verdict"] = "we need less" if delta.percent < 0 else "we need more"
            found.append(line)
    return found


def verdicts(study: Study) -> list[str]:
    """Say in plain lines whether the aim was reached, where we win and where they do."""
    if study.ours is None:
        return ["only ordinary codecs were measured: leave --codecs-only out to see ours beside them"]
    said = []
    if "perceptual" in study.measures():
        said = [
            _aim(study, account, frame_rate)
            for frame_rate in FRAME_RATES if _measured_at(study, frame_rate)
            for account in ACCOUNTS
        ]  # fmt: skip
    for measure in study.measures():
        said += [_crossing(study, codec, measure) for codec in study.codecs]
    return said


def _measured_at(study: Study, frame_rate: str) -> bool:
    return any(study.curve(codec, "call_kbps", "mae", frame_rate) for codec in study.codecs)


def our_best(study: Study, account: str, measure: str) -> dict[str, Value]:
    """Return our best point of those within the aim's rate; our leanest where none is."""
    ours = study.of(study.ours)
    within = [row for row in ours if number(row, account) <= AIM_KBPS]
    return (
        min(within, key=lambda row: distortion(row, measure))
        if within
        else min(ours, key=lambda row: number(row, account))
    )


def _aim(study: Study, account: str, frame_rate: str) -> str:
    best = our_best(study, account, "perceptual")
    lines = [
        row for row in rivals(study, account)
        if (row["our_quality"], row["frame_rate"]) == (best["quality"], frame_rate)
    ]  # fmt: skip
    rate, mine = number(best, account), number(best, "perceptual")
    won = rate <= AIM_KBPS and all(mine < number(row, "codec_perceptual") for row in lines)
    beside = "; ".join(
        f"{row['codec']} {number(row, 'codec_perceptual'):.3f} at {number(row, 'codec_at_kbps'):.1f}"
        for row in lines
    )
    return (
        f"aim: at {AIM_KBPS:g} kbps or less, both directions, a perceptual distance below that of every "
        f"codec at {AIM_TIMES:g} times our rate, one direction; {FRAME_RATES[frame_rate]}; "
        f"{ACCOUNTS[account]}: "
        f"{'reached' if won else 'missed'}; ours {mine:.3f} at {rate:.1f} kbps; {beside}"
    )


def _crossing(study: Study, codec: str, measure: str, account: str = "call_kbps") -> str:
    best = our_best(study, account, measure)
    curve = study.curve(codec, account, measure)
    assert curve is not None
    rate, mine = number(best, account), distortion(best, measure)
    label = f"{MEASURES[measure]}, ours {abs(mine):.4f} at {rate:.1f} kbps, codecs at any frame rate: {codec}"
    needed = curve.rate_for(mine)
    if math.isinf(needed):
        return f"{label} never reaches it, up to {curve.highest_rate:.1f} kbps: we win at all rates measured"
    times = f"{needed:.1f} kbps, {needed / rate:.1f} times our rate"
    if needed <= curve.lowest_rate:
        return f"{label} beats it even at the lowest rate measured, {times}"
    return f"{label} wins from {times}, upwards" + ("; below that we win" if needed > rate else "")
