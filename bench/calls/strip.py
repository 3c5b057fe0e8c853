"""`bench strip`: a picture of what a call does: the source picture, what the camera sees, what is shown.

Sent, forecast and drawn as in a call of the default preset, but without a network or a clock: the command
makes the same picture on a slow machine. Forecast frames have a frame around them.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from bench.harness.first_frames import first_frames
from bench.harness.media import write_file
from bench.harness.report import check_output
from bench.harness.simulate import detect_all, simulated
from bench.harness.simulated_pictures import SimulatedPictures
from models.build import load_backbone, load_tables, use_threads
from sender.gallery import GalleryOptions
from sender.presets import Sending
from shared.codec.tables import CodecTables
from shared.concealment import Kind
from shared.constants import FPS
from shared.errors import RequestError
from shared.interfaces import Backbone
from shared.keypoints import Pictures
from shared.runtime.command import add_network_arguments

SIDE, GAP, HEADER, FRAME = 112, 5, 22, 3
_BACK, _TEXT, _FORECAST = (24, 26, 30), (236, 238, 240), (255, 168, 40)
_FONT_SIZE = 13
_COLOURS = 256
_MAX_SECONDS = 60.0


@dataclass(frozen=True, eq=False)
class Moment:
    """Frame `number` (256, 256, 3) of the video, and what is shown in its place."""

    number: int
    driving: Pictures
    received: Pictures
    kind: Kind


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add = parser.add_argument
    add("--source", default="demo", help="a video file, or demo (default)")
    add("--crop", metavar="X,Y,SIZE", help="the square to send; default: the centre square")
    add("--at", type=float, default=2.0, metavar="SECONDS", help="the first moment shown (default 2)")
    add("--step", type=int, default=7, metavar="N", help="frames from one moment to the next (default 7)")
    add("--moments", type=int, default=8, metavar="N", help="how many are shown (default 8)")
    add("--output", type=Path, required=True, metavar="FILE.png", help="the picture")
    add_network_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Make the picture and say where it is. Returns the exit code."""
    if not 0 <= options.at <= _MAX_SECONDS or not 1 <= options.step <= FPS or not 1 <= options.moments <= 32:
        raise RequestError(
            f"A strip begins within {_MAX_SECONDS:.0f} seconds and has 1 to 32 moments, 1 to {FPS} frames "
            "apart; change --at, --moments or --step."
        )
    check_output(options.output)
    use_threads(1)
    first = round(options.at * FPS)
    numbers = range(first, first + options.moments * options.step, options.step)
    frames = first_frames(options.source, options.crop, numbers[-1] + 1)
    if len(frames) <= numbers[-1]:
        raise RequestError(f"The video has only {len(frames)} frames; give an earlier --at.")
    backbone = load_backbone(options.backbone, options.checkpoint, options.device)
    found = list(moments(backbone, load_tables(backbone, options.checkpoint), frames, numbers))
    write_file(options.output, drawn(frames[0], found))
    print(f"wrote {options.output}")
    return 0


def moments(
    backbone: Backbone, tables: CodecTables | None, frames: Sequence[Pictures], numbers: Sequence[int]
) -> Iterator[Moment]:
    """Give those of `frames` (256, 256, 3) that `numbers` name, next to what a receiver shows for them."""
    pictures = SimulatedPictures(backbone, frames[0], GalleryOptions())
    keypoints = detect_all(backbone, frames)
    call = simulated(backbone, tables, Sending())

    def captured(number: int, wanted: bool) -> None:
        pictures.step(number, frames[number] if wanted else None, keypoints[number])

    for number, points, kind in call.run(keypoints, captured):
        choice = pictures.choose(points)
        if number in numbers:
            yield Moment(number, frames[number], pictures.draw(points, choice), kind)


def drawn(source: Pictures, shown: Sequence[Moment]) -> bytes:
    """Return a PNG: `source` (256, 256, 3), and right of it moments, driving above received frame."""
    large = 2 * SIDE + GAP
    size = (large + 4 * GAP + len(shown) * (SIDE + GAP), HEADER + large + GAP)
    canvas = Image.new("RGB", size, _BACK)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(_FONT_SIZE)
    draw.text((GAP + large / 2, HEADER / 2), "sent once", _TEXT, font, anchor="mm")
    canvas.paste(_scaled(source, large), (GAP, HEADER))
    for index, moment in enumerate(shown):
        x, y = large + 4 * GAP + index * (SIDE + GAP), HEADER + SIDE + GAP
        forecast = moment.kind is not Kind.OBSERVED
        label = moment.kind.value if forecast else "sent"
        draw.text((x + SIDE / 2, HEADER / 2), label, _FORECAST if forecast else _TEXT, font, anchor="mm")
        canvas.paste(_scaled(moment.driving, SIDE), (x, HEADER))
        canvas.paste(_scaled(moment.received, SIDE), (x, y))
        if forecast:
            draw.rectangle((x, y, x + SIDE - 1, y + SIDE - 1), outline=_FORECAST, width=FRAME)
    out = io.BytesIO()
    # A palette makes the file a third as large; nobody measures on it.
    canvas.quantize(_COLOURS).save(out, "PNG", optimize=True)
    return out.getvalue()


def _scaled(picture: Pictures, side: int) -> Image.Image:
    return Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS)
