"""From how surprising each frame is to one score of how unusual the footage is, and the picture of it.

The surprise is two-sided. A cut, a jump or a swapped segment is a frame far less likely than usual. A freeze
is the opposite: frames that follow their past better than any living face, one after the other.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np

from bench.harness.plots import COLOURS, new_figure, png
from models.forecast.likelihood import Doubles
from shared.constants import FPS

# Frames that a face must have been too still, and how much more that weighs: densities are bounded on that
# side, and the lowest z of a frozen face is about -2.
STILL_FRAMES = 5
STILL_WEIGHT = 2.0
# `bench anomaly` counts how often ordinary footage of people that were not trained on is beyond it.
THRESHOLD = 3.5


def score(z: Doubles) -> Doubles:
    """Return the anomaly score (T,), at least 0, of signed z-scores `z` (T,) of the surprise.

    The larger of z itself and of twice the mean of -z over the last 5 frames; before the first frame they
    count as ordinary.
    """
    known = np.concatenate([np.zeros(STILL_FRAMES - 1), -z])
    still = np.convolve(known, np.full(STILL_FRAMES, 1 / STILL_FRAMES), "valid")
    return np.maximum(np.maximum(z, STILL_WEIGHT * still), 0.0)


def table(z: Doubles) -> bytes:
    """Return a CSV of every frame: frame, time_s, z, score, anomalous (1 beyond the threshold)."""
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(["frame", "time_s", "z", "score", "anomalous"])
    for number, (value, unusual) in enumerate(zip(z, score(z), strict=True)):
        lines.writerow(
            [number, f"{number / FPS:.3f}", f"{value:.3f}", f"{unusual:.3f}", int(unusual > THRESHOLD)]
        )
    return out.getvalue().encode()


def plot(z: Doubles, marked: Sequence[tuple[str, int, int]] = ()) -> bytes:
    """Return a PNG of the score over time; `marked` are names and first and last frames to shade."""
    figure, (axis,) = new_figure(1, 1, 9.0, 3.0)
    time, values = np.arange(len(z)) / FPS, score(z)
    axis.plot(time, values, color=COLOURS[0], linewidth=1.2)
    beyond = values > THRESHOLD
    axis.plot(time[beyond], values[beyond], "o", color=COLOURS[3], markersize=4)
    axis.axhline(THRESHOLD, color=COLOURS[1], linewidth=0.8, linestyle="--")
    axis.text(0, THRESHOLD, " threshold", color=COLOURS[1], fontsize=8, va="bottom")
    for name, first, last in marked:
        axis.axvspan((first - 0.5) / FPS, (last + 0.5) / FPS, color=COLOURS[4], alpha=0.25, linewidth=0)
        axis.text(first / FPS, axis.get_ylim()[1], name, color=COLOURS[4], fontsize=8, va="top")
    axis.set_xlabel("seconds")
    axis.set_ylabel("anomaly score")
    axis.set_xlim(0, max(float(time[-1]), 1 / FPS))
    return png(figure)
