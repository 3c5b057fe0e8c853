"""`python -m models.training tracks`: the keypoints of whole clips, for the forecasters to learn from."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from models.build import load_backbone
from models.clips.layouts import clip_name, find_clips
from models.clips.people import person_of, read_people
from models.clips.video import CLIP_ERRORS, timed_pictures
from models.training.data.tracks import FASTEST, save_track, track_maker
from shared.errors import RequestError
from shared.interfaces import Backbone
from shared.keypoints import Floats, Pictures
from shared.runtime.command import add_network_arguments

_BATCH = 16
# Frames may stand this far from their even place, in frames, before they are resampled: files round times.
_JITTER = 0.25
_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--clips", nargs="+", type=Path, required=True,
        help="folders of clips; a clips.csv in one (columns file, person) says who is who",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, required=True, help="folder for the tracks, one .npz per clip")
    add_network_arguments(parser)


def extract(options: argparse.Namespace) -> int:
    """Write a track for every clip that has none of this detector yet. Returns the exit code.

    A clip that cannot be read is skipped with a warning and counted. RequestError where no track results.
    """
    clips = _named(find_clips(options.clips))
    people = {folder: read_people(folder) for folder in options.clips}
    backbone = load_backbone(options.backbone, options.checkpoint, options.device)
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"Cannot write to {options.output} ({error}); choose another --output.") from error
    done = broken = 0
    for name, (folder, file) in tqdm(clips.items(), desc="tracks", unit="clip"):
        target = options.output / f"{name}.npz"
        if track_maker(target) == backbone.detector:
            done += 1
            continue
        try:
            keypoints, fps = track(file, backbone)
        except CLIP_ERRORS as error:
            _log.warning("Skipped %s: %s", file, error)
            broken += 1
            continue
        person = person_of(folder, file, people[folder])
        named, sided = (person, backbone.detector, backbone.layout), backbone.name == "lite"
        save_track(target, keypoints, fps, *named, sided=sided)
    made = len(clips) - done - broken
    print(f"{made} tracks made, {done} already there, {broken} broken clips skipped; all in {options.output}")
    if broken == len(clips):
        raise RequestError("None of the clips could be read; give folders with intact videos.")
    return 0


def track(file: Path, backbone: Backbone) -> tuple[Floats, float]:
    """Return the keypoints (T, D) of every frame of `file` and their rate in frames per second.

    The rate is that of the timestamps; frames that stand unevenly in time are brought to an even pace first.
    Raises one of CLIP_ERRORS where the file is not a sound video of at least two frames.
    """
    found: list[Floats] = []
    times: list[float] = []
    waiting: list[Pictures] = []
    for time, picture in timed_pictures(file, backbone.size):
        times.append(time)
        waiting.append(picture)
        if len(waiting) == _BATCH:
            found.append(backbone.detect(np.stack(waiting)))
            waiting.clear()
    if waiting:
        found.append(backbone.detect(np.stack(waiting)))
    if len(times) < 2:
        raise ValueError("it has fewer than two frames")
    return even_pace(np.concatenate(found), np.array(times))


def even_pace(keypoints: Floats, times: npt.NDArray[np.float64]) -> tuple[Floats, float]:
    """Bring `keypoints` (T, D) at `times` (T,), in seconds, to their mean rate, by linear interpolation.

    Frames that stand evenly already, but for rounding, stay as they are. Returns them and the rate. Raises
    ValueError where time stands still, runs backwards or runs faster than any camera.
    """
    span = times[-1] - times[0]
    if not (np.diff(times) > 0).all() or len(times) - 1 > span * FASTEST:
        raise ValueError("its timestamps are not those of a video")
    even = np.linspace(times[0], times[-1], len(times))
    fps = float((len(times) - 1) / span)
    if np.abs(even - times).max() * fps <= _JITTER:
        return keypoints, fps
    columns = [np.interp(even, times, column) for column in keypoints.T]
    return np.stack(columns, axis=1).astype(np.float32), fps


def _named(clips: Sequence[tuple[Path, Path]]) -> dict[str, tuple[Path, Path]]:
    """Name the track of each clip after its place below its folder."""
    names: dict[str, tuple[Path, Path]] = {}
    for folder, file in clips:
        name = clip_name(folder, file)
        if name in names:
            raise RequestError(
                f"{names[name][1]} and {file} would share the track {name}; "
                "rename one, or extract them to different folders."
            )
        names[name] = (folder, file)
    return names
