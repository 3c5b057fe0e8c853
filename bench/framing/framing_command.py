"""`bench framing`: whether heads are found in wide frames, and what a square that follows them is worth.

Square clips are set into made-up rooms of 1280x720. With --faces, a first table shows how many faces are
found there, against YuNet in the clip itself, and how often a head is seen in a room without any. The second
runs a call of 20 seconds without a network: after five a person leans over and stays there, after twelve
comes back and nearer. What the receiver shows is compared with what was framed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from bench.framing import head_finding
from bench.framing.wide import HEIGHT, WIDTH, Placed, room, widened
from bench.harness.clip_set import Clip, find_clips, frames, one_of_each, spread
from bench.harness.faces import FaceFinder
from bench.harness.media import contact_sheet, write_file
from bench.harness.metrics import mae
from bench.harness.report import Report, Row, check_output, describe
from bench.harness.simulate import detect_all, simulated
from bench.harness.simulated_pictures import SimulatedPictures
from models.build import choose_device, load_backbone, load_head_finder, load_tables
from sender.automatic import AutomaticFraming
from sender.capture import open_source
from sender.crop import CentreSquare, Framing
from sender.gallery import GalleryOptions
from sender.presets import Sending
from shared.codec.tables import CodecTables
from shared.constants import FPS, SIZE
from shared.errors import RequestError
from shared.interfaces import Backbone
from shared.keypoints import Pictures
from shared.media.heads import HeadFinder
from shared.media.squares import Square, is_well_placed
from shared.runtime.command import add_network_arguments

COLUMNS = (
    "person", "framing", "mae", "late_mae", "payload_kbps", "well_placed", "pictures",
)  # fmt: skip
SECONDS, MEASURED, LATE_S, PORTRAIT_S = 20, 80, 7, 6
_SIDE = 360.0
# When (seconds) the person is where: left and top of the square clip in the room, and its side.
_PATH = (
    (0, 250, 330, 1.0),
    (5, 250, 330, 1.0),
    (6.5, 340, 340, 1.0),
    (12, 340, 340, 1.0),
    (14, 200, 270, 1.25),
)
_MOMENTS = (0, 4, 7, 11, 14, 19)


class Still:
    """Framed by the first pictures, and never again."""

    def __init__(self, find: HeadFinder) -> None:
        self._framing = AutomaticFraming(find, _ignore)

    def begin(self, pictures: Iterable[Pictures]) -> None:
        """See `sender.crop.Framing`."""
        self._framing.begin(pictures)

    def apply(self, picture: Pictures, seconds: float = 0.0, side: int = SIZE) -> Pictures:  # noqa: ARG002
        """See `sender.crop.Framing`."""
        return self._framing.apply(picture, 0.0, side)  # time stands still

    def cut(self) -> None:
        """See `sender.crop.Framing`: it stays."""

    @property
    def jumps(self) -> int:
        """See `sender.crop.Framing`."""
        return self._framing.jumps


@dataclass(frozen=True)
class Filmed:
    """A wide video of one person, frame by frame."""

    person: str
    pictures: Sequence[Pictures]
    background: Pictures

    def wide(self, number: int) -> Pictures:
        """Return frame `number` (720, 1280, 3); the clip runs forth and back."""
        last = len(self.pictures) - 1
        step = number % (2 * last) if last else 0
        return widened(self.pictures[min(step, 2 * last - step)], self.background, place_at(number / FPS))

    def framed(self, framing: Framing) -> list[Pictures]:
        """Return every frame as `framing` shows it."""
        framing.begin(self.wide(number) for number in range(0, FPS, 6))
        return [framing.apply(self.wide(number), number / FPS) for number in range(SECONDS * FPS)]


def place_at(seconds: float) -> Placed:
    """Return where the square clip stands."""
    times, lefts, tops, scales = zip(*_PATH, strict=True)
    left, top, scale = (float(np.interp(seconds, times, values)) for values in (lefts, tops, scales))
    return Placed(left, top, scale * _SIDE)


def call(
    backbone: Backbone, tables: CodecTables | None, shown: Sequence[Pictures]
) -> tuple[dict[int, Pictures], Row]:
    """Run a call of the pictures `shown` (each (256, 256, 3)); return some frames received, and figures."""
    points = detect_all(backbone, shown)
    simulation = simulated(backbone, tables, Sending(preset="balanced"))
    pictures = SimulatedPictures(backbone, shown[0], GalleryOptions())
    received: dict[int, Pictures] = {}
    wanted = set(spread(0, len(shown) - 1, MEASURED)) | {second * FPS for second in _MOMENTS}

    def on_frame(number: int, looked_at: bool) -> None:
        pictures.step(number, shown[number] if looked_at else None, points[number])

    for number, found, _ in simulation.run(points, on_frame):
        choice = pictures.choose(found)
        if number in wanted:
            received[number] = pictures.draw(found, choice)
    errors = {number: mae(shown[number], picture) for number, picture in received.items()}
    late = [error for number, error in errors.items() if number >= LATE_S * FPS]
    return received, {
        "mae": float(np.mean(list(errors.values()))),
        "late_mae": float(np.mean(late)),
        "payload_kbps": simulation.sent.payload_kbps,
        "pictures": pictures.sent,
    }


def well_placed(find: HeadFinder, shown: Sequence[Pictures]) -> float:
    """Return in how large a share of the frames the head stands where training clips have it."""
    whole = Square(0, 0, shown[0].shape[0])
    looks = [find(picture) for picture in shown[:: FPS // 3]]
    return sum(bool(found) and is_well_placed(found[0], whole) for found in looks) / len(looks)


def add_arguments(commands: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add = commands.add_argument
    add("--clips", type=Path, action="append", default=[], metavar="FOLDER", help="videos to measure on")
    add("--people", type=int, default=4, help="how many people call, besides the portrait (default 4)")
    add("--faces", type=Path, metavar="FILE", help="YuNet's ONNX file, to measure the finder against")
    add("--json", type=Path, metavar="FILE")
    add("--sheet", type=Path, metavar="FILE.png", help="what was framed and what was received")
    add_network_arguments(commands)


def run(given: argparse.Namespace) -> int:
    """Measure, and return the exit code."""
    for path in filter(None, (given.json, given.sheet)):
        check_output(path)
    if given.people < 0:
        raise RequestError(f"There are no {given.people} people; give --people 0 or more.")
    if given.faces and not given.clips:
        raise RequestError("The finder is measured on clips; give some with --clips.")
    find = load_head_finder()
    clips = find_clips(given.clips)[0] if given.clips else []
    device = choose_device(given.device)
    meta = describe("framing", device, width=WIDTH, height=HEIGHT)
    rows: list[Row] = []
    if given.faces:
        rows += head_finding.measure_finder(find, clips, FaceFinder(given.faces))
        Report("framing", rows, head_finding.COLUMNS, meta).publish(None)
    backbone = load_backbone(given.backbone, given.checkpoint, given.device)
    tables = load_tables(backbone, given.checkpoint)
    sheet: list[tuple[str, list[Pictures]]] = []
    called: list[Row] = []
    for filmed in _films(one_of_each(clips, given.people) if clips and given.people else []):
        for name, framing in _framings(find):
            shown = filmed.framed(framing)
            received, row = call(backbone, tables, shown)
            called.append(
                {"person": filmed.person, "framing": name, **row, "well_placed": well_placed(find, shown)}
            )
            moments = [second * FPS for second in _MOMENTS]
            sheet.append((f"{filmed.person[:12]} {name}", [shown[number] for number in moments]))
            sheet.append(("received", [received[number] for number in moments]))
        print(f"{filmed.person}: done", flush=True)
    Report("framing", [*called, *_means(called)], COLUMNS, meta).publish(None)
    Report("framing", [*rows, *called, *_means(called)], COLUMNS, meta).write(given.json)
    if given.sheet:
        write_file(given.sheet, contact_sheet(sheet, [f"{second} s" for second in _MOMENTS]))
    return 0


def _framings(find: HeadFinder) -> Iterator[tuple[str, Framing]]:
    yield "centre", CentreSquare()
    yield "still", Still(find)
    yield "following", AutomaticFraming(find, _ignore)


def _films(clips: Sequence[Clip]) -> Iterator[Filmed]:
    """Yield the demo portrait and the clips, each in a room of its own."""
    demo = open_source("demo")
    portrait = [picture for number in range(PORTRAIT_S * FPS) if (picture := demo.frame(number)) is not None]
    demo.close()
    yield Filmed("demo", portrait, room(1))
    for seed, clip in enumerate(clips, start=2):
        yield Filmed(clip.person, list(islice(frames(clip), 10 * FPS)), room(seed))


def _means(rows: Sequence[Row]) -> Iterator[Row]:
    names = ("mae", "late_mae", "payload_kbps", "well_placed")
    for framing in dict.fromkeys(row["framing"] for row in rows):
        these = [row for row in rows if row["framing"] == framing]
        means = {name: float(np.mean([row[name] for row in these])) for name in names}
        yield {"person": "all", "framing": framing, **means}


def _ignore(sentence: str) -> None:
    """Take a note that nobody reads."""
