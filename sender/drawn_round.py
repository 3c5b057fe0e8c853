"""One round of a drawn person, kept in the user's cache: drawing it takes seconds, reading it nothing."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
import platformdirs

from shared import portrait
from shared.keypoints import Pictures
from shared.runtime.logs import logger

_log = logger("camera")


def kept_at(person: str, side: int) -> Path | None:
    """Return the file for the pictures of `person`, `side` pixels large, as this version draws them.

    None where the drawing's own source cannot be read, as in an archive, for then nothing says when it
    changes; and where there is no home.
    """
    drawing = hashlib.sha256()
    try:
        for file in (Path(__file__).with_name("demo.py"), *sorted(Path(portrait.__path__[0]).glob("*.py"))):
            drawing.update(file.read_bytes())
    except OSError:
        return None
    folder = platformdirs.user_cache_path("keycast")
    return folder / f"{person}-{side}-{drawing.hexdigest()[:16]}.rgb" if folder.is_absolute() else None


class DrawnRound:
    """The `count` pictures (side, side, 3), uint8 RGB, of a file, read one at a time from any thread.

    The file is opened for each: that takes no time beside reading, and nothing has to be closed.
    """

    def __init__(self, path: Path, count: int, side: int) -> None:
        """Look at `path`; OSError where it is not there or has another size."""
        self._path, self._side, self._size = path, side, 3 * side * side
        if path.stat().st_size != count * self._size:
            raise OSError(f"{path} does not have {count} pictures")

    def picture(self, index: int) -> Pictures:
        """Read picture `index`; OSError where it cannot be had."""
        with self._path.open("rb", buffering=0) as file:
            file.seek(index * self._size)
            data = file.read(self._size)
        if len(data) != self._size:
            raise OSError(f"{self._path} ends early")
        return np.frombuffer(data, np.uint8).reshape(self._side, self._side, 3)


def keep(path: Path, pictures: Iterable[Pictures]) -> None:
    """Write `pictures` for `DrawnRound`, in place of those of other versions; where it fails, so be it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A place of its own: several processes may draw the same person at the same time.
        with tempfile.TemporaryDirectory(prefix=".drawing-", dir=path.parent) as folder:
            with Path(folder, path.name).open("wb") as file:
                for picture in pictures:
                    file.write(picture.tobytes())
            Path(folder, path.name).replace(path)
        for other in path.parent.glob(f"{path.name.rpartition('-')[0]}-*{path.suffix}"):
            if other != path:
                with suppress(OSError):
                    other.unlink()
    except OSError as error:
        _log.debug("The drawn pictures could not be cached: %s", error)
