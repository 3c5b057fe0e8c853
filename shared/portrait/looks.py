"""One drawn person, and the room, light and camera that they are seen by."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from shared.portrait.arrays import Colour
from shared.portrait.palette import Rng, any_colour, varied
from shared.portrait.person import Clothes, Glasses, Hair, Shape, Skin, Teeth


@dataclass(frozen=True)
class Light:
    """Direction of the light: `key` is the direction towards it (right, down, to the viewer)."""

    key: tuple[float, float, float] = (-0.45, -0.50, 0.74)
    colour: Colour = (1.0, 0.95, 0.88)
    strength: float = 1.35
    fill: Colour = (0.80, 0.88, 1.0)
    fill_strength: float = 0.22
    sky: Colour = (0.62, 0.66, 0.72)
    floor: Colour = (0.40, 0.36, 0.32)
    around: float = 0.36
    rim: float = 0.25
    exposure: float = 1.0

    @staticmethod
    def random(rng: Rng, tone: float) -> Light:
        """Return light from anywhere in front; cameras expose darker skin (`tone`) a little longer."""
        around = rng.uniform(-1.3, 1.3)
        up = rng.uniform(-0.15, 0.95)
        warm = rng.uniform(-1, 1)
        key = float(np.sin(around) * np.cos(up)), float(-np.sin(up)), float(np.cos(around) * np.cos(up))
        fill = rng.uniform(-1, 1)
        strength, fill_strength, ambient = rng.uniform((0.55, 0.0, 0.25), (1.45, 0.6, 0.85))
        measured = 0.5 * strength + 0.25 * fill_strength + 0.6 * ambient
        return Light(
            key=key, colour=(1.0, float(0.95 - 0.06 * warm), float(0.89 - 0.16 * warm)),
            strength=float(strength), fill=(1.0 - 0.15 * fill, 1.0, 1.0 + 0.15 * fill),
            fill_strength=float(fill_strength), around=float(ambient),
            sky=varied(rng, (0.62, 0.66, 0.72), 0.12), floor=varied(rng, (0.40, 0.36, 0.32), 0.15),
            rim=float(rng.uniform(0, 0.8)),
            exposure=float(rng.uniform(0.75, 1.15) / measured * (1 + 0.4 * tone)),
        )  # fmt: skip


@dataclass(frozen=True)
class View:
    """The camera: the face's unit in the picture's, where its origin is, how far off the camera stands."""

    scale: float = 0.90
    offset: tuple[float, float] = (0.0, -0.14)
    distance: float = 5.0
    noise: float = 0.004
    blur: float = 0.0
    contrast: float = 1.0
    saturation: float = 1.0
    tint: Colour = (1.0, 1.0, 1.0)

    @staticmethod
    def random(rng: Rng) -> View:
        """Return a camera as webcams and studios have them, and a framing of head and shoulders."""
        scale = rng.uniform(0.68, 1.18)
        grey = 0.0 if rng.random() < 0.08 else rng.uniform(0.6, 1.25)
        return View(
            scale=scale, offset=(float(rng.normal(0, 0.07)), float(rng.normal(-0.05 - 0.12 * scale, 0.07))),
            distance=float(rng.uniform(3.2, 9.0)), noise=float(min(rng.exponential(0.008), 0.03)),
            blur=float(rng.choice((0.0, rng.uniform(0.4, 1.1)))), contrast=float(rng.normal(1.0, 0.10)),
            saturation=float(grey), tint=varied(rng, (0.99, 0.99, 0.99), 0.06),
        )  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """The room: plain, shelves, window, frames, panels or lights."""

    kind: str = "lights"
    colour: Colour = (0.16, 0.19, 0.23)
    second: Colour = (0.36, 0.36, 0.36)
    angle: float = 0.6
    glow: tuple[float, float] = (0.55, -0.55)
    blur: float = 0.0
    texture: float = 0.0
    seed: int = 4

    @staticmethod
    def random(rng: Rng) -> Scene:
        """Return any room, in focus or out of it."""
        kinds = ("plain", "shelves", "window", "frames", "panels", "lights")
        return Scene(
            kind=str(rng.choice(kinds, p=(0.28, 0.20, 0.15, 0.15, 0.10, 0.12))),
            colour=any_colour(rng, 0.08, 0.9, 0.2), second=any_colour(rng, 0.08, 0.9, 0.2),
            angle=float(rng.uniform(0, 6.28)), glow=(float(rng.uniform(-1, 1)), float(rng.uniform(-1, 0.5))),
            blur=float(rng.choice((0.0, 0.6, rng.uniform(1, 5)))), texture=float(rng.uniform(0, 0.03)),
            seed=int(rng.integers(1 << 30)),
        )  # fmt: skip


@dataclass(frozen=True)
class Looks:
    """One drawn person, and how they are seen. The default is the demo's portrait."""

    shape: Shape = field(default_factory=Shape)
    skin: Skin = field(default_factory=Skin)
    teeth: Teeth = field(default_factory=Teeth)
    hair: Hair = field(default_factory=Hair)
    glasses: Glasses = field(default_factory=Glasses)
    clothes: Clothes = field(default_factory=Clothes)
    light: Light = field(default_factory=Light)
    view: View = field(default_factory=View)
    scene: Scene = field(default_factory=Scene)

    @staticmethod
    def random(rng: Rng) -> Looks:
        """Return somebody who looks like nobody else."""
        man, age = bool(rng.random() < 0.5), float(rng.beta(1.4, 2.2))
        skin = Skin.random(rng, man, age)
        return Looks(
            shape=Shape.random(rng), skin=skin, teeth=Teeth.random(rng),
            hair=Hair.random(rng, man, age, skin.tone), glasses=Glasses.random(rng),
            clothes=Clothes.random(rng, man), light=Light.random(rng, skin.tone),
            view=View.random(rng), scene=Scene.random(rng),
        )  # fmt: skip
