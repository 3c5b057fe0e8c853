"""Sizes of the lite network; they travel with its weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from shared.errors import RequestError

_MAX_CHANNELS = 1024
HEATS = (32, 64)
"""Sides of the heatmaps that the first look may have."""


@dataclass(frozen=True)
class LiteConfig:
    """Channels of each part from fine to coarse. The shipped weights were trained with the defaults.

    `heat` is the side of the heatmaps in which the detector's look at the whole picture has its points, 32 or
    64. `fine` channels of the source's features are warped at 64x64; `detail` is the generator's width at
    128x128. `temperature` divides the heatmaps' logits; `variance` is that of a part's heat, in units of its
    Jacobian, and `iris` how much smaller than other parts of a typical face an iris is drawn. `glance` is how
    many times as far aside as they are found irises are taken when a frame is rendered, but not in training:
    of small movements, finding and rendering each lose a part.
    """

    detector: tuple[int, ...] = (32, 64, 96, 128)
    heat: int = 32
    patches: tuple[int, ...] = (32, 64, 96)
    motion: tuple[int, ...] = (48, 96, 128)
    generator: tuple[int, ...] = (48, 96, 128)
    fine: int = 32
    detail: int = 16
    temperature: float = 0.1
    variance: float = 0.01
    iris: float = 0.5
    glance: float = 1.6

    def to_map(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_map(cls, values: object) -> LiteConfig:
        """Build from JSON values; anything unknown, missing or out of range is a RequestError."""
        # Weights that do not say were trained before there was a choice.
        values = {"heat": HEATS[-1], **values} if isinstance(values, dict) else values
        if not isinstance(values, dict) or set(values) != set(cls.__dataclass_fields__):
            raise RequestError(
                "The lite checkpoint's network sizes are not those of this version; train it again."
            )
        return cls(
            detector=_widths("detector", values["detector"], 4),
            heat=_heat(values["heat"]),
            patches=_widths("patches", values["patches"], 3),
            motion=_widths("motion", values["motion"], 3),
            generator=_widths("generator", values["generator"], 3),
            fine=_width("fine", values["fine"]),
            detail=_width("detail", values["detail"]),
            temperature=_factor("temperature", values["temperature"]),
            variance=_factor("variance", values["variance"]),
            iris=_factor("iris", values["iris"]),
            glance=_factor("glance", values["glance"]),
        )


def _widths(name: str, values: object, length: int) -> tuple[int, ...]:
    if not isinstance(values, list) or len(values) != length:
        raise RequestError(f"The lite checkpoint's config must list {length} channel counts under '{name}'.")
    return tuple(_width(name, value) for value in values)


def _width(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MAX_CHANNELS:
        raise RequestError(
            f"The lite checkpoint's config holds a channel count under '{name}' outside 1 to {_MAX_CHANNELS}."
        )
    return value


def _heat(value: object) -> int:
    if isinstance(value, bool) or value not in HEATS:
        raise RequestError("The lite checkpoint's config holds a 'heat' that is neither 32 nor 64.")
    return int(value)


def _factor(name: str, value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 1e-4 <= value <= 100:
        raise RequestError(f"The lite checkpoint's config holds a '{name}' outside 0.0001 to 100.")
    return float(value)
