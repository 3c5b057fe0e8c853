"""Style of the project's plots: dark, few lines, as its other pictures."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from shared.errors import RequestError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_EXTRA = "matplotlib is not installed; install it with: pip install 'keycast[bench]'"
TEXT = "#eceef0"
_STYLE: Any = {
    "figure.facecolor": "#181a1e",
    "axes.facecolor": "#181a1e",
    "savefig.facecolor": "#181a1e",
    "text.color": TEXT,
    "axes.labelcolor": TEXT,
    "axes.edgecolor": "#565c64",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": "#b0b6be",
    "ytick.color": "#b0b6be",
    "grid.color": "#30343a",
    "font.size": 10,
}
"""For words that are put on a finished figure: the style is not in force any more."""
COLOURS = ("#5ab0ff", "#ffa828", "#6fd08c", "#ff6b6b", "#c58cff", "#e8d36b", "#4fd0d0", "#ff8fc7", "#9aa0a8")


def check_plots() -> None:
    """Raise RequestError where matplotlib is not installed: before long work, not after it."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise RequestError(f"Plots cannot be drawn: {_EXTRA}.") from error


def new_figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[Any]]:
    """Return a figure of `width` by `height` inches and its axes, row by row, in the project's look."""
    check_plots()
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False)
        for axis in axes.flat:
            axis.grid(axis="y", linewidth=0.6)
            axis.set_axisbelow(True)
    return figure, list(axes.flat)


def legend(axis: Any, **place: Any) -> None:  # noqa: ANN401 - matplotlib's own
    """Put a legend on `axis`, where matplotlib's own options `place` say."""
    axis.legend(frameon=False, labelcolor=_STYLE["text.color"], **place)


def png(figure: Figure) -> bytes:
    """Return `figure` as a PNG."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=120)
    return out.getvalue()
