"""A portrait that the project draws itself: a relief of a head, lit, turned and given expressions.

The head is a height field (ellipsoids and soft bumps), shaded once. A frame looks every pixel up in that
relief: turning shifts what stands out further, as parallax does; jaw and brows are warps; eyes and the open
mouth are drawn on top. Positions are x to the right and y down, both in [-1, 1] of the picture, and heights
are in that unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sender.portrait_layers import (
    EYE_HEIGHT,
    EYE_WIDTH,
    EYES,
    MOUTH_WIDTH,
    MOUTH_Y,
    Plane,
    blur,
    bump,
    grid,
    mix,
    mouth_line,
    paint_background,
    paint_head,
    paint_torso,
)
from shared.config import SIZE
from shared.keypoints import Pictures

Window = tuple[slice, slice]

# The relief is kept finer than the picture, so that looking it up does not soften it.
_FINE = 384
_PIXEL = 2 / SIZE
# Where the head can be, and inside of that its mouth and eyes, in rows and columns.
_HEAD: Window = (slice(0, 226), slice(24, 232))
_TORSO: Window = (slice(110, 256), slice(0, 256))
_MOUTH: Window = (slice(100, 220), slice(36, 172))
_EYE_ROWS = slice(62, 142)
_JAW_DROP = 0.085
_PIVOT = (0.0, 0.30)
_SCALE = np.float32(1.10)
# The relief is flatter than a head; this makes up for it when it turns.
_RELIEF = np.float32(1.4)


@dataclass(frozen=True)
class Pose:
    """What the portrait does at one moment: radians for the head, 0 to 1 for the face or as said."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    sway: tuple[float, float] = (0.0, 0.0)
    mouth: float = 0.0
    smile: float = 0.0
    """-1 (pursed) to 1 (wide)."""
    blink: float = 0.0
    brows: float = 0.0
    """-1 (down) to 1 (raised)."""
    gaze: tuple[float, float] = (0.0, 0.0)
    """Where the eyes look, -1 to 1 each way."""


class Portrait:
    """Draws the portrait in any pose. Building one takes about half a second; a pose some milliseconds."""

    def __init__(self) -> None:
        x, y = grid(_FINE)
        head, depth = paint_head(x, y)
        self._head = head.reshape(-1, 4)
        self._depth = blur(depth, 8.0).reshape(-1)
        self._torso = paint_torso(x, y).reshape(-1, 4)
        x, y = grid(SIZE)
        self._background = paint_background(x, y)
        self._head_at = x[_HEAD], y[_HEAD]
        self._torso_at = x[_TORSO], y[_TORSO]

    def draw(self, pose: Pose) -> Pictures:
        """Return the picture (256, 256, 3), uint8 RGB, of one pose."""
        picture = self._background.copy()
        _lay(picture[_TORSO], self._look_up_torso(pose))
        u, v = self._look_up(pose)
        layer = _sample(self._head, *_expression(u, v, pose))
        _draw_mouth(layer[_MOUTH], u[_MOUTH], v[_MOUTH], pose)
        for eye in EYES:
            _draw_eye(layer, u, v, eye, pose)
        # The light stays where it is while the head turns.
        layer[..., :3] *= (1 - 0.45 * pose.yaw * u + 0.35 * pose.pitch * (v + 0.1))[..., None]
        _lay(picture[_HEAD], layer)
        drawn: Pictures = np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8)
        return drawn

    def _look_up_torso(self, pose: Pose) -> Plane:
        """Return the torso, which follows half of the sway; enlarged, so that it never ends in view."""
        x, y = self._torso_at
        u = 0.91 * (x - 0.45 * pose.sway[0] - 0.05 * pose.yaw * (1 - y))
        return _sample(self._torso, u, 0.91 * y - 0.35 * pose.sway[1] + 0.05)

    def _look_up(self, pose: Pose) -> tuple[Plane, Plane]:
        """Return, for each pixel, the place in the relief that is seen there: two arrays."""
        x = self._head_at[0] - _PIVOT[0] - pose.sway[0]
        y = self._head_at[1] - _PIVOT[1] - pose.sway[1]
        cos, sin = np.float32(np.cos(pose.roll)), np.float32(np.sin(pose.roll))
        x, y = (cos * x + sin * y) / _SCALE, (cos * y - sin * x) / _SCALE
        shift_x, shift_y = _RELIEF * np.float32(np.sin(pose.yaw)), _RELIEF * np.float32(np.sin(pose.pitch))
        shrink_x, shrink_y = np.float32(1 / np.cos(pose.yaw)), np.float32(1 / np.cos(pose.pitch))
        u, v = x * shrink_x + _PIVOT[0], y * shrink_y + _PIVOT[1]
        for _ in range(3):
            depth = self._depth[_index(v) * _FINE + _index(u)]
            u = (x - shift_x * depth) * shrink_x + _PIVOT[0]
            v = (y - shift_y * depth) * shrink_y + _PIVOT[1]
        return u, v


def _expression(u: Plane, v: Plane, pose: Pose) -> tuple[Plane, Plane]:
    """Return where the resting face shows what belongs at (u, v): lips, jaw and brows moved by `pose`."""
    near = bump(u, v, 0, MOUTH_Y, 0.20, 0.10)
    u = u * (1 - 0.16 * pose.smile * near)
    v = v + 0.020 * pose.smile * near * np.minimum(np.abs(u) / 0.11, 1.2) ** 2
    below = v - mouth_line(u)
    gap = _gap(u, pose)
    lip = np.exp(-((below / 0.07) ** 2))
    jaw = 0.55 * _JAW_DROP * pose.mouth * np.exp(-((u / 0.27) ** 2)) * np.clip((0.62 - v) / 0.2, 0, 1)
    down = np.clip(below / 0.012 + 0.5, 0, 1)
    v = v - down * (lip * gap + (1 - lip) * jaw) + (1 - down) * lip * 0.3 * gap
    v = v + 0.032 * pose.brows * bump(np.abs(u), v, 0.16, -0.275, 0.16, 0.075)
    return u, v


def _gap(u: Plane, pose: Pose) -> Plane:
    """Return how far the lips stand apart at each column."""
    width = MOUTH_WIDTH * (0.80 + 0.16 * pose.smile)
    gap: Plane = _JAW_DROP * pose.mouth * np.sqrt(np.clip(1 - (u / width) ** 2, 0, 1))
    return gap


def _draw_mouth(layer: Plane, u: Plane, v: Plane, pose: Pose) -> None:
    """Paint teeth, tongue and the dark between open lips onto `layer` (256, 256, 4), in place."""
    if pose.mouth < 0.01:
        return
    gap = _gap(u, pose)
    v = v + 0.020 * pose.smile * np.minimum(np.abs(u) / 0.11, 1.2) ** 2
    top, bottom = v - (mouth_line(u) - 0.3 * gap), (mouth_line(u) + gap) - v
    inside = np.clip(np.minimum(top, bottom) / _PIXEL + 0.3, 0, 1) * (gap > 0.002)
    side = 1 - (u / (0.95 * MOUTH_WIDTH)) ** 2
    colour = np.array([0.20, 0.055, 0.05], np.float32) * np.ones((*u.shape, 1), np.float32)
    tongue = np.clip((0.045 - bottom) / 0.03, 0, 1) * bump(u, v, 0, MOUTH_Y + 0.08, 0.07, 0.1)
    colour = mix(colour, (0.66, 0.27, 0.26), 0.85 * tongue)
    teeth = np.clip((0.026 + 0.006 * side - top) / 0.006, 0, 1) * np.clip(side * 2, 0, 1)
    lines = 1 - 0.10 * np.exp(-((((np.abs(u) + 0.0001) % 0.026) / 0.0035) ** 2))
    white = (0.62 + 0.30 * side) * (0.72 + 0.28 * np.clip(top / 0.014, 0, 1)) * lines
    colour = mix(colour, (0.98, 0.94, 0.88), np.zeros_like(u)) * (1 - teeth[..., None]) + (
        white[..., None] * np.array([0.98, 0.94, 0.88], np.float32) * teeth[..., None]
    )
    layer[..., :3] = mix(layer[..., :3], colour, inside)


def _draw_eye(layer: Plane, u: Plane, v: Plane, eye: tuple[float, float], pose: Pose) -> None:
    """Paint one eye between its lids onto `layer`, in place."""
    column = int((_SCALE * eye[0] + 1) / _PIXEL) - _HEAD[1].start
    window = _EYE_ROWS, slice(column - 36, column + 36)
    layer, across = layer[window], (u[window] - eye[0]) / EYE_WIDTH
    outward = np.float32(np.sign(eye[0]))
    v = v[window] - eye[1] + 0.006 * outward * across
    arch = np.clip(1 - across**2, 0, 1)
    upper = -EYE_HEIGHT * (1.02 + 0.10 * pose.brows) * arch**0.62
    lower = 0.62 * EYE_HEIGHT * arch**0.85 * (1 - 0.25 * max(pose.smile, 0))
    upper = upper + (lower - upper) * np.float32(min(pose.blink, 1))
    open_ = np.clip(np.minimum(v - upper, lower - v) / _PIXEL + 0.5, 0, 1) * (arch > 0.01)
    x = across * EYE_WIDTH - 0.022 * pose.gaze[0]
    y = v + 0.004 - 0.014 * pose.gaze[1]
    radius = np.sqrt(x * x + y * y)
    colour = mix(
        np.full((*x.shape, 3), (0.93, 0.90, 0.885), np.float32), (0.80, 0.60, 0.56), 0.55 * across**4
    )
    ring = np.clip(radius / 0.036, 0, 1)
    iris = np.array([0.20, 0.31, 0.36], np.float32) * (0.65 + 1.0 * (ring * (1 - ring**5)))[..., None]
    iris = iris * (1 + 6.0 * np.clip(y, -0.02, 0.03))[..., None]
    colour = mix(colour, iris, np.clip((0.0365 - radius) / 0.006, 0, 1))
    colour = mix(colour, (0.02, 0.02, 0.025), np.clip((0.0155 - radius) / 0.005 + 0.5, 0, 1))
    colour = colour * (0.52 + 0.48 * np.clip((v - upper) / 0.022, 0, 1))[..., None]
    glint = np.hypot(across * EYE_WIDTH + 0.011, v + 0.014)
    colour = mix(colour, (1.0, 1.0, 1.0), np.clip((0.0085 - glint) / 0.005, 0, 1))
    layer[..., :3] = mix(layer[..., :3], colour, open_)
    lash = np.exp(-(((v - upper + 0.003) / 0.0085) ** 2)) * np.clip(1.12 - across**2, 0, 1) ** 0.5
    layer[..., :3] = mix(layer[..., :3], (0.10, 0.055, 0.045), 0.88 * lash * (np.abs(across) < 1.1))
    rim = np.exp(-(((v - lower - 0.003) / 0.006) ** 2)) * arch
    layer[..., :3] = mix(layer[..., :3], (0.50, 0.27, 0.22), 0.30 * rim)


def _index(position: Plane) -> npt.NDArray[np.intp]:
    """Return the nearest row or column of the relief."""
    nearest: npt.NDArray[np.intp] = np.clip((position + 1) * (_FINE / 2), 0, _FINE - 1).astype(np.intp)
    return nearest


def _sample(layer: Plane, u: Plane, v: Plane) -> Plane:
    """Look `layer` (_FINE * _FINE, 4) up between its pixels, bilinearly, at (u, v): (256, 256, 4)."""
    x = np.clip((u + 1) * (_FINE / 2) - 0.5, 0, _FINE - 1.001)
    y = np.clip((v + 1) * (_FINE / 2) - 0.5, 0, _FINE - 1.001)
    left, top = x.astype(np.intp), y.astype(np.intp)
    part_x, part_y = (x - left)[..., None], (y - top)[..., None]
    corner = top * _FINE + left
    upper = layer[corner] * (1 - part_x) + layer[corner + 1] * part_x
    lower = layer[corner + _FINE] * (1 - part_x) + layer[corner + _FINE + 1] * part_x
    sampled: Plane = upper * (1 - part_y) + lower * part_y
    return sampled


def _lay(below: Plane, layer: Plane) -> None:
    """Lay a premultiplied `layer` (H, W, 4) over `below` (H, W, 3), in place."""
    below *= 1 - layer[..., 3:]
    below += layer[..., :3]
