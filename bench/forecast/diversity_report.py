"""Report of `bench diversity`: rows and tables as the paper's 7 to 10, densities, sheets of futures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bench.forecast.diversity_measure import Plan, Unit, futures, middle
from bench.forecast.windows import keypoints_of, scene, truth
from bench.harness.clip_runs import Table
from bench.harness.clip_set import Clip
from bench.harness.media import contact_sheet
from bench.harness.plots import COLOURS, legend, new_figure, png
from bench.harness.report import Row, Value
from shared.interfaces import Backbone
from shared.keypoints import Pictures

COLUMNS = ("horizon", "model", "apd", "mae", "ssim", "ratio_mean", "ratio_median")
_SPREAD, _BEST = ("apd", "mae", "ssim"), ("ratio_mean", "ratio_median")
_SHOWN, _FUTURES = 6, 3


def rows(units: Sequence[Unit]) -> list[dict[str, Value]]:
    """Return a row a mode, horizon and model: `mode horizon model apd mae ssim ratio_mean ratio_median`.

    Means over clips; of the ratios of scaled APD to scaled MAE (see `ratios`) also the median. apd_std,
    mae_std and ssim_std: standard deviations between clips, NaN for one. n: clips.
    """
    found: list[dict[str, Value]] = []
    for mode, horizon in dict.fromkeys((unit.mode, unit.horizon) for unit in units):
        here = [unit for unit in units if (unit.mode, unit.horizon) == (mode, horizon)]
        scaled = ratios(here)
        for model in dict.fromkeys(unit.model for unit in here):
            own = [unit for unit in here if unit.model == model]
            values = scaled.get(model, [])
            found.append({
                "mode": mode, "horizon": horizon, "model": model,
                **{name: float(np.mean(_values(own, name))) for name in _SPREAD},
                "ratio_mean": float(np.mean(values)) if values else math.nan,
                "ratio_median": float(np.median(values)) if values else math.nan,
                **{f"{name}_std": _deviation(_values(own, name)) for name in _SPREAD}, "n": len(own),
            })  # fmt: skip
    return found


def _values(units: Sequence[Unit], name: str) -> list[float]:
    return [getattr(unit, name) for unit in units]


def _deviation(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def ratios(units: Sequence[Unit]) -> dict[str, list[float]]:
    """Return by model the ratios of APD to MAE over clips, both scaled to [0, 1] (equations 39 and 40).

    The least and most are those of all `units` of the models that draw more than one future; the others have
    no ratio and no part in the scale. The clip whose MAE is the least of all has none left after scaling, and
    no ratio: it is left out, as the paper does not say what to do with it.
    """
    diverse = {unit.model for unit in units if unit.apd > 0}
    units = [unit for unit in units if unit.model in diverse]
    spread, error = (np.array(_values(units, name)) for name in ("apd", "mae"))
    found: dict[str, list[float]] = {unit.model: [] for unit in units}
    if not units or np.ptp(spread) == 0 or np.ptp(error) == 0:
        return found
    over, under = (spread - spread.min()) / np.ptp(spread), (error - error.min()) / np.ptp(error)
    for unit, a, b in zip(units, over, under, strict=True):
        if b > 0:
            found[unit.model].append(float(a / b))
    return found


def tables(found: Sequence[Row]) -> list[Table]:
    """Return a table for each mode, the best ratios of each horizon in bold, as the paper's 7 to 10."""
    modes = dict.fromkeys(str(row["mode"]) for row in found)
    return [
        (
            f"Diversity and fidelity, {mode} (+- between clips)",
            [_cells(row, found) for row in found if row["mode"] == mode],
            COLUMNS,
        )
        for mode in modes
    ]


def _cells(row: Row, found: Sequence[Row]) -> Row:
    """Return what the table shows of `row`: figures with their spread, the best of its place in bold."""
    beside = [other for other in found if (other["mode"], other["horizon"]) == (row["mode"], row["horizon"])]
    shown: dict[str, Value] = {"horizon": row["horizon"], "model": row["model"]}
    for name in _SPREAD:
        spread = _number(row, f"{name}_std")
        tail = "" if math.isnan(spread) else f" +- {spread:.4f}"
        shown[name] = f"{_number(row, name):.4f}{tail}"
    for name in _BEST:
        value, known = _number(row, name), [_number(other, name) for other in beside]
        best = max((one for one in known if not math.isnan(one)), default=math.nan)
        shown[name] = "" if math.isnan(value) else f"**{value:.3f}**" if value == best else f"{value:.3f}"
    return shown


def _number(row: Row, name: str) -> float:
    value = row[name]
    return float(value) if isinstance(value, int | float) else math.nan


def verdicts(found: Sequence[Row]) -> list[str]:
    """Return a comparison of GRU-NF with VRNN from the rows."""
    figures = {(row["mode"], row["horizon"], row["model"]): row for row in found}
    said = []
    for (mode, horizon, model), row in figures.items():
        other = figures.get((mode, horizon, "vrnn"))
        if model != "gru-nf" or other is None or not other["apd"] or not other["mae"]:
            continue
        wider, worse = (float(row[name]) / float(other[name]) for name in ("apd", "mae"))  # type: ignore[arg-type]
        said.append(
            f"{mode} {horizon}: GRU-NF's APD is {wider:.1f} times VRNN's, its MAE {worse:.2f} times "
            "(aimed at: at least 5, at most 1.35)."
        )
    return said


def densities(units: Sequence[Unit]) -> bytes:
    """Return a PNG of the densities of the ratios, a panel a mode and horizon: figures 10 to 13 of the paper.

    Gaussian kernels, Scott's bandwidth. A model with fewer than two different ratios has no curve.
    """
    from scipy.stats import gaussian_kde

    panels = list(dict.fromkeys((unit.mode, unit.horizon) for unit in units))
    figure, axes = new_figure(len(panels), 1, 7.0, 2.6 * len(panels))
    for axis, (mode, horizon) in zip(axes, panels, strict=True):
        here = ratios([unit for unit in units if (unit.mode, unit.horizon) == (mode, horizon)])
        top = np.percentile([value for values in here.values() for value in values] or [1.0], 97) * 1.2 + 1e-9
        for index, (model, values) in enumerate(here.items()):
            if len(values) > 1 and np.ptp(values) > 0:
                at = np.linspace(0, top, 400)
                curve = gaussian_kde(values)(at)
                axis.plot(at, curve, color=COLOURS[index], label=model)
                axis.fill_between(at, curve, color=COLOURS[index], alpha=0.15)
        axis.set_title(f"{mode}, {horizon} frames", loc="left")
        axis.set_ylabel("density")
        if axis.lines:
            legend(axis)
    axes[-1].set_xlabel("scaled APD / scaled MAE")
    return png(figure)


def sheets(backbone: Backbone, plan: Plan, clips: Sequence[Clip], clip: Clip) -> dict[str, bytes]:
    """Return a contact sheet a mode of three futures of each model next to the truth: figures 14 and 15."""
    keypoints = keypoints_of(backbone, clip)
    horizon = max(plan.horizons, key=lambda each: each.predicted)
    start = middle(horizon, len(keypoints))
    made: dict[str, bytes] = {}
    for mode in plan.modes:
        where = scene(backbone, mode, clips, clip, keypoints)
        if where is None or start is None:
            continue
        moments = np.unique(np.linspace(0, horizon.predicted - 1, _SHOWN).round().astype(int))
        real = truth(where, clip, keypoints, start + horizon.observed, horizon.predicted)
        lines: list[tuple[str, Sequence[Pictures]]] = [("truth", list(real[moments]))]
        for forecaster in plan.forecasters:
            said = futures(plan, forecaster, keypoints, horizon, start, clip)[:_FUTURES]
            if len(said) == 1:
                continue  # a baseline: the same future three times shows nothing
            lines += [
                (f"{forecaster.name} {n + 1}", list(where.draw(one[moments]))) for n, one in enumerate(said)
            ]
        made[f"diversity-{mode}.png"] = contact_sheet(lines, [f"+{moment + 1}" for moment in moments], 128)
    return made
