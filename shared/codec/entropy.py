"""Whole numbers as few bytes: frozen integer probability tables, coded by constriction's ANS coder.

A family of tables, one a scale (how large its numbers usually are), each over -width..width and an escape. An
escape is followed by how far out the number is, so that no value wraps or saturates. The coder stands apart
from what it codes: `CdfTables` gives the probabilities, `Writer` and `Reader` only turn that into bytes and
back.
"""

from __future__ import annotations

from dataclasses import dataclass

import constriction
import numpy as np
import numpy.typing as npt

from shared.errors import PeerError

Whole = npt.NDArray[np.int64]
MASS = 1 << 16
"""Sum of the counts of a table: float32, which constriction takes, holds them exactly."""
_ESCAPE_BITS = 25
_PIECE_BITS = 4
_MODEL = constriction.stream.model.Categorical(perfect=False)
_LENGTHS = constriction.stream.model.Uniform(_ESCAPE_BITS + 1)


@dataclass(frozen=True, eq=False)
class CdfTables:
    """`counts` (S, 2 width + 2) of whole numbers from 1, each row adding up to 2**16; the last is the escape.

    Rows go from the smallest scale to the largest.
    """

    counts: npt.NDArray[np.uint16]

    def __post_init__(self) -> None:
        """Raise ValueError for tables that are none."""
        if self.counts.dtype != np.uint16 or self.counts.ndim != 2 or self.counts.shape[1] % 2:
            raise ValueError(f"the tables are {self.counts.dtype} {self.counts.shape}")
        if self.counts.shape[1] < 4 or not len(self.counts):
            raise ValueError("there are no tables")
        if not self.counts.all() or (self.counts.sum(1, dtype=np.int64) != MASS).any():
            raise ValueError("the tables do not add up")
        object.__setattr__(self, "_floats", self.counts.astype(np.float32))
        object.__setattr__(self, "bits", -np.log2(self.counts / MASS))

    @property
    def width(self) -> int:
        """The largest number that needs no escape."""
        return int(self.counts.shape[1]) // 2 - 1

    @property
    def scales(self) -> int:
        """How many tables there are."""
        return len(self.counts)

    def rows(self, scales: Whole) -> npt.NDArray[np.float32]:
        """Return the tables of `scales` (N,) as constriction takes them; past the ends are the ends'."""
        floats: npt.NDArray[np.float32] = self._floats  # type: ignore[attr-defined]
        return floats[np.clip(scales, 0, self.scales - 1)]

    def cost(self, numbers: Whole, scales: Whole) -> npt.NDArray[np.float64]:
        """Return the bits that each of `numbers` takes under `scales`, shapes broadcast together."""
        bits: npt.NDArray[np.float64] = self.bits  # type: ignore[attr-defined]
        beyond = np.abs(numbers) - self.width
        plain = bits[np.clip(scales, 0, self.scales - 1), self.symbols(numbers)]
        far = np.log2(_ESCAPE_BITS + 1) + 1 + np.floor(np.log2(np.maximum(beyond, 1)))
        return np.where(beyond > 0, plain + far, plain)

    def symbols(self, numbers: Whole) -> Whole:
        """Return the column of each of `numbers`: number + width, or the escape's."""
        inside = np.abs(numbers) <= self.width
        return np.where(inside, numbers + self.width, 2 * self.width + 1)


def _pieces(length: int) -> list[tuple[int, int]]:
    """Return where each piece of a number of `length` bits starts and what it counts to, highest first."""
    starts = range((length - 1) // _PIECE_BITS * _PIECE_BITS, -1, -_PIECE_BITS)
    return [(start, 1 << min(_PIECE_BITS, length - start)) for start in starts]


class Writer:
    """Collects what to code, in the order it will be read, and codes it all at once."""

    def __init__(self) -> None:
        self._parts: list[tuple[npt.NDArray[np.int32], object, npt.NDArray[np.float32] | None]] = []

    def uniform(self, value: int, choices: int) -> None:
        """Add one of `choices` (>= 2) equally likely values, from 0."""
        model = constriction.stream.model.Uniform(choices)
        self._parts.append((np.array([value], np.int32), model, None))

    def chosen(self, value: int, counts: npt.NDArray[np.float32]) -> None:
        """Add one value of the table `counts` (C,)."""
        self._parts.append((np.array([value], np.int32), _MODEL, counts[None]))

    def numbers(self, values: Whole, scales: Whole, cdfs: CdfTables) -> None:
        """Add `values` (N,), under 2**24 in size, by the tables of `scales` (N,)."""
        symbols = cdfs.symbols(values)
        self._parts.append((symbols.astype(np.int32), _MODEL, cdfs.rows(scales)))
        for value in values[symbols == 2 * cdfs.width + 1]:
            self._far(abs(int(value)) - cdfs.width, value < 0)

    def _far(self, beyond: int, negative: bool) -> None:
        """Elias's gamma code with a uniform length: beyond >= 1."""
        length = beyond.bit_length() - 1
        if length > _ESCAPE_BITS:
            raise ValueError("a number is too far out to be coded")
        self._parts.append((np.array([length], np.int32), _LENGTHS, None))
        self.uniform(int(negative), 2)
        for shift, choices in _pieces(length):
            self.uniform(beyond >> shift & choices - 1, choices)

    def bytes(self) -> bytes:
        """Return the code."""
        coder = constriction.stream.stack.AnsCoder()
        for values, model, table in reversed(self._parts):
            coder.encode_reverse(values, model, *(() if table is None else (table,)))
        # The last word's leading zeros say nothing; the reader puts them back.
        return bytes(coder.get_compressed().astype("<u4").tobytes().rstrip(b"\0"))


class Reader:
    """Reads what a `Writer` wrote, or a peer's bytes: nothing that it returns is out of range."""

    def __init__(self, data: bytes) -> None:
        words = np.frombuffer(data + bytes(-len(data) % 4), "<u4").astype(np.uint32)
        if data[-1:] == b"\0":
            raise PeerError("A payload ends in an empty byte.")
        self._coder = constriction.stream.stack.AnsCoder(words)

    def uniform(self, choices: int) -> int:
        """Read one of `choices` values."""
        return int(self._coder.decode(constriction.stream.model.Uniform(choices)))

    def chosen(self, counts: npt.NDArray[np.float32]) -> int:
        """Read one value of the table `counts` (C,)."""
        return int(self._coder.decode(_MODEL, counts[None])[0])

    def numbers(self, scales: Whole, cdfs: CdfTables) -> Whole:
        """Read as many numbers as there are `scales` (N,)."""
        symbols: Whole = self._coder.decode(_MODEL, cdfs.rows(scales)).astype(np.int64)
        values: Whole = symbols - cdfs.width
        for index in np.flatnonzero(symbols == 2 * cdfs.width + 1):
            values[index] = self._far_from(cdfs.width)
        return values

    def _far_from(self, width: int) -> int:
        length = int(self._coder.decode(_LENGTHS))
        negative = self.uniform(2)
        beyond = 1 << length
        for shift, choices in _pieces(length):
            beyond |= self.uniform(choices) << shift
        return -(width + beyond) if negative else width + beyond

    def finish(self) -> None:
        """Raise PeerError unless everything has been read: what is damaged hardly ever ends so."""
        if not self._coder.is_empty():
            raise PeerError("A payload does not end where its content does.")
