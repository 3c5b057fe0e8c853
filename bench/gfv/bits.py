"""Bit fields of H.264: fixed-length numbers, Exp-Golomb codes and the padding at the end of a payload."""

from __future__ import annotations

from shared.errors import KeycastError

MAX_VALUE = 2**32 - 2
"""The largest number that an Exp-Golomb code holds."""


class BitstreamError(KeycastError):
    """Bits that are not what the syntax says; a file of somebody else's is refused as a whole."""


class BitWriter:
    """Bits, the highest of each byte first."""

    def __init__(self) -> None:
        self._value = 0
        self._length = 0

    def u(self, value: int, width: int) -> None:
        """Add u(v): `value` in `width` bits, which it must fit into."""
        if not 0 <= value < 1 << width:
            raise ValueError(f"{value} does not fit into {width} bits")
        self._value = self._value << width | value
        self._length += width

    def flag(self, value: bool) -> None:
        """Add one bit."""
        self.u(int(value), 1)

    def ue(self, value: int) -> None:
        """Add ue(v), an Exp-Golomb code: as many zeros as `value` + 1 has bits after its first, then it."""
        if not 0 <= value <= MAX_VALUE:
            raise ValueError(f"{value} has no Exp-Golomb code of 32 bits")
        self.u(value + 1, 2 * (value + 1).bit_length() - 1)

    def bytes(self) -> bytes:
        """Return whole bytes: a one and zeros after the last bit, unless it ends a byte."""
        padding = -self._length % 8
        value = self._value << padding | (1 << padding >> 1)
        return value.to_bytes((self._length + padding) // 8, "big")


class BitReader:
    """What `BitWriter` wrote, or somebody else; BitstreamError wherever there are not so many bits."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def u(self, width: int) -> int:
        """Take u(v), a number of `width` bits."""
        end = self._at + width
        if end > 8 * len(self._data):
            raise BitstreamError("a message ends within a number")
        around = int.from_bytes(self._data[self._at // 8 : -(-end // 8)], "big")
        self._at = end
        return around >> -end % 8 & ((1 << width) - 1)

    def flag(self) -> bool:
        """Take one bit."""
        return bool(self.u(1))

    def ue(self) -> int:
        """Take ue(v), from 0 to 2**32 - 2."""
        zeros = 0
        while not self.flag():
            zeros += 1
            if zeros == 32:
                raise BitstreamError("a message holds a number over 32 bits")
        return (1 << zeros) - 1 + self.u(zeros)

    def align(self) -> None:
        """Take the zeros up to the next byte."""
        if self.u(-self._at % 8):
            raise BitstreamError("a message has ones where bytes are aligned with zeros")

    def skip_text(self) -> None:
        """Take bytes up to and with a zero byte."""
        while self.u(8):
            pass

    def finish(self) -> None:
        """Take the padding; BitstreamError where there is more, or something else."""
        width = 8 * len(self._data) - self._at
        if width >= 8 or (width and self.u(width) != 1 << (width - 1)):
            raise BitstreamError("a message goes on behind its end")
