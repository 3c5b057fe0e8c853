"""Keypoint tracks to train forecasters on: one .npz file a clip, brought to the rate of a call."""

from __future__ import annotations

import json
import logging
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np

from shared.errors import KeycastError, RequestError
from shared.keypoints import Floats, Group, KeypointLayout, Kind

log = logging.getLogger(__name__)

FPS = 30.0
SLOWEST = 20.0
FASTEST = 240.0
# 29.97 is 30 here: resampling it would only blur.
CLOSE = 0.5
MAX_BYTES = 1 << 28


class _BrokenError(Exception):
    """One file is not a track."""


@dataclass(frozen=True)
class Track:
    """One clip: keypoints `frames` (T, D) at 30 frames per second, T >= 2, of one `person`.

    `sided` says that its points are named parts of a face, of which some are right and some left.
    """

    name: str
    person: str
    frames: Floats
    sided: bool = False


@dataclass(frozen=True)
class Tracks:
    """All usable clips of a folder; how many were `slow` (left out) or `broken` (skipped).

    `tracks_of` is the fingerprint of the detector that made them, "unknown" if the files do not say; `layout`
    is what its keypoints are.
    """

    clips: tuple[Track, ...]
    slow: int
    broken: int
    tracks_of: str
    layout: KeypointLayout

    @property
    def sided(self) -> bool:
        """Whether their points are parts of a face: mirroring then exchanges right and left."""
        return all(clip.sided for clip in self.clips)

    @property
    def frames(self) -> int:
        """Number of frames in all clips."""
        return sum(len(clip.frames) for clip in self.clips)


def save_track(  # noqa: PLR0917
    path: Path,
    keypoints: Floats,
    fps: float,
    person: str,
    tracks_of: str,
    layout: KeypointLayout,
    sided: bool = False,
) -> None:
    """Write one clip's keypoints (T, D) at its own `fps`; `tracks_of` is the detector's fingerprint.

    A kill leaves either no track at `path` or the whole one. KeycastError where it cannot be written.
    """
    partial = path.with_suffix(".part")
    try:
        with partial.open("wb") as out:
            np.savez_compressed(
                out, keypoints=keypoints.astype(np.float32), fps=fps, person=person, tracks_of=tracks_of,
                sided=sided, layout=_written(layout),
            )  # fmt: skip
        partial.replace(path)
    except OSError as error:
        raise KeycastError(f"Cannot write {path} ({error}); free some space and try again.") from error


def track_maker(path: Path) -> str | None:
    """Return the fingerprint of the detector that made the track at `path`; None without a sound track."""
    try:
        return _read(path)[1][0]
    except _BrokenError:
        return None


def load_tracks(folder: Path) -> Tracks:
    """Read all .npz files of `folder`, resampled to 30 fps.

    Clips under 20 fps are left out, broken files skipped with a warning. RequestError if the folder is
    missing, nothing usable is in it, or its files come from different detectors.
    """
    if not folder.is_dir():
        raise RequestError(f"there is no folder of tracks at {folder}: extract keypoint tracks first")
    clips: list[Track] = []
    makers: set[tuple[str, KeypointLayout]] = set()
    slow = broken = 0
    for path in sorted(folder.glob("*.npz")):
        try:
            track, maker = _read(path)
        except _BrokenError as error:
            broken += 1
            log.warning("skipped %s: %s", path, error)
            continue
        if track is None:
            slow += 1
            continue
        clips.append(track)
        makers.add(maker)
    if not clips:
        raise RequestError(
            f"no usable tracks in {folder} ({slow} too slow, {broken} broken): extract them again"
        )
    if len(makers) > 1:
        names = ", ".join(sorted(name for name, _ in makers))
        raise RequestError(f"tracks in {folder} come from several detectors ({names}): keep one")
    return Tracks(tuple(clips), slow, broken, *makers.pop())


def split_by_person(tracks: Tracks, share: float, seed: int) -> tuple[Tracks, Tracks]:
    """Hold out about `share` of the people (at least one): (rest, held out). RequestError with one person."""
    people = sorted({clip.person for clip in tracks.clips})
    if len(people) < 2:
        raise RequestError("all tracks are of one person: give other people's with --validate")
    count = min(max(1, round(share * len(people))), len(people) - 1)
    held = {people[index] for index in np.random.default_rng(seed).permutation(len(people))[:count]}
    rest = tuple(clip for clip in tracks.clips if clip.person not in held)
    out = tuple(clip for clip in tracks.clips if clip.person in held)
    made_by = (tracks.tracks_of, tracks.layout)
    return Tracks(rest, 0, 0, *made_by), Tracks(out, 0, 0, *made_by)


def resample(frames: Floats, fps: float) -> Floats:
    """Bring `frames` (T, D) from `fps` to 30 frames per second by linear interpolation between timestamps."""
    if abs(fps - FPS) <= CLOSE or len(frames) < 2:
        return frames
    # The last new timestamp is never past the last old one: nothing is extrapolated.
    count = int((len(frames) - 1) / fps * FPS + 1e-6) + 1
    place = np.arange(count) * (fps / FPS)
    before = np.minimum(place.astype(np.int64), len(frames) - 2)
    weight = (place - before)[:, None]
    mixed = (1 - weight) * frames[before] + weight * frames[before + 1]
    return cast(Floats, mixed.astype(np.float32))


def _read(path: Path) -> tuple[Track | None, tuple[str, KeypointLayout]]:
    """Return the clip in `path`, None if it is too slow, and the detector it is of, with its layout."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
                raise _BrokenError(f"it unpacks to more than {MAX_BYTES} bytes")
        with np.load(path, allow_pickle=False) as stored:
            keypoints, fps = stored["keypoints"], float(stored["fps"])
            person = str(stored["person"])
            maker = str(stored["tracks_of"]) if "tracks_of" in stored else "unknown"
            sided = bool(stored["sided"]) if "sided" in stored else False
            text = str(stored["layout"]) if "layout" in stored else None
    except (OSError, EOFError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise _BrokenError(f"it cannot be read ({error})") from error
    made_by = maker, _check(keypoints, fps, text)
    if fps < SLOWEST:
        return None, made_by
    frames = resample(cast(Floats, keypoints.astype(np.float32)), fps)
    return Track(path.stem, person, frames, sided), made_by


def _check(keypoints: np.ndarray, fps: float, text: str | None) -> KeypointLayout:
    """Return the layout of a track; `text` is what was stored of it, None in a file that says nothing."""
    if keypoints.ndim != 2 or len(keypoints) < 2:
        raise _BrokenError(f"keypoints must be (T, D) with T >= 2, not {keypoints.shape}")
    if keypoints.dtype.kind != "f" or not np.isfinite(keypoints).all():
        raise _BrokenError("keypoints must be finite floating-point numbers")
    if not 0 < fps <= FASTEST:
        raise _BrokenError(f"fps must be in (0, {FASTEST:.0f}], not {fps}")
    layout = _parsed(text, keypoints.shape[1])
    if layout.dimensions != keypoints.shape[1]:
        raise _BrokenError(f"a frame must have {layout.dimensions} numbers, not {keypoints.shape[1]}")
    return layout


def _written(layout: KeypointLayout) -> str:
    return json.dumps([{**asdict(group), "kind": group.kind.value} for group in layout.groups])


def _parsed(text: str | None, dimensions: int) -> KeypointLayout:
    """Return the layout that `_written` wrote. Files from before it are of points with Jacobians."""
    try:
        if text is None:
            return KeypointLayout.of_points(dimensions // 6, jacobians=True)
        groups = (Group(**{**group, "kind": Kind(group["kind"])}) for group in json.loads(text))
        return KeypointLayout(tuple(groups))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _BrokenError(f"its layout cannot be read ({error})") from error
