"""The generative face video message, payload type 223 of ITU-T H.274, as far as keypoints go into it.

K points (x, y) and, of each, a 2x2 matrix (type 0, the affine map of its surroundings). Numbers are whole
multiples of 2**-bits, absolute or as changes. The syntax is what the encoders and decoders of the reference
software of H.264, H.265 and H.266 (JM, HM, VTM) agree on; VTM of an early draft had the type of matrices as
ue(v), not u(6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.gfv.bits import BitReader, BitstreamError, BitWriter
from shared.keypoints import MAX_DIMENSIONS

PAYLOAD_TYPE = 223
MAX_BITS = 32
_AFFINE = 0
_MAX_POINTS = MAX_DIMENSIONS // 6


@dataclass(frozen=True)
class Numbers:
    """Whole multiples of 2**-`bits`; where they are `changes`, of numbers said before. `bits` is 1 to 32."""

    values: tuple[int, ...]
    bits: int
    changes: bool = False


@dataclass(frozen=True)
class Message:
    """One frame. `points` are x0, y0, x1, ...; `matrices`, four a point in rows, may be missing.

    `base`: this is the frame of the picture that was coded, and others are told from it. `count` numbers the
    messages that stand with one picture from 0, and only number 0 may be a base. Changes are to the message
    before, with number 0 to the last base, and in a base from point to point (its matrices are absolute).
    """

    count: int
    base: bool
    points: Numbers
    matrices: Numbers | None
    face: int = 0

    def pack(self) -> bytes:
        """Return the payload."""
        out = BitWriter()
        out.ue(self.face)
        out.ue(self.count)
        if self.count == 0:
            out.flag(self.base)
        if self.base:
            out.u(0b00, 2)  # no network, no colour key
        else:
            out.flag(False)  # nothing of this picture is mixed in
        out.u(0b01, 2)  # not of low confidence; there are points
        out.flag(self.points.changes)
        if self.base or not self.points.changes:
            out.ue(self.points.bits - 1)
            out.ue(len(self.points.values) // 2 - 1)
            out.flag(False)  # no z
        for value in self.points.values:
            out.ue(abs(value))
            _write_sign(out, value)
        out.flag(self.matrices is not None)
        if self.matrices is not None:
            self._write_matrices(out, self.matrices)
        return out.bytes()

    def _write_matrices(self, out: BitWriter, matrices: Numbers) -> None:
        if not self.base:
            out.flag(matrices.changes)
        if not matrices.changes:
            out.ue(matrices.bits - 1)
            out.ue(0)  # one type
            out.u(_AFFINE, 6)
            out.flag(True)  # as many as points
        for value in matrices.values:
            whole, part = divmod(abs(value), 1 << matrices.bits)
            out.ue(whole)
            if matrices.changes:
                out.ue(part)
            else:
                out.u(part, matrices.bits)
            _write_sign(out, value)

    @classmethod
    def parse(cls, payload: bytes, last_base: Message | None) -> Message:
        """Read a payload; `last_base` says how many numbers there are, of how many bits, where it does not.

        Raises BitstreamError for what is broken, and for what keypoints have no place for.
        """
        bits = BitReader(payload)
        face, count = bits.ue(), bits.ue()
        base = count == 0 and bits.flag()
        network = base and _skip_network_and_colours(bits)
        if not base and bits.flag():
            raise BitstreamError("a message asks to mix pictures")
        bits.flag()  # low confidence
        if not bits.flag():
            raise BitstreamError("a message has no points")
        points = _read_points(bits, base, last_base)
        matrices = _read_matrices(bits, base, last_base, len(points.values) // 2) if bits.flag() else None
        if not network:
            bits.finish()
        return cls(count, base, points, matrices, face)


def _write_sign(out: BitWriter, value: int) -> None:
    if value:
        out.flag(value < 0)


def _signed(bits: BitReader, size: int) -> int:
    return -size if size and bits.flag() else size


def _skip_network_and_colours(bits: BitReader) -> bool:
    """Take what a base says of its network and of a colour key; say whether a network follows at the end."""
    follows = False
    if bits.flag():
        mode = bits.ue()
        if mode == 1:
            bits.align()
            bits.skip_text()
            bits.skip_text()
        follows = mode == 0
    if bits.flag():
        for _ in range(3):
            if bits.flag():
                bits.u(8)
        for _ in range(2):
            if bits.flag():
                bits.ue()
    return follows


def _read_points(bits: BitReader, base: bool, last_base: Message | None) -> Numbers:
    changes = bits.flag()
    if base or not changes:
        precision, count = bits.ue() + 1, bits.ue() + 1
        if precision > MAX_BITS or count > _MAX_POINTS:
            raise BitstreamError(f"a message has {count} points of {precision} bits")
        if bits.flag():
            raise BitstreamError("a message has points in space")
    elif last_base is None:
        raise BitstreamError("the message of a picture that others are told from is missing")
    else:
        precision, count = last_base.points.bits, len(last_base.points.values) // 2
    return Numbers(tuple(_signed(bits, bits.ue()) for _ in range(2 * count)), precision, changes)


def _read_matrices(bits: BitReader, base: bool, last_base: Message | None, points: int) -> Numbers:
    changes = not base and bits.flag()
    if changes:
        if last_base is None or last_base.matrices is None:
            raise BitstreamError("a message changes matrices that have not been told")
        precision, count = last_base.matrices.bits, len(last_base.matrices.values)
    else:
        precision, count = bits.ue() + 1, 4 * points
        if precision > MAX_BITS:
            raise BitstreamError(f"a message has matrices of {precision} bits")
        if bits.ue() or bits.u(6) != _AFFINE or not bits.flag():
            raise BitstreamError("a message has other matrices than one for each point")
    return Numbers(tuple(_element(bits, precision, changes) for _ in range(count)), precision, changes)


def _element(bits: BitReader, precision: int, changes: bool) -> int:
    whole = bits.ue()
    part = bits.ue() if changes else bits.u(precision)
    return _signed(bits, (whole << precision) + part)


def parse_all(payloads: Sequence[bytes]) -> list[Message]:
    """Return the messages of a stream, in its order. Raises BitstreamError as `Message.parse` does."""
    found: list[Message] = []
    base: Message | None = None
    for payload in payloads:
        message = Message.parse(payload, base)
        base = message if message.base else base
        found.append(message)
    return found
