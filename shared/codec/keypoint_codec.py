"""Keypoints to bytes and back. A payload is self-contained: no packet needs another packet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from shared.codec.entropy import CdfTables, Reader, Whole, Writer
from shared.codec.quantization import MAX_INDEX, MAX_MAGNITUDE, QUALITIES, check_frames, track
from shared.codec.tables import LEVELS, SCALES_A_LEVEL, SCALES_A_QUALITY, CodecTables
from shared.codec.temporal import FRACTION_BITS, Doubles, coefficients, inverse
from shared.constants import MAX_PACKET_FRAMES
from shared.errors import PeerError
from shared.keypoints import Floats

QUALITY = 5
MAX_COPIES = 15
MAX_BACK = 127
COPY_STRIDE = 3
"""Of an earlier block every third frame is copied, and its ends; those between are interpolated."""
_COPY_QUALITY = 4
BIT_ERROR = 0.08
"""Squared error, in steps, that a bit is worth: about what one more bit a number takes off it."""


@dataclass(frozen=True, eq=False)
class Copy:
    """A coarse copy of a frame (D,) of an earlier packet: the one `back` (1 to 127) before the first."""

    back: int
    frame: Floats


@dataclass(frozen=True, eq=False)
class Block:
    """Contents of a payload: consecutive frames (T, D), and copies of earlier ones, the latest first."""

    frames: Floats
    copies: Sequence[Copy] = field(default=())


class Codec(Protocol):
    """A wire profile. `tables` is the hash of the tables both sides must share, "" where there are none."""

    name: str
    tables: str

    def encode(self, block: Block) -> bytes:
        """Code a block, T from 1 to 32. Raise ValueError where its numbers cannot be coded."""
        ...

    def decode(self, payload: bytes, count: int) -> Block:
        """Return a peer's block of `count` frames. Raise PeerError where the payload is not sound."""
        ...

    def most_frames(self, limit_bytes: int) -> int:
        """Say how many frames a message of `limit_bytes` ought to hold at the most; 0 when not even one."""
        ...


class PaperCodec:
    """Raw little-endian float32, as published: four bytes a number. No copies.

    The published networks' 60 numbers a frame are 240 bytes, which is 57.6 kbps at 30 fps.
    """

    name = "paper"
    tables = ""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions
        self.frame_bytes = 4 * dimensions

    def encode(self, block: Block) -> bytes:
        """Code consecutive frames (T, D). Raise ValueError on another shape, NaN or a number past 1e3."""
        frames = block.frames
        check_frames(frames, self._dimensions)
        return np.ascontiguousarray(frames, dtype="<f4").tobytes()

    def decode(self, payload: bytes, count: int) -> Block:
        """Return `count` frames. Raise PeerError on a wrong size, NaN, infinity or a number past 1e3."""
        if count < 1 or len(payload) != count * self.frame_bytes:
            raise PeerError(f"A payload of {len(payload)} bytes does not hold {count} frames.")
        frames = np.frombuffer(payload, dtype="<f4").astype(np.float32).reshape(count, self._dimensions)
        _check(frames)
        return Block(frames)

    def most_frames(self, limit_bytes: int) -> int:
        """Say how many frames fit `limit_bytes`."""
        return max(0, limit_bytes) // self.frame_bytes


class CodedCodec:
    """A block's course over time (`shared.codec.temporal`), quantised and entropy-coded.

    In the order it is read: the quality (4 bits), how many copies there are, the block's mean, a level for
    how lively the block is, its further coefficients under that, then the copies, each with how far back it
    lies and as a change from the frame after it, under a level of its own, on a grid four times coarser.
    """

    name = "coded"

    def __init__(self, tables: CodecTables, quality: int = QUALITY) -> None:
        if not 0 <= quality < QUALITIES:
            raise ValueError(f"the quality {quality} is not one of 0 to {QUALITIES - 1}")
        self._tables = tables
        self._levels = tables.levels.astype(np.float32)
        self.tables = tables.hash
        self.quality = quality

    def encode(self, block: Block) -> bytes:
        """Code a block at `quality`. Raise ValueError where its numbers are not plausible or too many."""
        if len(block.frames) > MAX_PACKET_FRAMES or len(block.copies) > MAX_COPIES:
            raise ValueError(f"a block has {len(block.frames)} frames and {len(block.copies)} copies")
        quantizer, quality = self._tables.quantizer, self.quality
        exact = coefficients(quantizer.coordinates(block.frames, quality))
        writer = Writer()
        writer.uniform(quality, QUALITIES)
        writer.uniform(len(block.copies), MAX_COPIES + 1)
        scales, cdfs = self._scales(self._tables.block_scales(len(exact)), quality), self._tables.cdfs
        mean, _ = cheapest(exact[0], scales[0], cdfs)
        writer.numbers(mean, scales[0], cdfs)
        further = self._write_coefficients(writer, exact[1:].reshape(-1), scales[1:].reshape(-1))
        if block.copies:
            numbers = np.concatenate([mean, further]).reshape(exact.shape)
            self._write_copies(writer, block.copies, inverse(numbers)[0])
        return writer.bytes()

    def decode(self, payload: bytes, count: int) -> Block:
        """Return a peer's block of `count` frames. Raise PeerError where the payload is not sound."""
        if not 1 <= count <= MAX_PACKET_FRAMES:
            raise PeerError(f"A payload cannot hold {count} frames.")
        reader = Reader(payload)
        quality, copies = reader.uniform(QUALITIES), reader.uniform(MAX_COPIES + 1)
        scales = self._scales(self._tables.block_scales(count), quality)
        mean = reader.numbers(scales[0], self._tables.cdfs)
        further = self._read_coefficients(reader, scales[1:].reshape(-1)).reshape(scales[1:].shape)
        indices = inverse(_plausible(np.concatenate([mean[None], further])))
        frames = self._tables.quantizer.restore(indices, quality, FRACTION_BITS)
        found = self._read_copies(reader, copies, indices[0], quality)
        reader.finish()
        _check(frames)
        return Block(frames, found)

    def most_frames(self, limit_bytes: int) -> int:
        """Say how many frames to put in `limit_bytes`: no usual number takes over half a byte."""
        return min(MAX_PACKET_FRAMES, max(0, limit_bytes) * 2 // self._tables.dimensions)

    def _scales(self, base: npt.NDArray[np.integer], quality: int, level: int = 0) -> Whole:
        return base.astype(np.int64) + SCALES_A_LEVEL * level - SCALES_A_QUALITY * quality

    def _write_coefficients(self, writer: Writer, exact: Doubles, scales: Whole) -> Whole:
        """Add further coefficients (N,), of `scales` at level 0, under the best level; return them, whole."""
        if not len(exact):
            return np.zeros(0, np.int64)
        likely, cdfs = self._levels[LEVELS], self._tables.cdfs
        levels = scales + SCALES_A_LEVEL * np.arange(LEVELS)[:, None]
        numbers, costs = cheapest(exact, levels, cdfs)
        level = int((costs - BIT_ERROR * np.log2(likely)).argmin())
        writer.chosen(level, likely)
        chosen: Whole = numbers[level]
        writer.numbers(chosen, levels[level], cdfs)
        return chosen

    def _read_coefficients(self, reader: Reader, scales: Whole) -> Whole:
        if not len(scales):
            return np.zeros(0, np.int64)
        level = reader.chosen(self._levels[LEVELS])
        return reader.numbers(scales + SCALES_A_LEVEL * level, self._tables.cdfs)

    def _write_changes(self, writer: Writer, changes: Whole, quality: int) -> None:
        """Add `changes` (N, D), all their levels before all their numbers."""
        scales = np.stack([self._scales(self._tables.change, quality, level) for level in range(LEVELS)])
        costs = self._tables.cdfs.cost(changes[:, None], scales[None]).sum(-1)
        levels: list[int] = []
        for cost in costs:
            likely = self._levels[levels[-1] if levels else LEVELS]
            levels.append(int((cost - np.log2(likely)).argmin()))
            writer.chosen(levels[-1], likely)
        if levels:
            writer.numbers(changes.reshape(-1), scales[levels].reshape(-1), self._tables.cdfs)

    def _read_changes(self, reader: Reader, count: int, quality: int) -> Whole:
        levels: list[int] = []
        for _ in range(count):
            levels.append(reader.chosen(self._levels[levels[-1] if levels else LEVELS]))
        if not levels:
            return np.zeros((0, self._tables.dimensions), np.int64)
        scales = np.concatenate([self._scales(self._tables.change, quality, level) for level in levels])
        return reader.numbers(scales, self._tables.cdfs).reshape(count, self._tables.dimensions)

    def _write_copies(self, writer: Writer, copies: Sequence[Copy], first: Whole) -> None:
        quality = min(self.quality + _COPY_QUALITY, QUALITIES - 1)
        quantizer = self._tables.quantizer
        start = quantizer.coarser(first, self.quality, quality, FRACTION_BITS)
        exact = quantizer.coordinates(np.stack([copy.frame for copy in copies]), quality)
        indices = track(exact, start)
        for copy in copies:
            writer.uniform(copy.back, MAX_BACK + 1)
        self._write_changes(writer, np.diff(indices, axis=0, prepend=start[None]), quality)

    def _read_copies(self, reader: Reader, count: int, first: Whole, fine: int) -> list[Copy]:
        if not count:
            return []
        quality = min(fine + _COPY_QUALITY, QUALITIES - 1)
        backs = [reader.uniform(MAX_BACK + 1) for _ in range(count)]
        if backs != sorted(set(backs)) or backs[0] < 1:
            raise PeerError("A payload's copies are out of order.")
        start = self._tables.quantizer.coarser(first, fine, quality, FRACTION_BITS)
        indices = _summed(start, self._read_changes(reader, count, quality))[1:]
        frames = self._tables.quantizer.restore(indices, quality)
        _check(frames)
        return [Copy(back, frame) for back, frame in zip(backs, frames, strict=True)]


def cheapest(exact: Doubles, scales: Whole, cdfs: CdfTables) -> tuple[Whole, Doubles]:
    """Return whole numbers for `exact` (N,), and what they cost (...,) under `scales` (..., N).

    The nearest, or the next towards zero where that saves more bits than its error is worth
    (rate-distortion optimised quantisation; Sullivan and Wiegand, IEEE Signal Processing Magazine 1998). A
    cost is the squared error, in steps, and BIT_ERROR for each bit.
    """
    nearest = np.rint(exact).astype(np.int64)
    smaller = nearest - np.sign(nearest)
    costs = [np.square(exact - n) + BIT_ERROR * cdfs.cost(n, scales) for n in (nearest, smaller)]
    numbers = np.where(costs[1] < costs[0], smaller, nearest)
    return numbers, np.minimum(*costs).sum(-1)


def filled_copies(first: int, copies: Sequence[Copy]) -> dict[int, Floats]:
    """Return the frames (D,) by number that the `copies` of a packet from frame `first` on stand for.

    Frames that lie between two copies close to each other are interpolated.
    """
    filled: dict[int, Floats] = {}
    for later, copy in zip([None, *copies], copies, strict=False):
        number = first - copy.back
        gap = copy.back - later.back if later is not None else 0
        for step in range(1, gap if later is not None and gap <= COPY_STRIDE else 1):
            assert later is not None
            filled[number + step] = copy.frame + (later.frame - copy.frame) * np.float32(step / gap)
        filled[number] = copy.frame
    return {number: frame for number, frame in filled.items() if number >= 0}


def _summed(first: Whole, changes: Whole) -> Whole:
    """Return `first` (D,) and what `changes` (N, D) lead to: (N + 1, D); PeerError where that is far."""
    return _plausible(np.cumsum(np.concatenate([first[None], changes]), axis=0))


def _plausible(indices: Whole) -> Whole:
    """Return `indices`; PeerError where one of them is far out."""
    if np.abs(indices).max() >= MAX_INDEX:
        raise PeerError("A payload holds keypoints that are not plausible numbers.")
    return indices


def _check(frames: Floats) -> None:
    # NaN fails the comparison as well.
    if not bool(np.all(np.abs(frames) <= MAX_MAGNITUDE)):
        raise PeerError("A payload holds keypoints that are not plausible numbers.")
