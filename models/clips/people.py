"""Identity of the person in each clip: by a table where a folder has one, else by names and folders."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from models.clips.layouts import TEST, TRAIN, stem
from shared.errors import RequestError

TABLE = "clips.csv"


def read_people(folder: Path) -> dict[str, str]:
    """Return person by file from clips.csv tables (columns file, person); empty where there is none.

    A file is named by its place below its table's folder, or by its name alone. A split data set may have one
    table above `train` and `test`, or one in each: all are read, whether `folder` holds the parts or is one,
    so that a clip is the same person either way. RequestError for a table that cannot be read.
    """
    people: dict[str, str] = {}
    if folder.name in (TRAIN, TEST):
        for file, person in read_table(folder.parent).items():
            part, slash, rest = file.partition("/")
            if not slash or part == folder.name:
                people[rest if slash else file] = person
    for part in (TRAIN, TEST):
        for file, person in read_table(folder / part).items():
            people[f"{part}/{file}"] = person
            people.setdefault(file, person)
    return people | read_table(folder)


def read_table(folder: Path) -> dict[str, str]:
    """Return what the table of `folder` itself says, as `read_people`."""
    table = folder / TABLE
    if not table.exists():
        return {}
    try:
        with table.open(newline="", encoding="utf-8") as file:
            lines = [(row["file"], row["person"]) for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, KeyError, csv.Error) as error:
        raise RequestError(
            f"{table} is not a table with the columns file and person ({error}); fix it."
        ) from error
    return {file: person for file, person in lines if file and person}


def person_of(folder: Path, clip: Path, people: Mapping[str, str]) -> str:
    """Tell who is in `clip` of `folder`: as `people` says, by its place or its name, else as its place does.

    VoxCeleb's names begin with the person (id10280#video#...), and so do the paths of data sets with a
    folder for each person. Where nothing is known, each clip counts as a person of its own.
    """
    place = clip.relative_to(folder)
    if listed := people.get(place.as_posix()) or people.get(clip.name):
        return listed
    first, mark, _ = clip.name.partition("#")
    if mark and first:
        return first
    above = [part for part in place.parts[:-1] if part not in {TRAIN, TEST}]
    return above[0] if above else stem(clip.resolve().name)


def missing_files(folder: Path) -> list[str]:
    """Return which lines of the table of `folder` name a file that is nowhere below it."""
    listed = read_table(folder)
    names = {file.name for file in folder.rglob("*")} if listed else set()
    return [name for name in listed if not (folder / name).exists() and name not in names]
