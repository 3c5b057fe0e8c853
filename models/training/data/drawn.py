"""`drawn`: clips of drawn people, no two alike, whose landmarks are known exactly."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from tqdm import tqdm

from models.clips.people import TABLE
from models.landmarks.canonical import canonical
from models.landmarks.kept import FRAMES_PER_CLIP, FRAMES_PER_SECOND
from models.landmarks.landmark_files import DRAWN, LandmarkFolder, save_canonical, save_clips
from models.training.data.drawn_motion import motion
from shared.constants import SIZE
from shared.errors import KeycastError, RequestError
from shared.keypoints import Floats, Pictures
from shared.portrait.looks import Looks
from shared.portrait.portrait import Portrait, landmarks_with_depth
from shared.portrait.pose import Pose
from shared.portrait.talking import ROUND_S, pose_at

SMALLEST, LARGEST = 64, 2048
_QUALITY = 15
_SAVED_EVERY = 20
# The canonical face is the middle of so many people, who look straight ahead with their mouths shut.
_FACES = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `draw` takes."""
    add = parser.add_argument
    add("--people", type=int, default=300, help="how many people to draw (default: %(default)s)")
    add("--frames", type=int, default=24, help="frames of each, eight per second (default: %(default)s)")
    side = "width and height in pixels, an even number (default: %(default)s)"
    add("--size", type=int, default=SIZE, metavar="PIXELS", help=side)
    moved = "any: all that faces can do; call: what they do in a call, as in the demo (default: %(default)s)"
    add("--motion", choices=("any", "call"), default="any", help=moved)
    sharp = "all cameras in focus; otherwise half are not, and their larger pictures show no more detail"
    add("--in-focus", action="store_true", help=sharp)
    add("--output", type=Path, required=True, help="folder for clips, clips.csv and landmarks")
    add(
        "--seed",
        type=int,
        default=0,
        help="random seed: another one draws other people (default: %(default)s)",
    )


def draw(options: argparse.Namespace) -> int:
    """Draw what is not drawn yet; RequestError for numbers or a folder that cannot be used."""
    if options.people < 1 or not 2 <= options.frames <= FRAMES_PER_CLIP:
        raise RequestError(f"--people must be 1 or more, and --frames from 2 to {FRAMES_PER_CLIP}.")
    if options.size % 2 or not SMALLEST <= options.size <= LARGEST:
        raise RequestError(f"--size must be an even number from {SMALLEST} to {LARGEST}.")
    folder: Path = options.output
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_table(folder, options)
    except OSError as error:
        raise RequestError(f"Cannot write to {folder} ({error}); choose another --output.") from error
    _draw_people(folder, options)
    save_canonical(folder, _canonical(options.seed))
    print(f"{options.people} people in {folder}, their landmarks in {folder / DRAWN}")
    return 0


def _draw_people(folder: Path, options: argparse.Namespace) -> None:
    """Draw who is missing; what there is when it is stopped stays."""
    seed, people, frames = options.seed, options.people, options.frames
    file = folder / DRAWN
    marks = _read(folder) if file.exists() else {}
    try:
        for person in tqdm(range(people), desc="people", unit="person"):
            name = clip_name(seed, person)
            if (folder / name).exists() and len(marks.get(name, ())) == frames:
                continue
            marks[name] = _draw_person(folder / name, [seed, person], options)
            if person % _SAVED_EVERY == 0:
                save_clips(file, marks)
    finally:
        save_clips(file, marks)


def _canonical(seed: int) -> Floats:
    """Return the face (175, 3) that parts of drawn faces are measured against, where no other is given."""
    people = [Looks.random(np.random.default_rng([seed, person])) for person in range(_FACES)]
    return canonical([_towards_viewer(landmarks_with_depth(looks, Pose())) for looks in people])


def _towards_viewer(points: Floats) -> Floats:
    """Return points (175, 3) with depth as face meshes have it: what is nearer has the smaller number."""
    return np.asarray(points * [1, 1, -1], np.float32)


def _read(folder: Path) -> dict[str, Floats]:
    """Return the landmarks that are there, by clip."""
    there = LandmarkFolder.load(folder)
    return {name: there.of(name) for name in there.clips}


def clip_name(seed: int, person: int) -> str:
    """Return the file name of one person's clip."""
    return f"drawn-{seed}-{person:05d}.mp4"


def _write_table(folder: Path, options: argparse.Namespace) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["file", "person"])
    for person in range(options.people):
        name = clip_name(options.seed, person)
        table.writerow([name, Path(name).stem])
    (folder / TABLE).write_text(text.getvalue(), encoding="utf-8")


def _draw_person(file: Path, seed: list[int], options: argparse.Namespace) -> Floats:
    """Write one person's clip; return the landmarks (frames, 175, 2)."""
    rng = np.random.default_rng(seed)
    size: int = options.size
    looks = Looks.random(rng)
    if options.in_focus:
        looks = replace(looks, view=replace(looks.view, blur=0.0))
    portrait = Portrait(looks, size)
    if options.motion == "call":
        start = rng.uniform(0, ROUND_S)
        poses = [pose_at(start + number / FRAMES_PER_SECOND) for number in range(options.frames)]
    else:
        poses = motion(rng, options.frames, FRAMES_PER_SECOND)
    partial = file.with_name(f".{file.name}.part")
    try:
        _write_clip(partial, size, (portrait.draw(pose) for pose in poses))
        partial.replace(file)
    except OSError as error:
        raise KeycastError(f"Cannot write {file} ({error}); free some space and try again.") from error
    return np.stack([portrait.landmarks(pose) for pose in poses])


def _write_clip(file: Path, size: int, pictures: Iterable[Pictures]) -> None:
    """Write pictures as an mp4 of `FRAMES_PER_SECOND`, so that training keeps each of them."""
    with av.open(str(file), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(FRAMES_PER_SECOND))
        stream.width, stream.height, stream.pix_fmt = size, size, "yuv420p"
        stream.options = {"crf": str(_QUALITY), "preset": "veryfast"}
        stream.thread_count = 1
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
