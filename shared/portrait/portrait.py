"""Draws a person in any pose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.keypoints import Pictures
from shared.portrait import body, hair, inside, points, scene, skin
from shared.portrait.arrays import Array, smooth
from shared.portrait.camera import develop
from shared.portrait.face import IRIS, Face, strengths
from shared.portrait.light import developed, shade
from shared.portrait.looks import Looks
from shared.portrait.mesh import Indices, Texture, grid_faces, projected, rotation, turned
from shared.portrait.pose import Pose
from shared.portrait.raster import Fragments, cover, nearest

# Drawn finer, then averaged to the picture's size.
FINE = 384
_NECK_SHARE = 0.35


@dataclass(frozen=True)
class Layer:
    """A mesh with its texture: how many vertices and triangles there are before it, and what it is."""

    name: str
    texture: Texture
    at: Array
    faces: Indices
    both_sides: bool
    is_skin: bool


class Portrait:
    """Draws one person in any pose. Building one takes about half a second, a pose some 50 milliseconds."""

    def __init__(self, looks: Looks | None = None) -> None:
        self.looks = looks or Looks()
        shape = self.looks.shape
        self.face = Face(shape, points.mesh_places())
        self._still = {
            "hair": hair.mesh(shape, self.looks.hair).reshape(-1, 3),
            "neck": body.neck(shape, *body.NECK_MESH).reshape(-1, 3),
            "torso": body.torso(shape, self.looks.clothes, *body.TORSO_MESH).reshape(-1, 3),
            "right ear": body.ear(-1, shape.ears, *body.EAR_MESH, shape.width).reshape(-1, 3),
            "left ear": body.ear(1, shape.ears, *body.EAR_MESH, shape.width).reshape(-1, 3),
        }
        self._grain = np.random.default_rng(self.looks.scene.seed + 1)
        self._layers = self._build_layers()
        self._atlas()
        self._background = scene.paint(self.looks.scene, FINE).reshape(-1, 3)

    def _build_layers(self) -> list[Layer]:
        looks = self.looks
        count = self.face.grid[0] * self.face.grid[1]
        head_at = np.stack(
            [skin.rows_of(self.face.places.row[:count]), skin.columns_of(self.face.places.angle[:count])], -1
        )
        layers = [Layer("head", self._shaded_skin(), head_at[self.face.faces], self.face.faces, False, True)]
        for name, side in (("right ear", -1), ("left ear", 1)):
            layers.append(_grid_layer(name, body.paint_ear(side, looks.skin), body.EAR_MESH, True, True))
        layers.append(_grid_layer("neck", body.paint_neck(looks.shape, looks.skin), body.NECK_MESH, False, True))
        torso = body.paint_torso(looks.shape, looks.skin, looks.clothes)
        layers.append(_grid_layer("torso", torso, body.TORSO_MESH, False, False))
        if looks.hair.style != "bald":
            layers.append(_grid_layer("hair", hair.paint(looks.shape, looks.hair), hair.MESH, True, False))
        return layers

    def _shaded_skin(self) -> Texture:
        looks = self.looks
        texture = skin.paint(looks.skin, looks.shape)
        if looks.hair.style == "bald":
            return texture
        angle, row = skin.grid()
        near = hair.cover(angle, skin.average(angle, row)[1], looks.hair)
        thick = min(1.0, (looks.hair.top + looks.hair.sides) / 0.10)
        shadow = 1 - 0.45 * thick * smooth(near, -0.075, 0.0)
        return Texture(texture.albedo, texture.normal, texture.open * shadow, texture.gloss)

    def _atlas(self) -> None:
        """Lay all textures one behind the other, and all triangles."""
        parts, faces, self._first_texel, self._first_face = [], [], [], [0]
        texels = vertices = 0
        for layer in self._layers:
            texture = layer.texture
            extra = np.stack([texture.open, texture.gloss], -1)
            parts.append(np.concatenate([texture.albedo, texture.normal, extra], -1).reshape(-1, 8))
            self._first_texel.append(texels)
            texels += len(parts[-1])
            faces.append(layer.faces + vertices)
            vertices += int(layer.faces.max()) + 1
            self._first_face.append(self._first_face[-1] + len(layer.faces))
        self._texels = np.concatenate(parts).astype(np.float32)
        self._faces = np.concatenate(faces)
        self._both = np.concatenate([np.full(len(layer.faces), layer.both_sides) for layer in self._layers])

    def draw(self, pose: Pose) -> Pictures:
        """Return the picture (256, 256, 3), uint8 RGB, of one pose."""
        face, _, irises = self.face.pose(pose)
        seen = self._project(self._placed(face, pose), pose)
        corners = seen[self._faces]
        corners[..., :2] = (corners[..., :2] + 1) * (FINE / 2)
        fragments = self._cut(cover(corners, FINE, self._both))
        visible = nearest(fragments, FINE)
        canvas = self._background.copy()
        canvas[visible.pixel] = self._shade(visible, face, irises, pose)
        return develop(canvas.reshape(FINE, FINE, 3), self.looks.view, self._grain)

    def landmarks(self, pose: Pose) -> Array:
        """Return where the 175 points of `points.NUMBERS` are, (175, 2) in [-1, 1] of the picture."""
        _, marks, irises = self.face.pose(pose)
        rings = points.iris_points(irises, IRIS * self.looks.shape.eye_size)
        return self._project(turned(np.concatenate([marks, rings]), pose), pose)[:, :2]

    def _placed(self, face: Array, pose: Pose) -> Array:
        """Return all vertices after the head has turned, in the layers' order."""
        places = []
        for layer in self._layers:
            place = face if layer.name == "head" else self._still[layer.name]
            if layer.name in ("neck", "torso", "hair"):
                places.append(_follow(place, layer.name, pose))
            else:
                places.append(turned(place, pose))
        return np.concatenate(places)

    def _project(self, place: Array, pose: Pose) -> Array:
        view = self.looks.view
        offset = view.offset[0] + pose.sway[0], view.offset[1] + pose.sway[1]
        return projected(place, view.scale, offset, view.distance)

    def _cut(self, fragments: Fragments) -> Fragments:
        """Return the fragments without those where hair has gaps."""
        layer = self._layers[-1]
        if layer.texture.alpha is None:
            return fragments
        first = self._first_face[-2]
        hairy = np.flatnonzero(fragments.face >= first)
        at = self._texel(fragments.take(hairy), layer, first)
        kept = np.ones(len(fragments.face), bool)
        kept[hairy] = layer.texture.alpha.reshape(-1)[at] > 0.5
        return fragments.take(kept)

    @staticmethod
    def _texel(fragments: Fragments, layer: Layer, first: int) -> Indices:
        """Return the texture's place of each fragment of a layer whose triangles begin at `first`."""
        at = Fragments(fragments.pixel, fragments.face - first, fragments.weight, fragments.depth).blend(layer.at)
        high, wide = layer.texture.open.shape
        row, column = (at + 0.5).astype(np.int64).T
        place: Indices = np.minimum(row, high - 1) * wide + np.minimum(column, wide - 1)
        return place

    def _shade(self, visible: Fragments, face: Array, irises: Array, pose: Pose) -> Array:
        """Return the linear light, then as stored, of all visible fragments: (N, 3)."""
        order = np.searchsorted(np.asarray(self._first_face), visible.face, side="right") - 1
        made = np.empty((len(visible.face), 8), np.float32)
        is_skin = np.zeros(len(visible.face), np.float32)
        for i, layer in enumerate(self._layers):
            chosen = np.flatnonzero(order == i)
            part = visible.take(chosen)
            made[chosen] = self._texels[self._first_texel[i] + self._texel(part, layer, self._first_face[i])]
            is_skin[chosen] = layer.is_skin
        shine = self._fill_slits(visible, made, is_skin, face, irises, pose)
        share = {"neck": _NECK_SHARE, "torso": 0.0}
        for i, layer in enumerate(self._layers):
            chosen = np.flatnonzero(order == i)
            turn = rotation(pose, share.get(layer.name, 1.0))
            normal = made[chosen, 3:6] @ turn.T
            if layer.both_sides:
                back = normal[:, 2] < -0.2
                made[chosen[back], :3] *= 0.45
                normal[normal[:, 2] < 0] *= (1, 1, -1)
            made[chosen, 3:6] = normal
        bright = shade(made[:, :3], made[:, 3:6], made[:, 6], made[:, 7], is_skin, self.looks.light)
        bright += shine[:, None]
        return developed(bright, self.looks.light.exposure)

    def _fill_slits(  # noqa: PLR0917
        self, visible: Fragments, made: Array, is_skin: Array, face: Array, irises: Array, pose: Pose
    ) -> Array:
        """Put eyeballs and the mouth's inside in place of skin in `made`; return the lamps' reflections (N,)."""
        looks, shine = self.looks, np.zeros(len(made), np.float32)
        columns = self.face.grid[1]
        eyes, mouth = self.face.strips()
        front = np.flatnonzero(np.cos(self.face.places.angle[:columns]) > 0.3)
        rows = face.reshape(*self.face.grid, 3)[:, front]

        def slit(row: int) -> inside.Slit:
            return inside.Slit(rows[row, :, 0], rows[row, :, 1], rows[row + 1, :, 1])

        corners = face[self.face.faces]

        def chosen(numbers: Indices) -> tuple[Indices, Array]:
            found = np.flatnonzero(np.isin(visible.face, numbers))
            return found, visible.take(found).blend(corners)

        found, at = chosen(eyes)
        lids = slit(self.face.slits[0])
        radius = IRIS * looks.shape.eye_size
        inner = self.face.corners()
        for i, side in enumerate((-1, 1)):
            mine = np.sign(at[:, 0]) == side
            x, y, where = at[mine, 0], at[mine, 1], found[mine]
            painted = inside.paint_eye(x, y, lids, irises[i], radius, inner[i], looks.skin)
            made[where, :3], made[where, 3:6], made[where, 6], made[where, 7] = painted
            is_skin[where] = 0.3
            shine[where] = 0.8 * inside.highlight(x, y, irises[i], radius, looks.light.key) * (made[where, 6] > 0.45)
        found, at = chosen(mouth)
        if len(found):
            away = -rotation(pose)[2]
            drop = strengths(pose, 1.0)["jaw"] * 0.48
            line = float(self.face.mouth_line())
            painted_mouth = inside.paint_mouth(
                at[:, 0], at[:, 1], slit(self.face.slits[1]), line, drop, -away[:2] / away[2], looks.teeth
            )
            made[found, :3], made[found, 6] = painted_mouth
            made[found, 3:6], made[found, 7] = (0, 0, 1), 0.25
            is_skin[found] = 0.5
        return shine


def _grid_layer(name: str, texture: Texture, mesh: tuple[int, int], both_sides: bool, is_skin: bool) -> Layer:
    high, wide = texture.open.shape
    row, column = np.meshgrid(
        np.linspace(0, high - 1, mesh[0]), np.linspace(0, wide - 1, mesh[1]), indexing="ij"
    )
    at = np.stack([row, column], -1).reshape(-1, 2).astype(np.float32)
    faces = grid_faces(*mesh)
    return Layer(name, texture, at[faces], faces, both_sides, is_skin)


def _follow(place: Array, name: str, pose: Pose) -> Array:
    """Return neck, torso or hair after the head has turned: the further down, the less they go along."""
    y = place[:, 1:2]
    if name == "torso":
        share = np.zeros_like(y)
    elif name == "neck":
        share = smooth(y, 1.15, 0.35)
    else:
        share = 1 - 0.45 * smooth(y, 0.5, 1.3)
    still = place - np.array([0.5 * pose.sway[0], 0.4 * pose.sway[1], 0], np.float32)
    return np.asarray(still + (turned(place, pose) - still) * share, np.float32)
