"""Sizes of the head finder's network; they travel with its weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from shared.errors import RequestError

STRIDE = 8
"""Pixels of the network's picture to a cell; both its sides are multiples of this."""
UNIT = 16.0
"""The size, in pixels of the network's picture, whose logarithm counts as 0."""
OUTPUTS = 4
_MAX_CHANNELS = 512


@dataclass(frozen=True)
class HeadConfig:
    """Channels at 1/2, 1/4, 1/8 and 1/16 of the picture, whose longer side is `side` pixels.

    The defaults take 6 million multiplications for 128x72 and 57 thousand parameters.
    """

    channels: tuple[int, int, int, int] = (16, 32, 64, 96)
    side: int = 128

    def to_map(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {**asdict(self), "channels": list(self.channels)}

    @classmethod
    def from_map(cls, values: object) -> HeadConfig:
        """Build from JSON values; anything unknown, missing or out of range is a RequestError."""
        wrong = RequestError("The head finder's network sizes are not those of this version; train it again.")
        if not isinstance(values, dict) or set(values) != set(cls.__dataclass_fields__):
            raise wrong
        channels, side = values["channels"], values["side"]
        if not isinstance(channels, list) or len(channels) != 4:
            raise wrong
        numbers = [*channels, side]
        if not all(type(number) is int and 1 <= number <= _MAX_CHANNELS for number in numbers):
            raise wrong
        if side % STRIDE:
            raise wrong
        return cls((channels[0], channels[1], channels[2], channels[3]), side)
