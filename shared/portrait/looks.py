"""What one drawn person looks like, and the room and camera that they are seen by."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from shared.portrait.arrays import Colour

Rng = np.random.Generator

HAIR_COLOURS: tuple[Colour, ...] = (
    (0.07, 0.055, 0.05), (0.11, 0.08, 0.065), (0.17, 0.115, 0.085), (0.24, 0.16, 0.11), (0.36, 0.22, 0.13),
    (0.45, 0.32, 0.20), (0.62, 0.47, 0.30), (0.74, 0.61, 0.42), (0.47, 0.22, 0.11), (0.33, 0.13, 0.09),
)  # fmt: skip
LIP_COLOURS: tuple[Colour, ...] = (
    (0.74, 0.40, 0.38), (0.70, 0.22, 0.24), (0.55, 0.16, 0.22), (0.80, 0.46, 0.46), (0.62, 0.34, 0.32),
)  # fmt: skip
IRIS_COLOURS: tuple[Colour, ...] = (
    (0.22, 0.13, 0.08), (0.30, 0.19, 0.11), (0.38, 0.25, 0.14), (0.42, 0.36, 0.20), (0.36, 0.43, 0.32),
    (0.36, 0.48, 0.56), (0.46, 0.54, 0.58),
)  # fmt: skip


def _pick(rng: Rng, colours: tuple[Colour, ...]) -> Colour:
    return colours[int(rng.integers(len(colours)))]


def _varied(rng: Rng, colour: tuple[float, ...], spread: float) -> Colour:
    brighter = 1 + spread * rng.standard_normal() + 0.25 * spread * rng.standard_normal(3)
    r, g, b = np.clip(np.asarray(colour) * brighter, 0.01, 1).tolist()
    return r, g, b


def _any(rng: Rng, low: float = 0.05, high: float = 0.9, colourful: float = 0.4) -> Colour:
    """Return any colour: a grey from `low` to `high`, and so far away from it."""
    grey = rng.uniform(low, high)
    r, g, b = np.clip(grey * (1 + colourful * rng.uniform(-1, 1, 3)), 0.02, 0.97).tolist()
    return r, g, b


@dataclass(frozen=True)
class Shape:
    """The shape of a head: shares of the average (1), or distances in units of the face (0)."""

    width: float = 1.0
    jaw: float = 0.0
    """-0.15 (narrow) to 0.15 (wide)."""
    cheeks: float = 0.0
    temples: float = 0.0
    chin: float = 0.0
    """How much longer the lower face is."""
    chin_out: float = 0.0
    forehead: float = 0.0
    cheekbones: float = 0.0
    brow_ridge: float = 0.0
    eye_spacing: float = 0.0
    eye_size: float = 1.0
    eye_slant: float = 0.0
    """Outer corners: positive is up."""
    eye_height: float = 0.0
    lid_fold: float = 1.0
    """0 is a lid without a crease."""
    lids: float = 1.0
    """How far the eyes are open at rest."""
    brow_height: float = 0.0
    brow_slant: float = 0.0
    nose_out: float = 1.0
    nose_width: float = 1.0
    nose_length: float = 0.0
    nose_tip: float = 0.0
    nose_hump: float = 0.0
    mouth_width: float = 1.0
    mouth_height: float = 0.0
    mouth_corners: float = 0.0
    upper_lip: float = 1.0
    lower_lip: float = 1.0
    ears: float = 1.0
    neck: float = 1.0

    @staticmethod
    def random(rng: Rng) -> Shape:
        """Return a head as varied as heads are."""
        n = rng.standard_normal
        return Shape(
            width=1 + 0.045 * n(), jaw=0.06 * n(), cheeks=0.04 * n(), temples=0.025 * n(),
            chin=0.03 * n(), chin_out=0.015 * n(), forehead=0.03 * n(),
            cheekbones=0.010 * n(), brow_ridge=0.010 * n(),
            eye_spacing=0.009 * n(), eye_size=1 + 0.07 * n(), eye_slant=0.07 * n(),
            eye_height=0.006 * n(), lid_fold=float(rng.choice([0.1, 0.5, 1.0, 1.3])),
            lids=float(np.clip(0.95 + 0.14 * n(), 0.62, 1.25)),
            brow_height=0.014 * n(), brow_slant=0.12 * n(),
            nose_out=1 + 0.10 * n(), nose_width=float(np.clip(1.03 + 0.14 * n(), 0.78, 1.45)),
            nose_length=0.014 * n(), nose_tip=0.010 * n(), nose_hump=0.008 * n(),
            mouth_width=1 + 0.08 * n(), mouth_height=0.010 * n(), mouth_corners=0.008 * n(),
            upper_lip=float(np.clip(1 + 0.28 * n(), 0.45, 1.8)),
            lower_lip=float(np.clip(1 + 0.22 * n(), 0.6, 1.7)),
            ears=1 + 0.10 * n(), neck=float(np.clip(1 + 0.09 * n(), 0.8, 1.25)),
        )  # fmt: skip


@dataclass(frozen=True)
class Skin:
    """Colours of the face; `tone` runs from the lightest skin (0) to the darkest (1)."""

    tone: float = 0.13
    red: float = 0.5
    """How much blood shows in cheeks, nose and ears."""
    blotches: float = 1.0
    freckles: float = 0.0
    age: float = 0.1
    gloss: float = 1.0
    lip_colour: Colour = (0.74, 0.40, 0.38)
    lip_paint: float = 0.35
    """From the skin's own lips (0) to `lip_colour` (1)."""
    brow_colour: Colour = (0.25, 0.16, 0.11)
    brow_weight: float = 0.85
    brow_thick: float = 1.0
    lashes: float = 0.7
    shadow_colour: Colour = (0.45, 0.30, 0.28)
    shadow: float = 0.15
    """Paint on the lids."""
    iris: Colour = (0.30, 0.42, 0.48)
    stubble: float = 0.0
    beard: float = 0.0
    moustache: float = 0.0
    beard_colour: Colour = (0.16, 0.11, 0.08)
    seed: int = 1

    @staticmethod
    def random(rng: Rng, man: bool, age: float) -> Skin:
        """Return a skin; hair of the face has the colours of `hair_colour`."""
        tone = float(np.clip(rng.beta(1.1, 1.3), 0, 1))
        dark = _pick(rng, HAIR_COLOURS[: 4 if tone > 0.45 else len(HAIR_COLOURS)])
        brow = _varied(rng, tuple(0.75 * c for c in dark), 0.12)
        painted = not man and rng.random() < 0.55
        shaven = rng.random()
        return Skin(
            tone=tone, red=float(rng.uniform(0.1, 1.1)) * (1 - 0.5 * tone), blotches=float(rng.uniform(0.4, 1.6)),
            freckles=float(rng.uniform(0.2, 0.8)) if tone < 0.25 and rng.random() < 0.25 else 0.0,
            age=age, gloss=float(rng.uniform(0.25, 1.3)) * (1 - 0.35 * tone),
            lip_colour=_varied(rng, _pick(rng, LIP_COLOURS), 0.1),
            lip_paint=float(rng.uniform(0.3, 0.9)) if painted else float(rng.uniform(0, 0.25)),
            brow_colour=brow, brow_weight=float(rng.uniform(0.45, 1.0)),
            brow_thick=float(rng.uniform(0.75, 1.5)) * (1.1 if man else 0.9),
            lashes=float(rng.uniform(0.6, 1.2)) if painted else float(rng.uniform(0.25, 0.7)),
            shadow_colour=_varied(rng, (0.40, 0.27, 0.25), 0.2), shadow=float(rng.uniform(0.1, 0.6)) if painted else 0.1,
            iris=_varied(rng, _pick(rng, IRIS_COLOURS[: 3 if tone > 0.5 else len(IRIS_COLOURS)]), 0.15),
            stubble=float(rng.uniform(0.1, 1.0)) if man and shaven < 0.8 else 0.0,
            beard=float(rng.uniform(0.6, 1.0)) if man and shaven < 0.25 else 0.0,
            moustache=float(rng.uniform(0.6, 1.0)) if man and shaven < 0.35 else 0.0,
            beard_colour=brow, seed=int(rng.integers(1 << 30)),
        )  # fmt: skip


@dataclass(frozen=True)
class Teeth:
    """How long the upper teeth are below the lips' line, and the lower ones above it."""

    length: float = 0.016
    lower: float = 0.004
    colour: Colour = (0.76, 0.72, 0.64)

    @staticmethod
    def random(rng: Rng) -> Teeth:
        """Return some teeth."""
        return Teeth(
            float(rng.uniform(0.006, 0.024)), float(rng.uniform(-0.004, 0.014)),
            _varied(rng, (0.74, 0.70, 0.61), 0.06),
        )  # fmt: skip


@dataclass(frozen=True)
class Hair:
    """How the hair falls; heights are in units of the face, down from the eyes."""

    style: str = "long"
    """bald, buzz, short, long, tied or curly."""
    colour: Colour = (0.36, 0.22, 0.13)
    tips: Colour = (0.46, 0.29, 0.17)
    grey: float = 0.0
    end: float = 0.75
    """How far down long hair reaches."""
    top: float = 0.07
    sides: float = 0.05
    hairline: float = -0.42
    fringe: float = 0.0
    """How far the hair hangs into the forehead."""
    sweep: float = 0.25
    """How much further on one side."""
    recede: float = 0.0
    curl: float = 0.15
    burns: float = 0.10
    tucked: float = 0.0
    """Behind the ears (1) or not."""
    seed: int = 2

    @staticmethod
    def random(rng: Rng, man: bool, age: float, tone: float) -> Hair:
        """Return hair as people of some age and skin `tone` wear it."""
        styles = ("bald", "buzz", "short", "long", "tied", "curly")
        style = str(rng.choice(styles, p=(0.10, 0.14, 0.48, 0.12, 0.02, 0.14) if man else (0.01, 0.03, 0.16, 0.50, 0.18, 0.12)))
        colour = _varied(rng, _pick(rng, HAIR_COLOURS[: 4 if tone > 0.45 else len(HAIR_COLOURS)]), 0.08)
        grey = float(np.clip(rng.normal(1.6 * age - 0.55, 0.2), 0, 1))
        flat = {"buzz": 0.12, "tied": 0.35, "curly": 2.0}.get(style, 1.0)
        curl = rng.uniform(0.75, 1.0) if style == "curly" else rng.uniform(0, 0.5)
        return Hair(
            style=style, colour=colour, tips=_varied(rng, tuple(1.2 * c for c in colour), 0.12), grey=grey,
            end=float(rng.uniform(0.45, 1.25)), top=float(rng.uniform(0.03, 0.13)) * flat,
            sides=float(rng.uniform(0.015, 0.07)) * flat, hairline=float(rng.normal(-0.42, 0.025)),
            fringe=float(rng.uniform(0.08, 0.27)) if style in ("long", "short", "curly") and rng.random() < 0.45 else 0.0,
            sweep=float(rng.uniform(-0.8, 0.8)),
            recede=float(rng.uniform(0.2, 1.0)) if man and rng.random() < 0.2 + 0.5 * age else 0.0,
            curl=float(curl), burns=float(rng.uniform(-0.02, 0.2)),
            tucked=float(rng.random() < 0.35), seed=int(rng.integers(1 << 30)),
        )  # fmt: skip


@dataclass(frozen=True)
class Clothes:
    """What is worn."""

    colour: Colour = (0.22, 0.46, 0.52)
    second: Colour = (0.80, 0.80, 0.78)
    shirt: Colour = (0.88, 0.88, 0.90)
    pattern: str = "plain"
    """plain, stripes or checks."""
    pace: float = 40.0
    neckline: str = "v"
    """round, v or jacket."""
    depth: float = 0.28
    tie: bool = False
    gloss: float = 0.05
    width: float = 1.0
    slope: float = 1.0
    seed: int = 3

    @staticmethod
    def random(rng: Rng, man: bool) -> Clothes:
        """Return clothes of any colour."""
        neckline = str(rng.choice(("round", "v", "jacket"), p=(0.5, 0.25, 0.25)))
        return Clothes(
            colour=_any(rng), second=_any(rng), shirt=_any(rng, 0.5, 0.95, 0.15),
            pattern=str(rng.choice(("plain", "stripes", "checks"), p=(0.7, 0.15, 0.15))),
            pace=float(rng.uniform(25, 110)), neckline=neckline, depth=float(rng.uniform(0.02, 0.32)),
            tie=man and rng.random() < 0.6, gloss=float(rng.uniform(0, 0.3)),
            width=float(rng.normal(1.05 if man else 0.95, 0.06)), slope=float(rng.uniform(0.7, 1.3)),
            seed=int(rng.integers(1 << 30)),
        )  # fmt: skip


@dataclass(frozen=True)
class Light:
    """Where the light comes from: `key` is the direction towards it (right, down, to the viewer)."""

    key: tuple[float, float, float] = (-0.45, -0.50, 0.74)
    colour: Colour = (1.0, 0.95, 0.88)
    strength: float = 1.15
    fill: Colour = (0.80, 0.88, 1.0)
    fill_strength: float = 0.30
    sky: Colour = (0.62, 0.66, 0.72)
    floor: Colour = (0.40, 0.36, 0.32)
    around: float = 0.50
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
        return Light(
            key=key, colour=(1.0, float(0.95 - 0.06 * warm), float(0.89 - 0.16 * warm)),
            strength=float(rng.uniform(0.55, 1.45)), fill=(1.0 - 0.15 * fill, 1.0, 1.0 + 0.15 * fill),
            fill_strength=float(rng.uniform(0.0, 0.6)), around=float(rng.uniform(0.25, 0.85)),
            sky=_varied(rng, (0.62, 0.66, 0.72), 0.12), floor=_varied(rng, (0.40, 0.36, 0.32), 0.15),
            rim=float(rng.uniform(0, 0.8)), exposure=float(rng.uniform(0.75, 1.2)) * (1 + 0.55 * tone),
        )  # fmt: skip


@dataclass(frozen=True)
class View:
    """The camera: the face's unit in the picture's, where its origin is, and how far off the camera stands."""

    scale: float = 0.86
    offset: tuple[float, float] = (0.0, -0.16)
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
            distance=float(rng.uniform(3.2, 9.0)), noise=float(rng.exponential(0.010)),
            blur=float(rng.choice((0.0, rng.uniform(0.4, 1.1)))), contrast=float(rng.normal(1.0, 0.10)),
            saturation=float(grey), tint=_varied(rng, (0.99, 0.99, 0.99), 0.06),
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
            colour=_any(rng, 0.08, 0.9, 0.2), second=_any(rng, 0.08, 0.9, 0.2),
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
            hair=Hair.random(rng, man, age, skin.tone), clothes=Clothes.random(rng, man),
            light=Light.random(rng, skin.tone), view=View.random(rng), scene=Scene.random(rng),
        )  # fmt: skip
