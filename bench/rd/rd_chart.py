"""Pictures over rate: a panel for each measure, ours next to ordinary codecs."""

from __future__ import annotations

from typing import Any

from bench.harness.plots import COLOURS, legend, new_figure, png
from bench.rd.rd_measure import STATIC
from bench.rd.rd_report import ACCOUNTS, AIM_TIMES, MEASURES, Study, number, our_best


def chart(study: Study, account: str = "call_kbps") -> bytes:
    """Return a PNG: a panel for each measure over the rate; lines are each method's best points."""
    measures = study.measures()
    figure, panels = new_figure(1, len(measures), 5.2 * len(measures) + 1.6, 4.6)
    methods = [*study.codecs, *([study.ours] if study.ours else [])]
    for panel, measure in zip(panels, measures, strict=True):
        for index, method in enumerate(methods):
            _draw(panel, study, (account, measure), method, COLOURS[index % len(COLOURS)])
        for row in study.of(STATIC):
            panel.axhline(
                number(row, measure), color="#9aa0a8", linestyle=":", label="first frame, all the time"
            )
        if study.ours:
            limit = AIM_TIMES * number(our_best(study, account, measure), account)
            panel.axvline(limit, color="#9aa0a8", linestyle="--", label=f"{AIM_TIMES:g} x our rate")
        panel.set_xscale("log")
        ticks = [2, 3, 5, 8, 12, 20, 30, 50, 80]
        low, high = panel.get_xlim()
        panel.set_xticks([t for t in ticks if low <= t <= high], [str(t) for t in ticks if low <= t <= high])
        panel.minorticks_off()
        panel.set_xlabel(ACCOUNTS[account].replace(", ", ",\n"))
        panel.set_title(MEASURES[measure], loc="left")
    legend(panels[-1], loc="center left", bbox_to_anchor=(1.0, 0.5))
    return png(figure)


def _draw(panel: Any, study: Study, axes: tuple[str, str], method: str, colour: str) -> None:  # noqa: ANN401
    account, measure = axes
    curve = study.curve(method, account, measure)
    assert curve is not None
    sign = -1 if measure == "ssim" else 1
    ours = method == study.ours
    rows = study.of(method)
    panel.scatter(
        [number(row, account) for row in rows], [number(row, measure) for row in rows], color=colour,
        s=70 if ours else 12, marker="*" if ours else "o", alpha=1.0 if ours else 0.45,
    )  # fmt: skip
    rates, values = zip(*curve.points, strict=True)
    panel.plot(rates, [sign * value for value in values], color=colour, label=method)
