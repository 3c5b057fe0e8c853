"""The sending policies over many clips, without a network: what each setting costs and how far off it looks.

The part of `bench bandwidth` that clips are given for. Calls are simulated (`bench.harness.simulate`): the
saver preset by alternating schedules and by dead reckoning at several drifts, all rendered from each clip's
first picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from bench.harness.clip_runs import Pass, each
from bench.harness.clip_set import Clip
from bench.harness.footage import film
from bench.harness.landmark_measures import Landmarks, Speech, pool, with_slopes
from bench.harness.metrics import mae
from bench.harness.plots import COLOURS, TEXT, legend, new_figure, png
from bench.harness.report import Row, Value
from bench.harness.simulate import Simulation, detect_all, render_all, simulated
from sender.presets import Sending, policy_of, schedule_of, threshold_of
from shared.codec.tables import CodecTables
from shared.constants import Schedule
from shared.interfaces import Backbone
from shared.keypoints import Floats, Pictures

COLUMNS = (
    "policy", "setting", "payload_kbps", "wire_up_kbps", "mae", "mae_std", "flicker", "messages_per_second",
)  # fmt: skip
RAW = "raw float32"
_EVERY = 7
"""Of so many frames one is looked at for landmarks: no schedule's cycle goes into it."""
SCHEDULES = ("6-0", "6-3", "6-6", "6-12", "6-24")
DRIFTS = (0.02, 0.03, 0.04, 0.05, 0.06, 0.1)


@dataclass(frozen=True, eq=False)
class Measured:
    """One clip under every setting."""

    clip: Clip
    rows: list[Row]


def settings() -> list[Sending]:
    """Return the raw keypoints every other of which are compared with, and all settings of the policies."""
    return [
        Sending("paper"),
        *(Sending("saver", schedule=Schedule.parse(schedule)) for schedule in SCHEDULES),
        *(Sending("saver", "adaptive", threshold=drift) for drift in DRIFTS),
    ]


def measure(
    backbone: Backbone,
    tables: CodecTables,
    clips: Sequence[Clip],
    seconds: float,
    landmarks: Landmarks | None = None,
) -> Pass[Measured]:
    """Simulate every setting over the first `seconds` of each clip; lips and lids with `landmarks`."""
    return each(clips, "policies", "clip", lambda clip: _measure(backbone, tables, clip, seconds, landmarks))


def _measure(
    backbone: Backbone, tables: CodecTables, clip: Clip, seconds: float, landmarks: Landmarks | None
) -> Measured:
    footage = film(clip, seconds)
    truth = [footage.frames[index] for index in footage.shown]
    keypoints = detect_all(backbone, footage.frames)[list(footage.shown)]
    draw = partial(render_all, backbone, backbone.encode(footage.frames[0]))
    rows = []
    for sending in settings():
        speech = None if landmarks is None else Speech(landmarks.finder)
        call = simulated(backbone, tables, sending)
        rows.append(_row(call, draw, truth, keypoints, sending, tables, speech))
    return Measured(clip, rows)


def _row(  # noqa: PLR0917 - what is sent, how, and who looks at it
    call: Simulation,
    draw: Callable[[Floats], Pictures],
    truth: Sequence[Pictures],
    keypoints: Floats,
    sending: Sending,
    tables: CodecTables,
    speech: Speech | None,
) -> Row:
    shown, sent = list(call.run(keypoints)), call.sent
    drawn = draw(np.stack([points for _, points, _ in shown]))
    if speech is not None:
        numbers = range(0, len(drawn), _EVERY)
        speech.add([truth[shown[n][0]] for n in numbers], [drawn[n] for n in numbers])
    policy = policy_of(sending, tables)
    return {
        "preset": str(sending.preset),
        "policy": RAW if sending.preset == "paper" else policy,
        "setting": (
            str(schedule_of(sending, tables))
            if policy == "alternate"
            else f"{threshold_of(sending, tables):g}"
        ),
        "payload_kbps": sent.payload_kbps,
        "wire_up_kbps": sent.wire_up_kbps,
        "messages_per_second": sent.messages / sent.seconds,
        "mae": float(np.mean([mae(truth[shown[n][0]], picture) for n, picture in enumerate(drawn)])),
        "flicker": float(np.mean([mae(a, b) for a, b in pairwise(drawn)])),
        **({} if speech is None else speech.columns()),
    }


def summarise(measured: Sequence[Measured]) -> list[Row]:
    """Return a row for each setting, the mean over people, clips of one person counting together."""
    rows: list[Row] = []
    for index, like in enumerate(measured[0].rows):
        people: dict[str, list[Row]] = {}
        for one in measured:
            people.setdefault(one.clip.person, []).append(one.rows[index])
        means = {
            name: [float(np.mean([row[name] for row in mine])) for mine in people.values()]
            for name, value in like.items()
            if isinstance(value, float)
        }
        row: dict[str, Value] = {name: float(np.mean(values)) for name, values in means.items()}
        row |= pool([one.rows[index] for one in measured])
        rows.append(
            with_slopes({**like, **row, "mae_std": float(np.std(means["mae"])), "source": "simulated"})
        )
    return rows


def lines(rows: Sequence[Row]) -> list[str]:
    """Say what the policies come to against raw keypoints, and against each other."""
    raw = next(_value(row, "mae") for row in rows if row["policy"] == RAW)
    said = [
        f"{row['preset']} {row['policy']} {row['setting']}: MAE {_value(row, 'mae') / raw - 1:+.1%} of raw "
        f"float32 at 6-6, wire up {_value(row, 'wire_up_kbps'):.2f} kbps (source picture and set-up apart)"
        for row in rows if row["policy"] != RAW
    ]  # fmt: skip
    same = next(row for row in rows if row["setting"] == "6-6" and row["preset"] == "saver")
    adaptive = sorted(
        (row for row in rows if row["policy"] == "adaptive"), key=lambda row: _value(row, "mae")
    )
    errors, rates = ([_value(row, name) for row in adaptive] for name in ("mae", "wire_up_kbps"))
    if errors[0] <= _value(same, "mae") <= errors[-1]:
        rate = float(np.interp([_value(same, "mae")], errors, rates)[0])
        said.append(
            f"at the MAE of alternate 6-6, adaptive takes {rate:.2f} kbps up, alternate "
            f"{_value(same, 'wire_up_kbps'):.2f}"
        )
    return said


def chart(rows: Sequence[Row]) -> bytes:
    """Return a PNG: MAE over kbps up, a line for each policy."""
    figure, (axis,) = new_figure(1, 1, 7, 4.5)
    for colour, policy in zip(COLOURS, ("alternate", "adaptive"), strict=False):
        these = sorted(
            (row for row in rows if row["policy"] == policy), key=lambda row: _value(row, "wire_up_kbps")
        )
        rates, errors = ([_value(row, name) for row in these] for name in ("wire_up_kbps", "mae"))
        axis.plot(rates, errors, "o-", color=colour, label=policy)
        for row, rate, error in zip(these, rates, errors, strict=True):
            axis.annotate(
                str(row["setting"]), (rate, error), (4, 5), textcoords="offset points", fontsize=8, color=TEXT
            )
    raw = next(_value(row, "mae") for row in rows if row["policy"] == RAW)
    axis.axhline(raw, color=COLOURS[3], linewidth=1, label="raw float32 at 6-6 (28.8 kbps payload)")
    axis.set_xlabel("wire up, kbps; source picture and set-up apart")
    axis.set_ylabel("MAE against the video")
    legend(axis, fontsize=9)
    return png(figure)


def _value(row: Row, name: str) -> float:
    return float(row[name] or 0.0)
