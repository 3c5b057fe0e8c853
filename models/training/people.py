"""Who is in which clip, where a folder says so."""

from __future__ import annotations

import csv
from pathlib import Path

from shared.errors import RequestError

TABLE = "clips.csv"


def read_people(folder: Path) -> dict[str, str]:
    """Return person by file from the folder's clips.csv (columns file, person); empty where there is none.

    Raises RequestError for a table that cannot be read.
    """
    table = folder / TABLE
    if not table.exists():
        return {}
    try:
        with table.open(newline="", encoding="utf-8") as file:
            return {
                row["file"]: row["person"] for row in csv.DictReader(file) if row["file"] and row["person"]
            }
    except (OSError, UnicodeDecodeError, KeyError, csv.Error) as error:
        raise RequestError(
            f"{table} is not a table with the columns file and person ({error}); mend it."
        ) from error
