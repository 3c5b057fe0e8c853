"""`animate`: bring one picture to life with the motion of a video, offline."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from itertools import chain, islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from animate.animate_arguments import ANGLES, MAX_DEGREES, parser
from animate.animation import BATCH, Job, Mode, animate
from animate.futures import Fan, draw, grid, sheet
from animate.inputs import Driving, driving_frames, open_driving, source_picture
from animate.writers import ENDINGS, write
from bench.forecast.anomaly_score import THRESHOLD, plot, score, table
from bench.forecast.forecasters import check_fit, density, folder_of
from bench.harness.media import write_file
from bench.harness.plots import check_plots
from bench.harness.report import check_output
from models.build import load_backbone, use_threads
from models.forecast.build import load_forecaster
from models.forecast.likelihood import surprise
from models.forecast.networks import Density
from models.nth.layout import turned
from sender.presets import check_size
from shared.constants import FPS, Schedule
from shared.errors import RequestError
from shared.interfaces import Backbone, Forecaster
from shared.keypoints import Floats, Pictures
from shared.runtime.command import run_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    given = parser().parse_args(arguments)
    return run_command(lambda: _run(given), given.debug)


def _run(given: argparse.Namespace) -> int:
    _check_outputs(given)
    mode = _mode(given)
    if given.threads is not None:
        if given.threads < 1:
            raise RequestError(f"The networks cannot use {given.threads} threads; give --threads 1 or more.")
        use_threads(given.threads)
    fan = _fan(given)
    forecaster, schedule = (None, None) if fan else _forecasting(given)
    backbone = load_backbone(given.backbone, given.checkpoint, given.device)
    if given.size is None:
        given.size = backbone.size
    check_size(given.size, backbone)
    used = forecaster if fan is None else fan.forecaster
    if used is not None:
        check_fit(used.name, given.weights, backbone)
    known = None if given.anomaly is None else density("gru-nf", given.weights, backbone)
    driving = _open_driving(given, backbone.size)
    job = Job(
        backbone, mode, forecaster, schedule, given.adapt_scale, given.mark,
        _anchor(given, mode, driving.fps), _turn(given, backbone),
    )  # fmt: skip
    try:
        frames = driving_frames(driving.source)
        picture, frames = _picture(given, frames)
        if fan is not None:
            _write_futures(fan, job, picture, frames, given.output)
        elif given.output is not None:
            _write_moved(job, picture, frames, driving, given)
    finally:
        driving.source.close()
    if known is not None:
        _write_anomaly(given, backbone, known)
    return 0


def _write_moved(
    job: Job, picture: Pictures, frames: Iterator[Pictures], driving: Driving, given: argparse.Namespace
) -> None:
    sound = driving.sound() if given.audio else None
    try:
        if job.mode == "transfer" and job.anchor != 0:
            frames = iter(tqdm(frames, unit="frame", desc="look", file=sys.stderr))
        with tqdm(animate(job, picture, frames), unit="frame", desc="animate", file=sys.stderr) as drawn:
            count = write(given.output, drawn, driving.fps, sound)
    finally:
        if sound is not None:
            sound.close()
    print(f"wrote {given.output} ({count} frames)")


def _check_outputs(given: argparse.Namespace) -> None:
    """Raise RequestError for an output that could not be written, before there is any work."""
    if given.output is None:
        if given.anomaly is None or given.futures is not None:
            raise RequestError(
                "There is nothing to write; give --output (such as an .mp4) or --anomaly (a .csv)."
            )
    elif given.output.suffix.lower() not in (*ENDINGS, *([".png"] if given.futures is not None else [])):
        raise RequestError(
            f"{given.output} does not end in any of {' '.join(ENDINGS)}; name an output that does."
        )
    else:
        check_output(given.output)
    if given.anomaly is not None:
        if given.anomaly.suffix.lower() != ".csv":
            raise RequestError(f"{given.anomaly} does not end in .csv; name a file that does.")
        check_output(given.anomaly)
        check_plots()


def _fan(given: argparse.Namespace) -> Fan | None:
    """Return the futures asked for. Raises RequestError where other options contradict them."""
    if given.futures is None:
        if given.at is not None:
            raise RequestError("--at says when futures begin; add --futures N, such as --futures 9.")
        return None
    if given.size is not None:
        raise RequestError("--futures are always as large as the network's own pictures; leave out --size.")
    if given.mark or given.observe is not None or given.adapt_scale:
        raise RequestError("--futures does not support --observe, --mark or --adapt-scale; leave them out.")
    predicted = 24 if given.predict is None else given.predict
    forecaster = _forecaster(given, "gru-nf")
    return Fan(forecaster, given.futures, predicted, given.at, given.seed)


def _write_futures(fan: Fan, job: Job, picture: Pictures, frames: Iterator[Pictures], output: Path) -> None:
    found = [job.backbone.detect(np.stack(batch)) for batch in iter(lambda: list(islice(frames, BATCH)), [])]
    drawn = draw(fan, job.backbone, picture, np.concatenate(found), job.mode == "transfer")
    if output.suffix.lower() == ".png":
        write_file(output, sheet(drawn))
    else:
        write(output, grid(drawn), Fraction(FPS))
    print(f"wrote {output} ({fan.count} futures of {fan.predicted} frames)")


def _write_anomaly(given: argparse.Namespace, backbone: Backbone, network: Density) -> None:
    """Write the score of every driving frame. It is detected again: all frames count, whatever was drawn."""
    driving = _open_driving(given, backbone.size)
    found: list[Floats] = []
    last: Pictures | None = None
    repeats: list[int] = []
    try:
        fresh: list[Pictures] = []
        for frame in driving_frames(driving.source):
            if frame is not last:
                fresh.append(frame)
            repeats.append(len(fresh) - 1 + BATCH * len(found))
            last = frame
            if len(fresh) == BATCH:
                found.append(backbone.detect(np.stack(fresh)))
                fresh = []
        if fresh:
            found.append(backbone.detect(np.stack(fresh)))
    finally:
        driving.source.close()
    keypoints = np.concatenate(found)
    if len(keypoints) < 2:
        raise RequestError(f"{given.driving} has only one frame; --anomaly needs a video.")
    # A file of fewer than 30 frames per second repeats some: that is not a freeze.
    z = surprise(network, keypoints)[np.array(repeats)]
    write_file(given.anomaly, table(z))
    write_file(given.anomaly.with_suffix(".png"), plot(z))
    beyond = int((score(z) > THRESHOLD).sum())
    print(f"wrote {given.anomaly} and its .png ({len(z)} frames, {beyond} anomalous)")


def _mode(given: argparse.Namespace) -> Mode:
    """Return the mode asked for. Raises RequestError where the options contradict each other."""
    if given.absolute and given.mode == "transfer":
        raise RequestError(
            "--absolute means --mode reconstruction; leave out either --absolute or --mode transfer."
        )
    plain: Mode = "transfer" if given.source and not given.absolute else "reconstruction"
    mode: Mode = given.mode or plain
    if mode == "transfer" and not given.source:
        raise RequestError("--mode transfer needs a picture to move; give one with --source.")
    if given.adapt_scale and mode != "transfer":
        raise RequestError("--adapt-scale scales relative motion; use it with --source and --mode transfer.")
    return mode


def _open_driving(given: argparse.Namespace, side: int) -> Driving:
    # Forecasters know motion at the rate of calls.
    forecasts = given.forecaster is not None or given.futures is not None or given.anomaly is not None
    return open_driving(given.driving, given.crop, Fraction(FPS) if forecasts else None, side)


def _anchor(given: argparse.Namespace, mode: Mode, fps: Fraction) -> int | None:
    """Return the frame that motion is relative to, None for the best one. Raises RequestError for no such."""
    if given.anchor is not None and (mode != "transfer" or given.futures is not None):
        raise RequestError(
            "--anchor is where relative motion starts; use it with --source and --mode transfer."
        )
    if given.anchor in (None, "best"):
        return None if given.futures is None else 0
    if given.anchor == "first":
        return 0
    try:
        seconds = float(given.anchor)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise RequestError(f"{given.anchor!r} is not an --anchor; give best, first, or seconds such as 2.5.")
    return round(seconds * fps)


def _turn(given: argparse.Namespace, backbone: Backbone) -> Callable[[Floats], Floats] | None:
    """Return how heads are turned. Raises RequestError where the backbone does not know how they are held."""
    degrees: list[float | None] = [vars(given)[axis] for axis in ANGLES]
    if not any(degrees):
        return None
    if backbone.name != "nth":
        raise RequestError(
            f"The {backbone.name} backbone does not estimate head pose; --yaw, --pitch and --roll need "
            "--backbone nth."
        )
    if given.futures is not None or not all(abs(angle or 0) <= MAX_DEGREES for angle in degrees):
        raise RequestError(
            f"--yaw, --pitch and --roll are at most {MAX_DEGREES} degrees each way, and cannot be used with "
            "--futures."
        )
    yaw, pitch, roll = (angle or 0.0 for angle in degrees)
    return partial(turned, yaw=yaw, pitch=pitch, roll=roll)


def _forecasting(given: argparse.Namespace) -> tuple[Forecaster | None, Schedule | None]:
    if given.forecaster is None:
        if given.mark or given.observe is not None or given.predict is not None:
            raise RequestError(
                "--observe, --predict and --mark apply to forecast frames; add --forecaster, such as vrnn."
            )
        return None, None
    observe, predict = (6 if number is None else number for number in (given.observe, given.predict))
    return _forecaster(given, given.forecaster), Schedule(observe, predict)


def _forecaster(given: argparse.Namespace, usual: str) -> Forecaster:
    name = given.forecaster or usual
    return load_forecaster(name, folder_of(name, given.weights), "cpu")


def _picture(given: argparse.Namespace, frames: Iterator[Pictures]) -> tuple[Pictures, Iterator[Pictures]]:
    """Return the picture to move, and the driving frames, from which nothing is missing."""
    if given.source is not None:
        return source_picture(given.source, given.size), frames
    first = next(frames)
    return first if len(first) == given.size else _first(given), chain([first], frames)


def _first(given: argparse.Namespace) -> Pictures:
    """Return the first driving frame as large as what is written: detection takes smaller ones."""
    driving = _open_driving(given, given.size)
    try:
        return next(driving_frames(driving.source))
    finally:
        driving.source.close()


if __name__ == "__main__":
    sys.exit(main())
