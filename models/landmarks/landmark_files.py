"""Folders of landmarks: what was found in clips and pictures, for training and for measurements.

Any .npz file but two holds clips: one int16 array (frames, 175, 2) under each clip's file name, x and y times
4096, as differences from frame to frame that wrap around; -32768 is no face. `faces.npz` holds pictures: one
array (pictures, 175, 2) of the same numbers, without differences, under each folder's name, in the order of
the file names. `canonical.npz` holds the face that parts are measured against; `drawn.npz` is of the drawn.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.landmarks.points import COUNT, MIRROR, NUMBERS
from shared.errors import KeycastError, RequestError
from shared.keypoints import Floats

Stored = npt.NDArray[np.int16]
STEPS = 4096
"""Steps from the middle of a picture to its edge."""
NO_FACE = -32768
STILLS, CANONICAL, DRAWN = "faces.npz", "canonical.npz", "drawn.npz"
_ERRORS = (OSError, EOFError, KeyError, ValueError, zlib.error, zipfile.BadZipFile)


@dataclass(frozen=True, eq=False)
class LandmarkFolder:
    """A folder of landmarks, read as it is asked for.

    `clips` maps clips to their files, `folders` are the folders of pictures that have landmarks.
    """

    path: Path
    clips: Mapping[str, Path]
    folders: tuple[str, ...]

    @classmethod
    def load(cls, path: Path) -> LandmarkFolder:
        """Look through the .npz files at `path`. RequestError where there are none, or one is damaged."""
        found = cls.scan(path)
        if not found.clips and not found.folders:
            raise RequestError(
                f"There are no landmarks in {path}; make them with python -m models.training landmarks."
            )
        return found

    @classmethod
    def scan(cls, path: Path) -> LandmarkFolder:
        """Look through the .npz files at `path`, where there may be none. RequestError for a damaged one."""
        clips = {
            name: file
            for file in sorted(path.glob("*.npz"))
            if file.name not in (STILLS, CANONICAL)
            for name in _names(file)
        }
        return cls(path, clips, tuple(_names(path / STILLS)) if (path / STILLS).exists() else ())

    def __contains__(self, clip: object) -> bool:
        return clip in self.clips

    def of(self, clip: str) -> Floats:
        """Return the landmarks of the clip with this file name: (frames, 175, 2) in [-1, 1] of the picture.

        A face may reach out of the picture. NaN in frames without a face. RequestError for a clip that the
        folder does not have, or whose file is damaged.
        """
        if clip not in self.clips:
            raise RequestError(
                f"{self.path} has no landmarks of {clip}; make them with python -m models.training landmarks."
            )
        return decoded(np.cumsum(_read(self.clips[clip], clip), axis=0, dtype=np.int16))

    def stills(self, folder: str) -> Floats:
        """Return the landmarks of the pictures in the folder of this name: (pictures, 175, 2), like `of`."""
        return decoded(_read(self.path / STILLS, folder))

    def canonical(self) -> Floats:
        """Return the canonical face (175, 3): frontal, mirror-symmetric, its origin between the eyes."""
        file = self.path / CANONICAL
        try:
            with np.load(file, allow_pickle=False) as stored:
                mesh, index, mirror = stored["mesh"], stored["index"], stored["mirror"]
        except _ERRORS as error:
            raise RequestError(
                f"{file} is not a canonical face ({error}); make the landmarks again."
            ) from error
        if mesh.shape != (COUNT, 3) or tuple(index) != NUMBERS or tuple(mirror) != tuple(MIRROR):
            raise RequestError(f"{file} is for a different set of landmarks; make the landmarks again.")
        return np.asarray(mesh, np.float32)


def save_clip(file: Path, clip: str, points: Floats) -> None:
    """Write the landmarks (frames, 175, 2) of the clip with this file name; NaN where there is no face.

    A kill leaves either nothing at `file` or the whole of it. KeycastError where it cannot be written.
    """
    save_clips(file, {clip: points})


def save_clips(file: Path, clips: Mapping[str, Floats]) -> None:
    """Write the landmarks of several clips, by their file names, to one file; else as `save_clip`."""
    _save(file, {name: _differences(encoded(points)) for name, points in clips.items()})


def _differences(whole: Stored) -> Stored:
    return np.diff(whole, axis=0, prepend=np.zeros_like(whole[:1]))


def save_stills(folder: Path, stills: Mapping[str, Floats]) -> None:
    """Write the landmarks (pictures, 175, 2) of folders of pictures, by name, to `folder`; else as clips."""
    _save(folder / STILLS, {name: encoded(points) for name, points in stills.items()})


def save_canonical(folder: Path, mesh: Floats) -> None:
    """Write the canonical face (175, 3) to `folder`."""
    _save(folder / CANONICAL, {"index": np.array(NUMBERS), "mesh": mesh.astype(np.float32), "mirror": MIRROR})


def encoded(points: Floats) -> Stored:
    """Return landmarks (frames, 175, 2) as int16, rounded to 1/4096 of half a picture; NaN becomes -32768."""
    steps = np.clip(np.round(np.nan_to_num(points) * STEPS), NO_FACE + 1, -NO_FACE - 1)
    missing = np.isnan(points).any((1, 2), keepdims=True)
    return np.where(missing, NO_FACE, steps).astype(np.int16)


def decoded(stored: Stored) -> Floats:
    """Return what `encoded` made (frames, 175, 2) as landmarks again, NaN where there is no face."""
    points: Floats = (stored / np.float32(STEPS)).astype(np.float32)
    points[(stored == NO_FACE).any((1, 2))] = np.nan
    return points


def _names(file: Path) -> list[str]:
    try:
        with zipfile.ZipFile(file) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except _ERRORS as error:
        raise _damaged(file, error) from error


def _read(file: Path, name: str) -> Stored:
    array = _array(file, name)
    if array.dtype != np.int16 or array.ndim != 3 or array.shape[1:] != (COUNT, 2):
        raise RequestError(
            f"{name} in {file} is {array.dtype} {array.shape}, not landmarks; make them again."
        )
    return array


def _array(file: Path, name: str) -> npt.NDArray[Any]:
    try:
        # np.load leaves a damaged file open.
        with zipfile.ZipFile(file) as archive, archive.open(f"{name}.npy") as entry:
            return np.asarray(np.lib.format.read_array(entry, allow_pickle=False))
    except _ERRORS as error:
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> RequestError:
    return RequestError(f"The landmarks in {file} cannot be read ({error}); delete it and make them again.")


def _save(file: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    partial = file.with_suffix(".part")
    try:
        # np.savez takes names as its own arguments: a clip may be called "file".
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w") as entry:
                    np.lib.format.write_array(entry, array, allow_pickle=False)
        partial.replace(file)
    except OSError as error:
        raise KeycastError(f"Cannot write {file} ({error}); free some space and try again.") from error
