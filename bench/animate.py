"""`animate`: bring one picture to life with the motion of a video, offline."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from tqdm import tqdm

from bench.media import write_mp4, write_npy
from bench.report import check_output
from models.build import load_backbone, use_threads
from models.forecast.build import NAMES, load_forecaster
from receiver.avatar import load_avatar
from receiver.fill import Filler
from sender.capture import VideoSource, open_source
from sender.crop import Crop
from shared.command import add_network_arguments, run_command
from shared.config import Schedule
from shared.errors import RequestError
from shared.interfaces import Backbone, Forecaster
from shared.keypoints import Floats, Pictures, relative

Mode = Literal["transfer", "reconstruction"]
WRITERS: dict[str, Callable[[Path, Iterator[Pictures]], int]] = {".mp4": write_mp4, ".npy": write_npy}
BATCH = 12


@dataclass(frozen=True)
class Job:
    """What to animate: `schedule` is None where every frame's own keypoints are used."""

    backbone: Backbone
    mode: Mode
    forecaster: Forecaster | None = None
    schedule: Schedule | None = None


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    commands = argparse.ArgumentParser(prog="animate", description=__doc__)
    add = commands.add_argument
    add(
        "--source",
        metavar="FILE",
        help="a picture, or a video for its first frame; default: the driving video's",
    )
    add("--driving", required=True, metavar="FILE", help="the video whose motion is used, or demo")
    add(
        "--output",
        required=True,
        type=Path,
        metavar="FILE",
        help="an .mp4, or an .npy of (T, 256, 256, 3) uint8",
    )
    add("--mode", choices=get_args(Mode), help="transfer: motion relative to the first driving frame, "
        "the default with a --source; reconstruction: its keypoints as they are")  # fmt: skip
    add("--forecaster", choices=NAMES, help="predict frames instead of detecting them")
    add("--observe", type=int, default=6, help="with --forecaster: frames to detect (default 6) ...")
    add("--predict", type=int, default=6, help="... before this many are predicted (default 6), repeating")
    add(
        "--crop",
        metavar="X,Y,SIZE",
        help="the square of the driving video to use; default: the centre square",
    )
    add_network_arguments(commands)
    add("--threads", type=int, help="CPU threads for the network; default: torch's own choice")
    add("--debug", action="store_true", help="show tracebacks")
    return commands


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    given = parser().parse_args(arguments)
    return run_command(lambda: _run(given), given.debug)


def _run(given: argparse.Namespace) -> int:
    write = WRITERS.get(given.output.suffix.lower())
    if write is None:
        raise RequestError(f"{given.output} ends neither in .mp4 nor in .npy; name an output that does.")
    check_output(given.output)
    mode: Mode = given.mode or ("transfer" if given.source else "reconstruction")
    if mode == "transfer" and not given.source:
        raise RequestError("Transfer moves a picture of its own; give one with --source.")
    if given.threads is not None:
        if given.threads < 1:
            raise RequestError(f"The networks cannot use {given.threads} threads; give --threads 1 or more.")
        use_threads(given.threads)
    job = Job(load_backbone(given.backbone, given.checkpoint, given.device), mode, *_forecasting(given))
    driving = _open_driving(given)
    try:
        frames = driving_frames(driving)
        picture, frames = _picture(given.source, frames)
        moved = animate(job, picture, frames)
        with tqdm(moved, unit="frame", desc="animate", file=sys.stderr) as drawn:
            count = write(given.output, iter(drawn))
    finally:
        driving.close()
    print(f"wrote {given.output} ({count} frames)")
    return 0


def _forecasting(given: argparse.Namespace) -> tuple[Forecaster | None, Schedule | None]:
    schedule = Schedule(given.observe, given.predict)
    if given.forecaster is None:
        return None, None
    return load_forecaster(given.forecaster, device="cpu"), schedule


def _open_driving(given: argparse.Namespace) -> VideoSource:
    source = open_source(given.driving, Crop.parse(given.crop) if given.crop else None)
    if source.live:
        source.close()
        raise RequestError(f"{given.driving} is a camera and never ends; give a video file, or demo.")
    return source


def _picture(spec: str | None, frames: Iterator[Pictures]) -> tuple[Pictures, Iterator[Pictures]]:
    """Return the picture to move, and the driving frames, from which nothing is missing."""
    if spec is not None:
        return source_picture(spec), frames
    first = next(frames)
    return first, chain([first], frames)


def source_picture(spec: str) -> Pictures:
    """Return the centre square (256, 256, 3) of a picture file, or of a video's first frame.

    Raises RequestError where `spec` is neither.
    """
    path = Path(spec)
    if spec != "demo" and not path.is_file():
        raise RequestError(f"There is no picture {spec}; give a picture, or a video for its first frame.")
    try:
        return load_avatar(path)
    except RequestError:
        pass  # not a picture: the next to try is a video
    try:
        video = open_source(spec)
    except RequestError as error:
        raise RequestError(f"{spec} is neither a picture nor a video; give another file.") from error
    try:
        first = video.frame(0)
    finally:
        video.close()
    if first is None:
        raise RequestError(f"{spec} has no frame to start from; give another.")
    return first


def driving_frames(source: VideoSource) -> Iterator[Pictures]:
    """Give every frame of `source`, 30 a second, to its end."""
    number = 0
    while (frame := source.frame(number)) is not None:
        yield frame
        number += 1


def animate(job: Job, picture: Pictures, frames: Iterator[Pictures]) -> Iterator[Pictures]:
    """Move `picture` (256, 256, 3) as `frames` move: one picture (256, 256, 3) for each.

    With a forecaster, only the frames that the schedule ships are detected; the others are filled in exactly
    as a receiver does it.
    """
    own = job.backbone.set_source(picture)
    filler = Filler(job.forecaster) if job.forecaster is not None else None
    first: Floats | None = None
    number = 0
    while batch := list(islice(frames, BATCH)):
        points = _keypoints(job, filler, np.stack(batch), number)
        first = points[0] if first is None else first
        number += len(batch)
        moved = relative(own, points, first) if job.mode == "transfer" else points
        yield from job.backbone.render(moved)


def _keypoints(job: Job, filler: Filler | None, batch: Pictures, number: int) -> Floats:
    """Return the keypoints (B, 60) of frames `number` onwards, detected or forecast."""
    if filler is None or job.schedule is None:
        return job.backbone.detect(batch)
    shipped = [index for index in range(len(batch)) if job.schedule.ships(number + index)]
    found = dict(zip(shipped, job.backbone.detect(batch[shipped]), strict=True)) if shipped else {}
    rows = []
    for index in range(len(batch)):
        if index in found:
            filler.observe({number + index: found[index]})
        filled = filler.fill(number + index)
        # The first frame of a schedule is always shipped, so that there is always something to go on.
        assert filled is not None
        rows.append(filled.keypoints)
    return np.stack(rows)


if __name__ == "__main__":
    sys.exit(main())
