"""`bench gallery`: what further source pictures buy, on the people who move most.

A call of a minute, with every frame's true keypoints and no loss: clips run forth and back. The sender's
policy decides frame by frame as it would in a call, on the frames that the schedule ships; pictures arrive at
their pace and take effect when they are complete; the receiver chooses and fades as it does in a call. The
measured frames are spread evenly over the minute (columns `late_`: over its last third).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from bench.harness.clip_set import Clip, find_clips, frames, spread
from bench.harness.metrics import PerceptualDistance, check_ssim, compare
from bench.harness.report import Report, Row, Value, check_output, describe
from bench.harness.simulated_pictures import SimulatedPictures
from bench.quality.gallery_sheet import Columns, write_sheet
from models.build import choose_device, load_backbone
from sender.gallery import GalleryOptions
from shared.constants import FPS, Schedule
from shared.errors import RequestError
from shared.interfaces import Backbone
from shared.keypoints import Floats, KeypointLayout, Pictures
from shared.runtime.command import add_network_arguments
from shared.runtime.stats import kbps

SIZES = (1, 2, 4, 8)
PEOPLE, FRAMES = 8, 48
SECONDS = 60
# Pictures in memory: half a minute.
_MAX_FRAMES = 30 * FPS
_BATCH = 12
COLUMNS = (
    "person", "pictures", "mae", "ssim", "perceptual", "late_mae", "late_ssim", "late_perceptual", "sent",
    "switches", "source_kbps",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Film:
    """A clip in memory: frames (T, 256, 256, 3) and their keypoints (T, D)."""

    clip: Clip
    pictures: Pictures
    keypoints: Floats
    layout: KeypointLayout

    @property
    def spread(self) -> float:
        """How widely its points move: their mean standard deviation; that of all numbers without points."""
        positions = self.layout.positions(self.keypoints)
        return float((positions if positions.size else self.keypoints).std(axis=0).mean())

    def place(self, number: int) -> int:
        """Return which frame is shown at `number`, forth and back."""
        last = len(self.pictures) - 1
        step = number % (2 * last) if last else 0
        return min(step, 2 * last - step)


@dataclass
class Played:
    """Outcome of one call: the frames measured, what was rendered for them, and the bytes of pictures."""

    numbers: list[int] = field(default_factory=list)
    rendered: list[Pictures] = field(default_factory=list)
    sent: int = 0
    switches: int = 0
    source_bytes: int = 0


def read(backbone: Backbone, clip: Clip) -> Film:
    """Read `clip`, half a minute of it at most, and detect every frame's keypoints."""
    shown = np.stack(list(islice(frames(clip), _MAX_FRAMES)))
    found = [backbone.detect(shown[at : at + _BATCH]) for at in range(0, len(shown), _BATCH)]
    return Film(clip, shown, np.concatenate(found), backbone.layout)


def liveliest(backbone: Backbone, clips: Sequence[Clip], people: int) -> list[Film]:
    """Return the clips of the `people` who move most, one each, the liveliest first."""
    best: dict[str, Film] = {}
    for clip in clips:
        film = read(backbone, clip)
        if clip.person not in best or film.spread > best[clip.person].spread:
            best[clip.person] = film
        # Only those that may still be chosen stay in memory.
        best = dict(sorted(best.items(), key=lambda item: -item[1].spread)[:people])
    return list(best.values())


def play(backbone: Backbone, film: Film, options: GalleryOptions, measured: Sequence[int]) -> Played:
    """Run a call of a minute, without a network in between, and draw the `measured` frames."""
    call, schedule, played = SimulatedPictures(backbone, film.pictures[0], options), Schedule(), Played()
    wanted = set(measured)
    for number in range(SECONDS * FPS):
        place = film.place(number)
        points = film.keypoints[place]
        call.step(number, film.pictures[place] if schedule.ships(number) else None, points)
        choice = call.choose(points)
        if number in wanted:
            played.numbers.append(number)
            played.rendered.append(call.draw(points, choice))
    played.sent, played.source_bytes, played.switches = call.sent, call.wire_bytes, call.switches
    return played


def measure(film: Film, played: Played, size: int, perceptual: PerceptualDistance | None) -> Row:
    """Return the row of one call, against the video."""
    figures = compare(
        film.pictures[[film.place(number) for number in played.numbers]],
        {"": np.stack(played.rendered)},
        perceptual,
    )
    late = np.array(played.numbers) >= 2 * SECONDS * FPS / 3
    return {
        "person": film.clip.person,
        "clip": film.clip.name,
        "pictures": size,
        **{name: float(values.mean()) for name, values in figures.items()},
        **{f"late_{name}": float(values[late].mean()) for name, values in figures.items()},
        "sent": played.sent,
        "switches": played.switches,
        "source_bytes": played.source_bytes,
        "source_kbps": kbps(played.source_bytes, SECONDS),
    }


def compared(
    backbone: Backbone, film: Film, source_kbps: float, count: int, perceptual: PerceptualDistance | None
) -> list[tuple[Row, Played]]:
    """Return row and call for each number of pictures, `count` frames of the minute being measured."""
    measured = spread(1, SECONDS * FPS - 1, count)
    calls = {size: play(backbone, film, GalleryOptions(size, source_kbps), measured) for size in SIZES}
    return [(measure(film, call, size, perceptual), call) for size, call in calls.items()]


def summary(rows: Sequence[Row]) -> Iterator[Row]:
    """Return the mean over people, for each number of pictures."""
    for size in dict.fromkeys(row["pictures"] for row in rows):
        these = [row for row in rows if row["pictures"] == size]
        means: dict[str, Value] = {
            name: float(np.mean([row[name] for row in these]))
            for name, value in these[0].items()
            if not isinstance(value, str) and name != "pictures"
        }
        yield {"person": "all", "pictures": size, **means}


def add_arguments(commands: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add = commands.add_argument
    add("--clips", type=Path, action="append", required=True, metavar="FOLDER", help="videos to measure on")
    add("--people", type=int, default=PEOPLE, help="how many people, the liveliest ones (default 8)")
    add("--frames", type=int, default=FRAMES, help="frames measured of each call (default 48)")
    add(
        "--source-kbps",
        type=float,
        default=1.6,
        help="bitrate of source pictures, over a minute (default 1.6)",
    )
    add(
        "--perceptual",
        type=Path,
        metavar="FILE",
        help="weights of SqueezeNet 1.1, for the perceptual distance",
    )
    add("--json", type=Path, metavar="FILE")
    add("--sheet", type=Path, metavar="FILE.png", help="source, one picture and four, side by side")
    add_network_arguments(commands)


def run(given: argparse.Namespace) -> int:
    """Measure, and return the exit code."""
    for path in filter(None, (given.json, given.sheet)):
        check_output(path)
    if given.people < 1 or given.frames < 3:
        raise RequestError("--people must be 1 or more, and --frames 3 or more.")
    check_ssim()
    device = choose_device(given.device)
    perceptual = None if given.perceptual is None else PerceptualDistance(given.perceptual, device)
    backbone = load_backbone(given.backbone, given.checkpoint, given.device)
    backbone.warmup()
    rows: list[Row] = []
    columns: list[Columns] = []
    for film in liveliest(backbone, find_clips(given.clips)[0], given.people):
        found = compared(backbone, film, given.source_kbps, given.frames, perceptual)
        rows += [row for row, _ in found]
        columns.append(_columns(film, dict(zip(SIZES, (call for _, call in found), strict=True))))
        print(f"{film.clip.person}: done", flush=True)
    if given.sheet is not None:
        write_sheet(given.sheet, columns)
    meta = describe("gallery", backbone.device, source_kbps=given.source_kbps, backbone=backbone.name)
    Report("gallery", [*rows, *summary(rows)], COLUMNS, meta).publish(given.json)
    return 0


def _columns(film: Film, calls: dict[int, Played]) -> Columns:
    """Return three late moments of a film: the video, and what one and four pictures make of it."""
    late = np.linspace(0.7, 1.0, 3) * (len(calls[1].numbers) - 1)
    chosen = [round(place) for place in late]
    truth = film.pictures[[film.place(calls[1].numbers[index]) for index in chosen]]
    one, four = (np.stack([calls[size].rendered[index] for index in chosen]) for size in (1, 4))
    return truth, one, four
