"""Report of `bench forecast`: rows, tables as in the paper (rows horizons, columns models), pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bench.forecast.forecast_measure import Drawn, Measured, Plan, forecast
from bench.forecast.jedi import jedi
from bench.forecast.windows import Mode, keypoints_of, pictures_of, scene
from bench.harness.clip_runs import Table
from bench.harness.media import contact_sheet
from bench.harness.plots import COLOURS, legend, new_figure, png
from bench.harness.report import Row, Value
from models.forecast.names import BASELINES
from shared.interfaces import Backbone
from shared.keypoints import Pictures

_SHOWN = 6


def rows(plan: Plan, measured: Sequence[Measured]) -> list[dict[str, Value]]:
    """Return a row for each mode, horizon and model: `mode horizon model mae mae_std rmse jedi n` and more.

    mae: windows averaged by person, then people; mae_std: the standard deviation between people, NaN for one.
    rmse: the root of the mean square over people, of all windows, drawn or not; rmse_std: the standard
    deviation of people's own; rmse_windows: of all windows alike, whoever is seen. n: windows drawn.
    nats: see `likelihoods`, people alike.
    """
    found: list[dict[str, Value]] = []
    for mode in plan.modes:
        for horizon in map(str, plan.horizons):
            for model in (forecaster.name for forecaster in plan.forecasters):
                drawn = [
                    (one.clip.person, each) for one in measured for each in one.drawn
                    if (each.mode, each.horizon, each.model) == (mode, horizon, model)
                ]  # fmt: skip
                if not drawn:
                    continue
                people = _by_person([(person, each.mae) for person, each in drawn])
                found.append({
                    "mode": mode, "horizon": horizon, "model": model, "mae": float(np.mean(people)),
                    "mae_std": _spread(people), **_rmse(measured, horizon, model),
                    "jedi": _jedi(measured, mode, horizon, [each for _, each in drawn]), "n": len(drawn),
                    "nats": _likelihood(measured, model),
                })  # fmt: skip
    return found


def _by_person(figures: Sequence[tuple[str, float]]) -> list[float]:
    people: dict[str, list[float]] = {}
    for person, figure in figures:
        people.setdefault(person, []).append(figure)
    return [float(np.mean(values)) for values in people.values()]


def _spread(figures: Sequence[float]) -> float:
    return float(np.std(figures, ddof=1)) if len(figures) > 1 else math.nan


def _rmse(measured: Sequence[Measured], horizon: str, model: str) -> dict[str, float]:
    squares = [
        (one.clip.person, each.square) for one in measured for each in one.missed
        if (each.horizon, each.model) == (horizon, model)
    ]  # fmt: skip
    people = _by_person(squares)
    return {
        "rmse": float(np.sqrt(np.mean(people))), "rmse_std": _spread([math.sqrt(one) for one in people]),
        "rmse_windows": float(np.sqrt(np.mean([square for _, square in squares]))),
    }  # fmt: skip


def _likelihood(measured: Sequence[Measured], model: str) -> float:
    known = _by_person([(one.clip.person, one.nats[model]) for one in measured if model in one.nats])
    return float(np.mean(known)) if known else math.nan


def _jedi(measured: Sequence[Measured], mode: Mode, horizon: str, drawn: Sequence[Drawn]) -> float:
    real = [
        features for one in measured for where, length, features in one.truths
        if (where, length) == (mode, horizon)
    ]  # fmt: skip
    generated = [each.features for each in drawn if each.features is not None]
    return jedi(np.stack(real), np.stack(generated)) if len(generated) > 1 else math.nan


def tables(found: Sequence[Row], modes: Sequence[Mode], with_jedi: bool) -> list[Table]:
    """Return a table for each figure and mode: a line a horizon, a column a model, the best in bold.

    Where JEDi was not measured, its table says so.
    """
    made = [
        _table(f"MAE, {mode} (+- between people)", _of(found, mode), "mae", _with_spread) for mode in modes
    ]
    if found:
        made.append(_table(
            "Keypoint RMSE (+- between people)", _of(found, str(found[0]["mode"])), "rmse", _with_spread
        ))  # fmt: skip
    made += [
        _table(f"JEDi, {mode}", _of(found, mode), "jedi", _plain) if with_jedi
        else _unmeasured(f"JEDi, {mode}", _of(found, mode))
        for mode in modes
    ]  # fmt: skip
    return made


def _unmeasured(title: str, found: Sequence[Row]) -> Table:
    horizons = dict.fromkeys(str(row["horizon"]) for row in found)
    said = "not measured: needs V-JEPA 2, given with --jepa"
    return title, [{"horizon": horizon, "JEDi": said} for horizon in horizons], ("horizon", "JEDi")


def _of(found: Sequence[Row], mode: str) -> list[Row]:
    return [row for row in found if row["mode"] == mode]


def _table(title: str, found: Sequence[Row], name: str, shown: Callable[[Row, str], str]) -> Table:
    models = list(dict.fromkeys(str(row["model"]) for row in found))
    lines: list[Row] = []
    for horizon in dict.fromkeys(str(row["horizon"]) for row in found):
        here = [row for row in found if row["horizon"] == horizon]
        best = min((_number(row, name) for row in here), default=math.nan)
        cells: dict[str, Value] = {
            str(row["model"]): f"**{shown(row, name)}**" if _number(row, name) == best else shown(row, name)
            for row in here
        }
        lines.append({"horizon": horizon, **cells})
    return title, lines, ["horizon", *models]


def _plain(row: Row, name: str) -> str:
    return f"{_number(row, name):.4f}"


def _with_spread(row: Row, name: str) -> str:
    spread = _number(row, f"{name}_std")
    return f"{_number(row, name):.4f}" if math.isnan(spread) else f"{_number(row, name):.4f} +- {spread:.4f}"


def _number(row: Row, name: str) -> float:
    value = row[name]
    return float(value) if isinstance(value, int | float) else math.nan


def verdicts(found: Sequence[Row]) -> list[str]:
    """Return what the rows say about the aims: learned ones against baselines, VRNN against GRU."""
    said = []
    rmse, alike = (
        {(row["horizon"], row["model"]): _number(row, name) for row in found}
        for name in ("rmse", "rmse_windows")
    )
    for horizon in dict.fromkeys(row["horizon"] for row in found):
        learned = {
            model: value for (at, model), value in rmse.items() if at == horizon and model not in BASELINES
        }
        if learned and (horizon, "hold") in rmse:
            best = min(learned, key=lambda model: learned[model])
            beside = ", ".join(
                f"{_below(rmse, horizon, best, name)} ({_below(alike, horizon, best, name)}) % below {name}"
                for name in BASELINES if (horizon, name) in rmse
            )  # fmt: skip
            said.append(
                f"{horizon}: of the learned, {best} has the lowest keypoint RMSE, {beside} (in brackets: "
                "windows counted alike, not people)."
            )
    mae = {(row["mode"], row["horizon"], row["model"]): _number(row, "mae") for row in found}
    for mode, horizon, model in mae:
        if model == "vrnn" and (mode, horizon, "gru") in mae:
            share = mae[mode, horizon, "vrnn"] / mae[mode, horizon, "gru"]
            said.append(f"{mode} {horizon}: VRNN's MAE is {share:.3f} of GRU's.")
    return said


def _below(errors: Mapping[tuple[Value, Value], float], horizon: Value, model: Value, other: Value) -> str:
    return f"{100 * (1 - errors[horizon, model] / errors[horizon, other]):.1f}"


def chart(found: Sequence[Row], modes: Sequence[Mode]) -> bytes:
    """Return a PNG of MAE by model and horizon, a panel a mode, whiskers from person to person."""
    horizons = list(dict.fromkeys(str(row["horizon"]) for row in found))
    models = list(dict.fromkeys(str(row["model"]) for row in found))
    figure, panels = new_figure(
        len(modes), 1, max(6.0, 0.35 * len(horizons) * len(models) + 2), 3.2 * len(modes)
    )
    for panel, mode in zip(panels, modes, strict=True):
        width = 0.85 / max(len(models), 1)
        for index, model in enumerate(models):
            here = {str(row["horizon"]): row for row in _of(found, mode) if row["model"] == model}
            places = [horizons.index(name) + (index - (len(models) - 1) / 2) * width for name in here]
            heights = [_number(row, "mae") for row in here.values()]
            spreads = [np.nan_to_num(_number(row, "mae_std")) for row in here.values()]
            panel.bar(
                places, heights, 0.92 * width, color=COLOURS[index % len(COLOURS)], label=model,
                yerr=spreads, error_kw={"ecolor": "#9aa0a8", "elinewidth": 0.8},
            )  # fmt: skip
        panel.set_xticks(range(len(horizons)), [f"{name} frames" for name in horizons])
        panel.set_ylim(bottom=0)
        panel.set_ylabel("MAE")
        panel.set_title(mode, loc="left")
    legend(panels[0], loc="center left", bbox_to_anchor=(1.0, 0.5))
    return png(figure)


def sheet(backbone: Backbone, plan: Plan, measured: Sequence[Measured]) -> dict[str, bytes]:
    """Return a contact sheet a mode of a lively one of the longest windows: truth, FOMM, every model.

    As figures 8 and 9 of the paper.
    """
    one = lively(measured)
    if one is None or one.liveliest is None:
        return {}
    clips = [each.clip for each in measured]
    _, horizon, start = one.liveliest
    keypoints = keypoints_of(backbone, one.clip)
    made = {}
    for mode in plan.modes:
        where = scene(backbone, mode, clips, one.clip, keypoints)
        if where is None:
            continue
        moments = np.unique(np.linspace(0, horizon.predicted - 1, _SHOWN).round().astype(int))
        first = start + horizon.observed
        future = keypoints[first : first + horizon.predicted]
        lines: list[tuple[str, Sequence[Pictures]]] = []
        if mode == "reconstruction":
            lines.append(("video", list(pictures_of(one.clip, first, horizon.predicted)[moments])))
        else:
            lines.append(("driving", list(pictures_of(one.clip, first, horizon.predicted)[moments])))
        lines.append(("true keypoints", list(where.draw(future[moments]))))
        for forecaster in plan.forecasters:
            said = forecast(forecaster, keypoints, horizon, start)
            lines.append((forecaster.name, list(where.draw(said[moments]))))
        made[f"forecast-{mode}.png"] = contact_sheet(lines, [f"+{moment + 1}" for moment in moments], 128)
    return made


def lively(measured: Sequence[Measured]) -> Measured | None:
    """Return the clip that moves more than three quarters of those with the longest windows; None of none.

    Not the one that moves most: that is where there is a cut, which nothing can forecast.
    """
    lengths = [(one.liveliest[1].length, one.liveliest[0], one) for one in measured if one.liveliest]
    longest = max((length for length, _, _ in lengths), default=0)
    ranked = sorted(
        ((moved, one) for length, moved, one in lengths if length == longest), key=lambda pair: pair[0]
    )
    return ranked[round(0.75 * (len(ranked) - 1))][1] if ranked else None
