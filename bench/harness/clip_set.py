"""The clips that quality is measured on: who is in them, and their frames one by one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import numpy as np

from models.clips import layouts
from models.clips.people import TABLE, missing_files, person_of, read_people
from models.landmarks.kept import kept_frames
from sender.capture import open_source
from shared.constants import FPS, SIZE
from shared.errors import KeycastError, RequestError
from shared.keypoints import Pictures

_LONGEST_NAME = 40
log = logging.getLogger(__name__)


class ClipError(Exception):
    """A clip cannot be measured; the others can. The sentence names its file."""


@dataclass(frozen=True)
class Clip:
    """One video and the name of the person in it."""

    file: Path
    person: str

    @property
    def name(self) -> str:
        """The file's name."""
        return plain(self.file.name)

    def __str__(self) -> str:
        return str(self.file)


def find_clips(folders: Sequence[Path]) -> tuple[list[Clip], int]:
    """Return every video below `folders`, in a stable order, and how many listed ones are missing.

    The person in it is identified as in training: see `models.clips.people`. Folders of frames are left out:
    a call takes none. Raises RequestError where there is no video, or a table cannot be read.
    """
    people = {folder: read_people(folder) for folder in folders if folder.is_dir()}
    found = [(folder, file) for folder, file in layouts.find_clips(folders) if file.is_file()]
    if not found:
        raise RequestError(f"No video below {', '.join(map(str, folders))}; give folders with video files.")
    missing = 0
    for folder in people:
        for name in missing_files(folder):
            log.warning("Skipped %s: it is listed in %s but not there.", folder / name, TABLE)
            missing += 1
    return [Clip(file, _one_line(person_of(folder, file, people[folder]))) for folder, file in found], missing


def one_of_each(clips: Sequence[Clip], people: int) -> list[Clip]:
    """Return the first clip of each of `people` people, evenly spread over the list; all clips for 0."""
    first = list({clip.person: clip for clip in reversed(clips)}.values())[::-1]
    return [first[index] for index in spread(0, len(first) - 1, people)] if people else list(clips)


def plain(name: str) -> str:
    """Return `name` as one short printable line, as tables and pictures need it."""
    return _one_line(name)[:_LONGEST_NAME]


def _one_line(name: str) -> str:
    """Return `name` as one printable line. A person's is not cut: two may begin alike."""
    return "".join(letter if letter.isprintable() else " " for letter in name).strip() or "unnamed"


def frames(clip: Clip, side: int = SIZE) -> Iterator[Pictures]:
    """Give the frames (side, side, 3) that a call would show of `clip`, 30 per second, each one once.

    Raises ClipError where the file is no sound video.
    """
    try:
        source = open_source(str(clip.file.absolute()), side=side)
    except KeycastError as error:
        raise ClipError(str(error)) from error
    last, number = None, 0
    try:
        # Where the clip has fewer than 30 per second, a source gives the same picture again, not a copy.
        while (picture := source.frame(number)) is not None:
            if picture is not last:
                yield picture
            last, number = picture, number + 1
    except KeycastError as error:
        raise ClipError(str(error)) from error
    finally:
        source.close()


def chosen(clip: Clip, numbers: Sequence[int], side: int = SIZE) -> Iterator[Pictures]:
    """Give the frames (side, side, 3) of `clip` with these `numbers`, which rise."""
    wanted = set(numbers)
    every = enumerate(islice(frames(clip, side), max(wanted) + 1))
    return (picture for number, picture in every if number in wanted)


def moments(clip: Clip, count: int) -> list[int]:
    """Return the numbers of `count` frames spread evenly after the first one; of all others where it is 0.

    Raises ClipError where the clip has fewer than two frames.
    """
    total = sum(1 for _ in frames(clip))
    if total < 2:
        raise ClipError(f"{clip} has fewer than two frames.")
    return spread(1, total - 1, count or total)


def kept_moments(clip: Clip, count: int, kept: int) -> tuple[list[int], list[int]]:
    """Return the numbers of `count` frames among the `kept` ones that training keeps, and their places there.

    Spread evenly after the first one; all of them where `count` is 0. Raises ClipError where the clip keeps
    another number of frames: what is known of them is then of another clip.
    """
    total, rate = sum(1 for _ in frames(clip)), _rate(clip)
    # What is faster than a call is shown at 30 per second.
    pace = min(1.0, FPS / rate)
    numbers = [round(number * pace) for number in kept_frames(round(total / pace), rate)]
    if len(numbers) != kept or kept < 2:
        raise ClipError(f"{clip} keeps {len(numbers)} frames, but there are landmarks of {kept}.")
    places = spread(1, kept - 1, count or kept)
    return [numbers[place] for place in places], places


def _rate(clip: Clip) -> float:
    """Return the clip's frames per second, 25 where it does not say."""
    with av.open(str(clip.file.absolute()), options={"protocol_whitelist": "file"}) as container:
        return float(container.streams.video[0].average_rate or 25)


def check_clip(clip: Clip) -> Clip:
    """Return `clip` where it begins as a sound video does; raises ClipError where it does not."""
    if len(list(islice(frames(clip), 2))) < 2:
        raise ClipError(f"{clip} has fewer than two frames.")
    return clip


def spread(first: int, last: int, count: int) -> list[int]:
    """Return at most `count` different whole numbers from `first` to `last`, evenly spread, ends included."""
    numbers = np.linspace(first, last, min(count, last - first + 1)).round().astype(int)
    return [int(number) for number in numbers]
