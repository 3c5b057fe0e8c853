"""Layouts of data sets: videos, gifs, folders of frames; by person or not, split or not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from shared.errors import RequestError

VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".webm", ".gif")
FRAME_SUFFIXES = (".png", ".jpg", ".jpeg")
TRAIN, TEST = "train", "test"


def find_clips(folders: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Return (folder, clip) for every clip in and below `folders`, in a stable order.

    A clip is a video, a gif, or a folder that holds frames but neither videos nor folders. An empty folder
    counts as a clip, a broken one, so that it is reported like any other. Hidden files are none. RequestError
    for a folder that is not there, and where nothing is found.
    """
    for folder in folders:
        if not folder.is_dir():
            raise RequestError(f"There is no folder {folder}; give folders that hold video clips.")
    found = [(folder, clip) for folder in folders for clip in _clips(folder, set())]
    if all(folder == clip and not _has_frames(clip) for folder, clip in found):
        names, kinds = ", ".join(map(str, folders)), " ".join(VIDEO_SUFFIXES)
        raise RequestError(f"No video below {names}; give folders with {kinds} files or folders of frames.")
    return found


def _clips(folder: Path, seen: set[Path]) -> Iterator[Path]:
    """Yield the clips of one folder; each place once, even where a link leads back to it."""
    place = folder.resolve()
    if place in seen:
        return
    seen.add(place)
    try:
        entries = _visible(folder)
    except OSError:
        # Opening it as a clip reports why it cannot be read.
        yield folder
        return
    folders = {entry for entry in entries if entry.is_dir()}
    videos = [entry for entry in entries if entry not in folders and entry.suffix.lower() in VIDEO_SUFFIXES]
    frames = any(_is_frame(entry) for entry in entries)
    if not entries or (frames and not folders and not videos):
        yield folder
    for entry in entries:
        if entry in folders:
            yield from _clips(entry, seen)
        elif entry in videos:
            yield entry


def _visible(folder: Path) -> list[Path]:
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    return sorted(entries, key=natural_order)


def natural_order(path: Path) -> tuple[list[str | int], str]:
    """Return the key that sorts `path` as people count: frame 2 before frame 10."""
    parts = re.split(r"(\d+)", path.name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], path.name


def _is_frame(entry: Path) -> bool:
    return entry.suffix.lower() in FRAME_SUFFIXES


def frame_files(folder: Path) -> list[Path]:
    """Return the frames of a clip that is a folder, in their natural order; OSError if it cannot be read."""
    return [entry for entry in _visible(folder) if _is_frame(entry)]


def _has_frames(folder: Path) -> bool:
    try:
        return bool(frame_files(folder))
    except OSError:
        return False


def training_part(folders: Sequence[Path]) -> list[Path]:
    """Return, of each folder that holds both `train` and `test`, its `train`; the others as they are."""
    return [folder / TRAIN if _is_split(folder) else folder for folder in folders]


def validation_part(folders: Sequence[Path]) -> list[Path]:
    """Return `test` of each folder that holds both `train` and `test`; the others as they are."""
    return [folder / TEST if _is_split(folder) else folder for folder in folders]


def validation_folders(clips: Sequence[Path], validate: Sequence[Path] | None) -> list[Path]:
    """Return where to validate: as asked for, else the `test` parts of `clips`; RequestError with neither."""
    if validate:
        return validation_part(validate)
    folders = [folder / TEST for folder in clips if _is_split(folder)]
    if not folders:
        raise RequestError(
            "There is nothing to validate on: give --validate with clips of other people, "
            "or --clips with a folder that holds train and test."
        )
    return folders


def _is_split(folder: Path) -> bool:
    return (folder / TRAIN).is_dir() and (folder / TEST).is_dir()


def clip_name(folder: Path, clip: Path) -> str:
    """Name `clip` after its place below `folder`, without the ending of a video."""
    parts = [*clip.relative_to(folder).parts] or [clip.resolve().name]
    return "-".join([*parts[:-1], stem(parts[-1])])


def stem(name: str) -> str:
    """Return a clip's name without the ending of a video."""
    return Path(name).stem if Path(name).suffix.lower() in VIDEO_SUFFIXES else name


def signature(clip: Path) -> str:
    """Return what changes whenever `clip` does: its place, sizes and times; OSError if it is not there."""
    files = frame_files(clip) if clip.is_dir() else [clip]
    stats = [file.stat() for file in files]
    marks = [f"{stat.st_size}|{stat.st_mtime_ns}" for stat in stats]
    if clip.is_dir():
        marks = [f"{file.name}|{mark}" for file, mark in zip(files, marks, strict=True)]
    return "|".join([str(clip.resolve()), *marks])
