"""Accuracy of a network's pictures, next to its times: MAE and JEDi over clips of people.

As `bench forecast` measures them: reconstruction, six frames observed and six forecast, as the blocks are
that are timed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.forecast.forecast_measure import Plan, measure
from bench.forecast.forecast_report import rows
from bench.forecast.forecasters import fits, folder_of
from bench.forecast.windows import Horizon
from bench.harness.clip_runs import each
from bench.harness.clip_set import Clip, check_clip
from bench.harness.report import Value
from bench.throughput.subject import Subject
from bench.throughput.timing import BLOCKS
from models.forecast.build import load_forecaster
from models.jepa import Features
from shared.interfaces import Backbone


@dataclass(frozen=True)
class Accuracy:
    """Clips to measure on, `windows` of each at most (0: all), and V-JEPA's `features` for JEDi."""

    clips: Sequence[Clip]
    windows: int
    features: Features | None

    def of(
        self, subject: Subject, forecaster: str, roots: Sequence[Path]
    ) -> tuple[dict[str, Value], dict[str, Value]]:
        """Return the columns `mae`, `jedi` and `windows` of a network as it serves, or a note why not.

        Only trained weights are judged: those of the network, and of the forecaster (see `fitting`).
        Raises RequestError where no clip can be measured.
        """
        if subject.engine == "plain":
            return {}, {}
        folder = fitting(forecaster, roots, subject.facade)
        if subject.trained and folder is not None:
            return self._row(subject.facade, forecaster, folder), {}
        what = (
            f"no {forecaster} was trained on its keypoints" if subject.trained else "its weights are random"
        )
        return {}, {f"{subject.backbone}_mae": f"{subject.backbone} has no MAE and no JEDi: {what}"}

    def _row(self, backbone: Backbone, forecaster: str, folder: Path) -> dict[str, Value]:
        horizon = Horizon(BLOCKS.observe, BLOCKS.skip)
        model = load_forecaster(forecaster, folder)
        plan = Plan(["reconstruction"], [horizon], [model], self.windows, self.features)
        done = each(
            self.clips,
            f"{backbone.name} over clips",
            "clip",
            lambda clip: measure(backbone, plan, self.clips, check_clip(clip)),
        )
        (found,) = rows(plan, done.results)
        return {"mae": found["mae"], "jedi": found["jedi"], "windows": found["n"]}


def fitting(forecaster: str, roots: Sequence[Path], backbone: Backbone) -> Path | None:
    """Return where weights of `forecaster` for the keypoints of `backbone` lie; None where there are none.

    Those under one of `roots`, as training left them, come before the shipped ones. A forecaster that needs
    no weights has them anywhere. Raises RequestError for a root that is no folder.
    """
    for root in (*roots, None):
        if fits(forecaster, root, backbone):
            return folder_of(forecaster, root)
    return None
