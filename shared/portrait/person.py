"""Appearance of one drawn person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.portrait.arrays import Colour
from shared.portrait.palette import HAIR_COLOURS, IRIS_COLOURS, LIP_COLOURS, Rng, any_colour, pick, varied


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
        dark = pick(rng, HAIR_COLOURS[: 4 if tone > 0.45 else len(HAIR_COLOURS)])
        brow = varied(rng, tuple(0.75 * c for c in dark), 0.12)
        painted = not man and rng.random() < 0.55
        shaven = rng.random()
        return Skin(
            tone=tone, red=float(rng.uniform(0.1, 1.1)) * (1 - 0.5 * tone),
            blotches=float(rng.uniform(0.4, 1.6)),
            freckles=float(rng.uniform(0.2, 0.8)) if tone < 0.25 and rng.random() < 0.25 else 0.0,
            age=age, gloss=float(rng.uniform(0.25, 1.3)) * (1 - 0.35 * tone),
            lip_colour=varied(rng, pick(rng, LIP_COLOURS), 0.1),
            lip_paint=float(rng.uniform(0.3, 0.9)) if painted else float(rng.uniform(0, 0.25)),
            brow_colour=brow, brow_weight=float(rng.uniform(0.45, 1.0)),
            brow_thick=float(rng.uniform(0.75, 1.5)) * (1.1 if man else 0.9),
            lashes=float(rng.uniform(0.6, 1.2)) if painted else float(rng.uniform(0.25, 0.7)),
            shadow_colour=varied(rng, (0.40, 0.27, 0.25), 0.2),
            shadow=float(rng.uniform(0.1, 0.6)) if painted else 0.1,
            iris=varied(rng, pick(rng, IRIS_COLOURS[: 3 if tone > 0.5 else len(IRIS_COLOURS)]), 0.15),
            stubble=float(rng.uniform(0.1, 1.0)) if man and shaven < 0.8 else 0.0,
            beard=float(rng.uniform(0.6, 1.0)) if man and shaven < 0.25 else 0.0,
            moustache=float(rng.uniform(0.6, 1.0)) if man and shaven < 0.35 else 0.0,
            beard_colour=brow, seed=int(rng.integers(1 << 30)),
        )  # fmt: skip


@dataclass(frozen=True)
class Teeth:
    """Length of the upper teeth below the lips' line, and of the lower ones above it."""

    length: float = 0.016
    lower: float = 0.004
    colour: Colour = (0.76, 0.72, 0.64)

    @staticmethod
    def random(rng: Rng) -> Teeth:
        """Return some teeth."""
        return Teeth(
            float(rng.uniform(0.006, 0.024)), float(rng.uniform(-0.004, 0.014)),
            varied(rng, (0.74, 0.70, 0.61), 0.06),
        )  # fmt: skip


@dataclass(frozen=True)
class Hair:
    """Shape of the hair; heights are in units of the face, down from the eyes."""

    style: str = "long"
    """bald, buzz, short, long, tied, curly or hat."""
    colour: Colour = (0.36, 0.22, 0.13)
    tips: Colour = (0.46, 0.29, 0.17)
    grey: float = 0.0
    end: float = 0.75
    """How far down long hair reaches."""
    top: float = 0.07
    lift: float = 0.5
    """From lying on the forehead's edge (0) to combed up from it (1)."""
    sides: float = 0.05
    hairline: float = -0.42
    fringe: float = 0.0
    """How far the hair hangs into the forehead."""
    sweep: float = 0.25
    """How much further on one side."""
    recede: float = 0.0
    parted: bool = True
    part: float = -0.22
    """Where, as an angle."""
    curl: float = 0.15
    burns: float = 0.10
    tucked: float = 0.0
    """Behind the ears (1) or not."""
    seed: int = 2

    @staticmethod
    def random(rng: Rng, man: bool, age: float, tone: float) -> Hair:
        """Return hair as people of some age and skin `tone` wear it."""
        styles = ("bald", "buzz", "short", "long", "tied", "curly", "hat")
        shares = (
            (0.10, 0.13, 0.46, 0.10, 0.02, 0.14, 0.05) if man else (0.01, 0.03, 0.15, 0.48, 0.17, 0.12, 0.04)
        )
        style = str(rng.choice(styles, p=shares))
        colour = varied(rng, pick(rng, HAIR_COLOURS[: 4 if tone > 0.45 else len(HAIR_COLOURS)]), 0.08)
        grey = float(np.clip(rng.normal(1.9 * age - 1.05, 0.2), 0, 1))
        flat = {"buzz": 0.12, "tied": 0.35, "curly": 2.0, "hat": 0.6}.get(style, 1.0)
        hangs = style in ("long", "short", "curly") and rng.random() < 0.45
        parted = bool(rng.random() < {"buzz": 0, "hat": 0, "short": 0.4, "curly": 0.4}.get(style, 0.75))
        if style == "hat":
            colour = any_colour(rng)
        curl = rng.uniform(0.75, 1.0) if style == "curly" else rng.uniform(0, 0.5)
        return Hair(
            style=style, colour=colour, tips=varied(rng, tuple(1.2 * c for c in colour), 0.12), grey=grey,
            end=float(rng.uniform(0.45, 1.25)), top=float(rng.uniform(0.03, 0.13)) * flat,
            lift=float(rng.uniform(0, 1)), sides=float(rng.uniform(0.015, 0.07)) * flat,
            hairline=float(rng.normal(-0.42, 0.025)),
            fringe=float(rng.uniform(0.08, 0.27)) if hangs else 0.0,
            sweep=float(rng.uniform(-0.8, 0.8)),
            parted=parted,
            part=float(rng.choice((0.0, rng.uniform(-0.5, 0.5)))),
            recede=float(rng.uniform(0.2, 1.0)) if man and rng.random() < 0.2 + 0.5 * age else 0.0,
            curl=float(curl), burns=float(rng.uniform(-0.02, 0.2)),
            tucked=float(rng.random() < 0.35), seed=int(rng.integers(1 << 30)),
        )  # fmt: skip


@dataclass(frozen=True)
class Glasses:
    """Glasses; sizes in units of the face."""

    worn: bool = False
    wide: float = 0.165
    high: float = 0.125
    square: float = 2.6
    """2 is round."""
    cat: float = 1.0
    thick: float = 0.014
    off: float = 0.02
    colour: Colour = (0.05, 0.05, 0.06)
    gloss: float = 0.4
    tint: float = 0.05
    glare: float = 0.05

    @staticmethod
    def random(rng: Rng) -> Glasses:
        """Return any glasses, which most people do not wear."""
        metal = rng.random() < 0.4
        return Glasses(
            worn=bool(rng.random() < 0.25), wide=float(rng.uniform(0.145, 0.185)),
            high=float(rng.uniform(0.085, 0.155)), square=float(rng.uniform(2.0, 4.0)),
            cat=float(rng.uniform(-0.5, 2.5)),
            thick=float(rng.uniform(0.007, 0.011) if metal else rng.uniform(0.013, 0.030)),
            off=float(rng.uniform(0.01, 0.04)),
            colour=varied(rng, (0.45, 0.42, 0.38), 0.3) if metal else any_colour(rng, 0.03, 0.3, 0.7),
            gloss=float(rng.uniform(0.2, 1.2)), tint=float(rng.exponential(0.05)),
            glare=float(rng.exponential(0.06)),
        )  # fmt: skip


@dataclass(frozen=True)
class Clothes:
    """Clothes worn by a person."""

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
            colour=any_colour(rng, 0.04, 0.75), second=any_colour(rng),
            shirt=any_colour(rng, 0.5, 0.95, 0.15),
            pattern=str(rng.choice(("plain", "stripes", "checks"), p=(0.7, 0.15, 0.15))),
            pace=float(rng.uniform(25, 110)), neckline=neckline, depth=float(rng.uniform(0.02, 0.32)),
            tie=man and rng.random() < 0.6, gloss=float(rng.uniform(0, 0.3)),
            width=float(rng.normal(1.05 if man else 0.95, 0.06)), slope=float(rng.uniform(0.7, 1.3)),
            seed=int(rng.integers(1 << 30)),
        )  # fmt: skip
