"""Keypoints as generative face video messages: whole numbers of steps, and changes between frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bench.gfv.bits import BitstreamError
from bench.gfv.message import Message, Numbers
from shared.codec.quantization import MAX_MAGNITUDE, check_frames
from shared.errors import RequestError
from shared.keypoints import Floats, KeypointLayout, Kind

BITS = 9
"""Binary digits behind the point, as in the reference software's example: steps of 1/512."""
MAX_BITS = 16
_Doubles = npt.NDArray[np.float64]
_Whole = npt.NDArray[np.int64]


def points_of(layout: KeypointLayout) -> int:
    """Return how many points `layout` has; RequestError where the messages have no place for the rest."""
    kinds = [group.kind for group in layout.groups]
    if kinds not in ([Kind.POINTS], [Kind.POINTS, Kind.JACOBIANS]) or layout.groups[-1].count != (
        layout.groups[0].count
    ):
        raise RequestError(
            "Generative face video messages carry points, or points with a 2x2 matrix each, and this "
            "backbone's keypoints are something else; use another --backbone."
        )
    return layout.groups[0].count


def to_messages(frames: Floats, layout: KeypointLayout, bits: int, alone: bool = False) -> list[Message]:
    """Return a message for each of `frames` (T, D), in steps of 2**-`bits`: no number is off by over half.

    The first is the base. Each other one changes the one before, or where they stand `alone`, one with each
    picture, says points as changes of the base's and matrices as they are: decoders of the reference software
    do not agree on what matrices would be changes of there.
    """
    check_frames(frames, layout.dimensions)
    count = points_of(layout)
    steps: _Whole = np.rint(frames.astype(np.float64) * 2.0**bits).astype(np.int64)
    points, matrices = steps[:, : 2 * count], steps[:, 2 * count :]
    found = [_message(0, points[0], matrices[0], bits, "")]
    for number in range(1, len(frames)):
        if alone:
            found.append(_message(0, points[number] - points[0], matrices[number], bits, "points"))
        else:
            point_changes = points[number] - points[number - 1]
            matrix_changes = matrices[number] - matrices[number - 1]
            found.append(_message(number, point_changes, matrix_changes, bits, "points, matrices"))
    return found


def _message(count: int, points: _Whole, matrices: _Whole, bits: int, changed: str) -> Message:
    return Message(
        count,
        base=not changed,
        points=Numbers(tuple(points.tolist()), bits, "points" in changed),
        matrices=Numbers(tuple(matrices.tolist()), bits, "matrices" in changed) if len(matrices) else None,
    )


def restored(messages: Sequence[Message]) -> Floats:
    """Return the frames (T, D) of a stream's messages: points x, y one after the other, then matrices.

    Raises BitstreamError where messages do not fit each other, or hold more than one face or no plausible
    numbers.
    """
    if len({message.face for message in messages}) > 1:
        raise BitstreamError("there are messages of more than one face")
    base: _Doubles | None = None
    frames: list[_Doubles] = []
    for message in messages:
        before = base if message.count == 0 or not frames else frames[-1]
        frame = _absolute(message, before)
        if len(frame) != len(frames[0] if frames else frame):
            raise BitstreamError("messages have different numbers of points")
        # NaN fails the comparison as well.
        if not bool(np.all(np.abs(frame) <= MAX_MAGNITUDE)):
            raise BitstreamError("a message holds keypoints that are not plausible numbers")
        frames.append(frame)
        base = frame if message.base else base
    return np.stack(frames).astype(np.float32)


def _absolute(message: Message, before: _Doubles | None) -> _Doubles:
    points, matrices = _values(message.points), _values(message.matrices)
    frame = np.concatenate([points, matrices])
    if message.base and message.points.changes:
        frame[: len(points)] = points.reshape(-1, 2).cumsum(axis=0).reshape(-1)
    if message.base or before is None:
        return frame
    if len(before) != len(frame):
        raise BitstreamError("a message changes other points than were told")
    if message.points.changes:
        frame[: len(points)] += before[: len(points)]
    if message.matrices is not None and message.matrices.changes:
        frame[len(points) :] += before[len(points) :]
    return frame


def _values(numbers: Numbers | None) -> _Doubles:
    if numbers is None:
        return np.zeros(0)
    return np.array(numbers.values, np.float64) * 2.0**-numbers.bits
