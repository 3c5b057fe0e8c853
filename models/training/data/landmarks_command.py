"""`python -m models.training landmarks`: lips, lids, irises and more in the frames that training keeps."""

from __future__ import annotations

import argparse
import hashlib
import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from models.build import load_landmark_finder, use_threads
from models.landmarks.canonical import canonical, frontal
from models.landmarks.finder import LandmarkFinder
from models.landmarks.landmark_files import CANONICAL, LandmarkFolder, save_canonical, save_clip, save_stills
from models.training.data.frames import Clip, load_clips, load_stills, square
from shared.errors import RequestError
from shared.keypoints import Floats

_BLOCK = 100
"""So many pictures are kept at a time."""
# The canonical face is that of so many frames at most, so many of a clip.
_FACES, _FACES_OF_A_CLIP = 400, 5
_PARTS = "parts"
_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add = parser.add_argument
    add("--clips", nargs="+", type=Path, default=[], metavar="FOLDER", help="folders of clips")
    add("--stills", nargs="+", type=Path, default=[], metavar="FOLDER", help="folders of JPEG portraits")
    add("--models", type=Path, required=True, metavar="FOLDER",
        help="folder with MediaPipe's face_landmark.tflite and iris_landmark.tflite")  # fmt: skip
    add(
        "--output",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folder for the landmarks, one .npz per clip",
    )
    add(
        "--cache",
        type=Path,
        default=Path("runs/cache"),
        metavar="FOLDER",
        help="folder for decoded frames (default: runs/cache)",
    )


def find(options: argparse.Namespace) -> int:
    """Write the landmarks of every frame that training keeps, of what has none yet. Returns the exit code.

    RequestError where two clips share a file name, since landmarks go by it.
    """
    if not options.clips and not options.stills:
        raise RequestError("There is nothing to find landmarks in; give folders with --clips or --stills.")
    # One picture at a time; a second thread would only wait.
    use_threads(1)
    finder = load_landmark_finder(options.models)
    clips = load_clips(options.clips, options.cache) if options.clips else []
    _check_names(clips)
    _make(options.output)
    made = _clips(clips, finder, options.output)
    pictures = sum(_stills(folder, finder, options.output) for folder in options.stills)
    if clips and (made or not (options.output / CANONICAL).exists()):
        _canonical(clips, finder, options.output)
    print(
        f"{made} clips made, {len(clips) - made} already there; {pictures} pictures; all in {options.output}"
    )
    return 0


def _check_names(clips: Sequence[Clip]) -> None:
    (name, count), *_ = Counter(clip.name for clip in clips).most_common(1) or [("", 0)]
    if count > 1:
        raise RequestError(
            f"{count} clips are called {name}, but landmarks are stored by file name; rename them, or run "
            "this for each folder with an output of its own."
        )


def _clips(clips: Sequence[Clip], finder: LandmarkFinder, output: Path) -> int:
    """Look through the clips that `output` lacks, or has of other frames; return how many those were."""
    made, there = 0, LandmarkFolder.scan(output)
    for clip in tqdm(clips, desc="landmarks", unit="clip"):
        if clip.name in there and len(there.of(clip.name)) == len(clip.frames):
            continue
        # A clip may be called as one of the other files is.
        file = output / f"{clip.name}.clip.npz"
        if there.clips.get(clip.name, file) != file:
            raise RequestError(
                f"{there.clips[clip.name]} has {clip.name} with different frames; choose another --output."
            )
        save_clip(file, clip.name, finder.follow(map(clip.picture, range(len(clip.frames)))))
        made += 1
    return made


def _stills(folder: Path, finder: LandmarkFinder, output: Path) -> int:
    """Look through the pictures in `folder` unless `output` has so many of it; return how many there are."""
    stills, name = load_stills(folder), folder.resolve().name
    there = LandmarkFolder.scan(output)
    known = {other: there.stills(other) for other in there.folders}
    if len(known.get(name, ())) != len(stills):
        parts = output / _PARTS
        starts = tqdm(range(0, len(stills), _BLOCK), desc=name, unit=f"{_BLOCK} pictures")
        found = [_block(stills[start : start + _BLOCK], finder, parts) for start in starts]
        save_stills(output, {**known, name: np.concatenate(found)})
        shutil.rmtree(parts)
    return len(stills)


def _block(stills: Sequence[bytes], finder: LandmarkFinder, parts: Path) -> Floats:
    """Return the landmarks (N, 175, 2) of pictures, from `parts` where an earlier run left them."""
    key = hashlib.sha256(b"".join(stills)).hexdigest()[:24]
    _make(parts)
    if key not in LandmarkFolder.scan(parts):
        save_clip(
            parts / f"{key}.npz", key, np.concatenate([finder.follow([square(still)]) for still in stills])
        )
    return LandmarkFolder.scan(parts).of(key)


def _canonical(clips: Sequence[Clip], finder: LandmarkFinder, output: Path) -> None:
    """Write the canonical face: the middle of frontal faces spread over all clips, depth and all."""
    there = LandmarkFolder.load(output)
    frames = []
    for clip in clips:
        ahead = frontal(there.of(clip.name))
        frames += [(clip, int(index)) for index in ahead[:: max(1, len(ahead) // _FACES_OF_A_CLIP)]]
    some = frames[:: max(1, len(frames) // _FACES)]
    found = [
        finder.find(clip.picture(index)) for clip, index in tqdm(some, desc="canonical face", unit="frame")
    ]
    faces = [one.points for one in found if one is not None]
    if faces:
        save_canonical(output, canonical(faces))
    else:
        _log.warning("Nobody looks straight ahead in these clips, so no canonical face was written")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"Cannot write to {folder} ({error}); choose another --output.") from error
