"""Sizes of the lite network; they travel with its weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from shared.errors import RequestError


@dataclass(frozen=True)
class LiteConfig:
    """Channels of each U-Net from fine to coarse. The defaults are what the shipped weights were trained with.

    At 256x256 they cost 0.19 GMAC a detection and 1.37 GMAC a rendered frame, with 2.4 M parameters.
    """

    detector: tuple[int, ...] = (32, 48, 88, 128)
    motion: tuple[int, ...] = (32, 64, 96, 128)
    generator: tuple[int, ...] = (64, 96, 128)
    detail: int = 24
    temperature: float = 0.1
    variance: float = 0.01

    def to_map(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_map(cls, values: object) -> LiteConfig:
        """Build from JSON values; anything unknown, missing or out of range is a RequestError."""
        if not isinstance(values, dict) or set(values) != set(cls.__dataclass_fields__):
            raise RequestError("The lite checkpoint's network sizes are not those of this version; train it again.")
        widths = {name: _widths(name, values[name]) for name in ("detector", "motion", "generator")}
        numbers = {name: values[name] for name in ("detail", "temperature", "variance")}
        if not all(isinstance(v, (int, float)) and not isinstance(v, bool) and 0 < v <= 512 for v in numbers.values()):
            raise RequestError("The lite checkpoint's config holds a size that is not a positive number.")
        return cls(
            widths["detector"], widths["motion"], widths["generator"],
            int(numbers["detail"]), float(numbers["temperature"]), float(numbers["variance"]),
        )  # fmt: skip


def _widths(name: str, values: object) -> tuple[int, ...]:
    length = 3 if name == "generator" else 4
    if not isinstance(values, list) or len(values) != length:
        raise RequestError(f"The lite checkpoint's config must list {length} channel counts under '{name}'.")
    if not all(isinstance(v, int) and not isinstance(v, bool) and 1 <= v <= 1024 for v in values):
        raise RequestError(f"The lite checkpoint's config holds a channel count under '{name}' outside 1 to 1024.")
    return tuple(values)
