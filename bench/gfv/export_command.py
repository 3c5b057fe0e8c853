"""`bench export-gfv`: a clip as an H.264 stream whose keypoints other programs can carry and read.

Its first picture is coded, and the keypoints of all frames go with it as generative face video messages
(ITU-T H.274, payload type 223). With `--read`, keypoints and picture come back from such a stream, or from a
file that it was put into.
"""

from __future__ import annotations

import argparse
import io
import math
from pathlib import Path

import numpy as np
from PIL import Image

from bench.gfv.compare import COLUMNS, Clip, Comparison
from bench.gfv.motion import BITS, MAX_BITS, points_of
from bench.gfv.stream import LAYOUTS, read_stream, write_stream
from bench.harness.first_frames import first_frames
from bench.harness.media import write_file
from bench.harness.report import Report, check_output, describe
from bench.harness.simulate import detect_all
from models.build import choose_device, load_backbone, load_tables
from shared.constants import FPS
from shared.errors import RequestError
from shared.runtime.command import add_network_arguments

_MAX_SECONDS = 600.0
_MAX_CRF = 51


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add = parser.add_argument
    add("--source", default="demo", help="a video file, or demo (default)")
    add("--crop", metavar="X,Y,SIZE", help="the square to send; default: the centre square")
    add(
        "--seconds",
        type=float,
        default=10.0,
        metavar="S",
        help="length to write, from the start (default 10)",
    )
    each = "base (default): all messages with the coded picture; else each with a skipped picture of its own"
    add("--layout", choices=LAYOUTS, default="base", help=each)
    add("--bits", type=int, default=BITS, metavar="N", help=f"steps of 2**-N (default {BITS})")
    add("--crf", type=int, default=23, metavar="N", help="x264's CRF for the picture (default 23)")
    add("--read", type=Path, metavar="FILE", help="read such a stream, or a file that contains one, instead")
    written = "the stream (.h264); with --read, the keypoints (T, D) as .npy"
    add("--output", type=Path, required=True, metavar="FILE", help=written)
    add("--picture", type=Path, metavar="FILE.png", help="with --read: the coded picture")
    add("--json", type=Path, metavar="FILE", help="write the table as JSON")
    add_network_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Write a stream and say what it costs, or read one. Returns the exit code."""
    for path in filter(None, (options.output, options.picture, options.json)):
        check_output(path)
    return _write(options) if options.read is None else _read(options)


def _write(options: argparse.Namespace) -> int:
    _check(options)
    frames = first_frames(options.source, options.crop, math.ceil(options.seconds * FPS))
    if not frames:
        raise RequestError("The video has no frames; choose another --source.")
    backbone = load_backbone(options.backbone, options.checkpoint, options.device)
    points_of(backbone.layout)
    keypoints = detect_all(backbone, frames)
    written = write_stream(
        frames[0], keypoints, backbone.layout, options.layout, options.bits, options.crf
    )  # fmt: skip
    write_file(options.output, written.data)
    print(f"wrote {len(keypoints)} frames in {len(written.data)} bytes to {options.output}")
    clip = Clip(backbone, frames[0], keypoints, options.crf)
    rows = Comparison(clip).rows(load_tables(backbone, options.checkpoint), options.bits)
    meta = describe(
        "export-gfv", choose_device(options.device), source=options.source, frames=len(keypoints),
        backbone=backbone.name,
    )  # fmt: skip
    Report("export-gfv", rows, COLUMNS, meta).publish(options.json)
    return 0


def _check(options: argparse.Namespace) -> None:
    if options.picture is not None:
        raise RequestError("--picture only applies with --read; leave it out, or give a stream to --read.")
    if options.output.suffix not in {".h264", ".264"}:
        raise RequestError(
            f"The stream is raw H.264, so {options.output.name} must end in .h264; "
            "ffmpeg -i FILE.h264 -c copy FILE.mp4 puts it into a container."
        )
    if not 0 < options.seconds <= _MAX_SECONDS:
        raise RequestError(
            f"--seconds must be above 0 and at most {_MAX_SECONDS:.0f}, not {options.seconds:g}."
        )
    if not 1 <= options.bits <= MAX_BITS:
        raise RequestError(f"Numbers have 1 to {MAX_BITS} bits, not {options.bits}; change --bits.")
    if not 0 <= options.crf <= _MAX_CRF:
        raise RequestError(f"x264's CRF must be 0 (finest) to {_MAX_CRF}, not {options.crf}; change --crf.")


def _read(options: argparse.Namespace) -> int:
    if options.json is not None:
        raise RequestError("Reading a stream measures nothing; leave --json out.")
    found = read_stream(options.read)
    out = io.BytesIO()
    np.save(out, found.keypoints)
    write_file(options.output, out.getvalue())
    print(f"read {len(found.keypoints)} frames of {found.keypoints.shape[1]} numbers; wrote {options.output}")
    if options.picture is not None:
        png = io.BytesIO()
        Image.fromarray(found.picture).save(png, "PNG")
        write_file(options.picture, png.getvalue())
        print(f"wrote {options.picture}")
    return 0
