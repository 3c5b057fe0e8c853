"""Draws a person in any pose."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

from shared.constants import SIZE
from shared.keypoints import Pictures
from shared.portrait import glasses, layers, points, scene
from shared.portrait.arrays import Array, smooth
from shared.portrait.camera import develop, fine_side
from shared.portrait.face import IRIS, Face
from shared.portrait.inside import Slits
from shared.portrait.layers import Layer
from shared.portrait.light import developed, shade
from shared.portrait.looks import Looks
from shared.portrait.mesh import Indices, projected, rotation, turned
from shared.portrait.pose import Pose
from shared.portrait.raster import Fragments, Lines, cover

# How much of the head's turn the neck makes.
_SHARES = {layers.NECK: 0.35, layers.TORSO: 0.0}


class Portrait:
    """Draws one person in any pose, as pictures of `size` pixels a side, an even number.

    Building one takes about half a second, a pose some 20 milliseconds at 256 pixels.
    """

    def __init__(self, looks: Looks | None = None, size: int = SIZE) -> None:
        self.looks = looks or Looks()
        self._fine = fine_side(size)
        self.face = Face(self.looks.shape, points.mesh_places())
        self._layers = layers.build(self.looks, self.face)
        self._slits = Slits(self.looks, self.face, self._layers[0].faces)
        self._background = scene.paint(self.looks.scene, self._fine).reshape(-1, 3)
        self._texels = np.concatenate([layer.texture.texels() for layer in self._layers])
        sizes = [layer.texture.open.size for layer in self._layers]
        self._first_texel = np.cumsum([0, *sizes])
        self._ends = np.cumsum([len(layer.faces) for layer in self._layers])
        vertices = np.cumsum([0, *(len(layer.at) for layer in self._layers)])
        self._faces = np.concatenate([layer.faces + vertices[i] for i, layer in enumerate(self._layers)])
        self._both = np.concatenate([layer.both_sides for layer in self._layers])

    def draw(self, pose: Pose) -> Pictures:
        """Return the picture (size, size, 3), uint8 RGB, of one pose."""
        mesh, _, irises = self.face.pose(pose)
        seen = self._project(
            np.concatenate([self._placed(layer, mesh, pose) for layer in self._layers]), pose
        )
        lines = cover(self._pixels(seen)[self._faces], self._fine, self._both)
        won = lines.nearest(self._solid(lines))
        # By layer, so that each is a slice.
        of = np.searchsorted(self._ends, lines.face[lines.line[won]], side="right").astype(np.uint8)
        visible = lines.fragments(won[np.argsort(of, kind="stable")])
        ends = np.cumsum(np.bincount(of, minlength=len(self._layers)))
        canvas = self._background.copy()
        canvas[visible.pixel] = self._shade(visible, ends, mesh, irises, pose)
        if self.looks.glasses.worn:
            self._glaze(canvas, pose)
        fine = canvas.reshape(self._fine, self._fine, 3)
        return develop(fine, self.looks.view, zlib.crc32(repr(pose).encode()))

    def landmarks(self, pose: Pose) -> Array:
        """Return where the 175 points of `points.NUMBERS` are, (175, 2) in [-1, 1] of the picture."""
        return landmarks_of(self.face, self.looks, pose)

    def _pixels(self, seen: Array) -> Array:
        half = self._fine / 2
        return seen * np.array([half, half, 1], np.float32) + np.array([half, half, 0], np.float32)

    def _placed(self, layer: Layer, mesh: Array, pose: Pose) -> Array:
        """Return a layer's vertices after the head has turned."""
        if layer.place is None:
            return turned(mesh, pose)
        if layer.name in (layers.NECK, layers.TORSO, layers.HAIR):
            return _follow(layer.place, layer.name, pose)
        return turned(layer.place, pose)

    def _project(self, place: Array, pose: Pose) -> Array:
        return _project(self.looks, place, pose)

    def _solid(self, lines: Lines) -> npt.NDArray[np.bool_] | None:
        """Return which pixels lie where hair, the last layer, has no gaps; None where there is no hair."""
        layer = self._layers[-1]
        if layer.cut is None or layer.texture.alpha is None:
            return None
        first = int(self._ends[-1]) - len(layer.faces)
        cut = np.concatenate([np.zeros(first, bool), layer.cut])
        edge = np.flatnonzero(cut[lines.face][lines.line])
        solid = np.ones(len(lines.line), bool)
        solid[edge] = layer.texture.alpha.reshape(-1)[_texel(lines.fragments(edge), layer, first)] > 0.5
        return solid

    def _shade(self, visible: Fragments, ends: Indices, mesh: Array, irises: Array, pose: Pose) -> Array:
        """Return what the camera sees of the visible fragments, sorted by layer: (N, 3)."""
        texel = np.empty(len(visible.face), np.int64)
        skin = np.empty(len(visible.face), np.float32)
        parts = [slice(a, b) for a, b in zip(np.append(0, ends), ends, strict=False)]
        for i, (layer, part) in enumerate(zip(self._layers, parts, strict=True)):
            first = int(self._ends[i]) - len(layer.faces)
            texel[part] = self._first_texel[i] + _texel(visible.part(part), layer, first)
            skin[part] = layer.skin
        made = np.ascontiguousarray(np.take(self._texels, texel, axis=0).T)
        shine = self._slits.fill(visible.part(parts[0]), made, skin, mesh, irises, pose)
        for layer, part in zip(self._layers, parts, strict=True):
            normal = rotation(pose, _SHARES.get(layer.name, 1.0)) @ made[3:6, part]
            if layer.both_sides.any():
                made[:3, part] *= np.where(normal[2] < -0.2, np.float32(0.45), np.float32(1))
                normal[2] = np.abs(normal[2])
            made[3:6, part] = normal
        bright = shade(made, skin, self.looks.light)
        bright[:, parts[0]] += shine
        return developed(bright, self.looks.light.exposure).T

    def _glaze(self, canvas: Array, pose: Pose) -> None:
        """Tint what is behind the lenses, and lay their reflections over it, in place."""
        style = self.looks.glasses
        place, faces = glasses.lenses(style, self.face)
        corners = self._pixels(self._project(turned(place, pose), pose))[faces]
        lines = cover(corners, self._fine, np.ones(len(faces), bool))
        lens = lines.fragments(lines.nearest())
        glare = glasses.glare(style, lens.blend(place, faces).T)
        canvas[lens.pixel] = canvas[lens.pixel] * np.float32(1 - style.tint) + glare[:, None]


def landmarks(looks: Looks, pose: Pose) -> Array:
    """Return where the 175 points of `points.NUMBERS` are, (175, 2) in [-1, 1] of the picture of `looks`."""
    return landmarks_of(Face(looks.shape, points.mesh_places()), looks, pose)


def landmarks_of(face: Face, looks: Looks, pose: Pose) -> Array:
    """Return what `landmarks` does, of somebody whose `face` is there already."""
    return _deep_landmarks(face, looks, pose)[:, :2]


def landmarks_with_depth(looks: Looks, pose: Pose) -> Array:
    """Return what `landmarks` does, and how near each point is: (175, 3), in units of half a picture."""
    return _deep_landmarks(Face(looks.shape, points.mesh_places()), looks, pose)


def _deep_landmarks(face: Face, looks: Looks, pose: Pose) -> Array:
    _, marks, irises = face.pose(pose)
    rings = points.iris_points(irises, IRIS * looks.shape.eye_size)
    return _project(looks, turned(np.concatenate([marks, rings]), pose), pose)


def _project(looks: Looks, place: Array, pose: Pose) -> Array:
    view = looks.view
    offset = view.offset[0] + pose.sway[0], view.offset[1] + pose.sway[1]
    return projected(place, view.scale, offset, view.distance)


def _texel(fragments: Fragments, layer: Layer, first: int) -> Indices:
    """Return the texture's place of each fragment of a layer whose triangles begin at `first`."""
    row, column = fragments.blend(layer.at, layer.faces, first)
    high, wide = layer.texture.open.shape
    row, column = (row + np.float32(0.5)).astype(np.int64), (column + np.float32(0.5)).astype(np.int64)
    place: Indices = np.minimum(row, high - 1) * wide + np.minimum(column, wide - 1)
    return place


def _follow(place: Array, name: str, pose: Pose) -> Array:
    """Return neck, torso or hair after the head has turned: the further down, the less they go along."""
    y = place[:, 1:2]
    if name == layers.TORSO:
        share = np.zeros_like(y)
    elif name == layers.NECK:
        share = smooth(y, 1.05, 0.32)
    else:
        share = 1 - 0.45 * smooth(y, 0.5, 1.3)
    still = place - np.array([0.5 * pose.sway[0], 0.4 * pose.sway[1], 0], np.float32)
    return np.asarray(still + (turned(place, pose) - still) * share, np.float32)
