"""All of a person as textured meshes, one layer each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from shared.portrait import body, glasses, hair, skin
from shared.portrait.arrays import Array, linear, mix, noise, smooth
from shared.portrait.face import Face
from shared.portrait.head import average
from shared.portrait.looks import Looks
from shared.portrait.mesh import Indices, Texture, grid_faces

Flags = npt.NDArray[np.bool_]
HEAD, NECK, TORSO, HAIR = "head", "neck", "torso", "hair"


@dataclass(frozen=True, eq=False)
class Layer:
    """A mesh with its texture.

    `faces` (F, 3) are numbers of vertices, `at` (V, 2) the vertices' rows and columns in the texture, `place`
    (V, 3) where they are at rest, None for the face, which moves. `both_sides` (F,) are triangles that show
    from behind too, `cut` (F,) those that the texture's alpha cuts through.
    """

    name: str
    texture: Texture
    faces: Indices
    at: Array
    place: Array | None
    both_sides: Flags
    skin: float = 0.0
    cut: Flags | None = None


def build(looks: Looks, face: Face) -> list[Layer]:
    """Return the layers of one person; the face's own is the first."""
    shape = looks.shape
    count = face.grid[0] * face.grid[1]
    at = np.stack([skin.rows_of(face.places.row[:count]), skin.columns_of(face.places.angle[:count])], -1)
    faces = face.faces[_bare(looks, face)]
    layers = [Layer(HEAD, _skin(looks), faces, at, None, np.zeros(len(faces), bool), skin=1.0)]
    if not hair.covers_ears(looks.hair):
        for side in (-1, 1):
            ear = body.ear(side, shape.ears, *body.EAR_MESH, shape.width)
            layers.append(_grid("ear", body.paint_ear(side, looks.skin), ear, both_sides=True, skin=1.0))
    neck = body.neck(shape, *body.NECK_MESH)
    layers.append(_grid(NECK, body.paint_neck(shape, looks.skin), neck, skin=1.0))
    torso = body.torso(looks.clothes, *body.TORSO_MESH)
    layers.append(_grid(TORSO, body.paint_torso(looks.skin, looks.clothes), torso))
    if looks.glasses.worn:
        layers.append(_glasses(looks, face))
    if looks.hair.style != "bald":
        mesh = hair.mesh(shape, looks.hair)
        shell = _grid(HAIR, hair.paint(shape, looks.hair), mesh)
        # Below the skull the far side is seen from inside.
        below = shell.place[shell.faces, 1].max(1) > 0 if shell.place is not None else shell.both_sides
        layers.append(_without_gaps(replace(shell, both_sides=below)))
    return layers


def _bare(looks: Looks, face: Face) -> Flags:
    """Return which of the face's triangles (F,) can be seen: all but those deep under the hair."""
    if looks.hair.style in ("bald", "buzz"):
        return np.ones(len(face.faces), bool)
    angle, row = face.places.angle, face.places.row
    inside = hair.cover(angle, average(angle, row)[1], looks.hair)
    shown: Flags = (inside[face.faces].min(1) < 0.16) | (row[face.faces].max(1) > hair.SHELL)
    return shown


def _grid(name: str, texture: Texture, place: Array, both_sides: bool = False, skin: float = 0.0) -> Layer:
    """Return the layer of a mesh over a grid (rows, columns, 3), its texture spread over all of it."""
    (high, wide), (rows, columns) = texture.open.shape, place.shape[:2]
    row, column = np.meshgrid(
        np.linspace(0, high - 1, rows), np.linspace(0, wide - 1, columns), indexing="ij"
    )
    at = np.stack([row, column], -1).reshape(-1, 2).astype(np.float32)
    faces = grid_faces(rows, columns)
    return Layer(name, texture, faces, at, place.reshape(-1, 3), np.full(len(faces), both_sides), skin)


def _without_gaps(layer: Layer) -> Layer:
    """Return the layer without the faces that are clear all over, and say which are in part."""
    alpha = layer.texture.alpha
    assert alpha is not None
    # A sum over all above and left gives the sum over a face's box.
    total = np.pad(np.cumsum(np.cumsum(alpha, 0), 1), ((1, 0), (1, 0)))
    at = layer.at[layer.faces]
    low = np.floor(at.min(1)).astype(np.int64)
    high = np.minimum(np.ceil(at.max(1)).astype(np.int64) + 1, alpha.shape)
    (r0, c0), (r1, c1) = low.T, high.T
    filled = total[r1, c1] - total[r0, c1] - total[r1, c0] + total[r0, c0]
    share = filled / ((r1 - r0) * (c1 - c0))
    kept = share > 0
    both = layer.both_sides[kept]
    return replace(layer, faces=layer.faces[kept], both_sides=both, cut=share[kept] < 1)


def _glasses(looks: Looks, face: Face) -> Layer:
    place, faces = glasses.frame(looks.glasses, face)
    colour = np.ones((2, 2, 1), np.float32) * linear(looks.glasses.colour)
    normal = np.zeros((2, 2, 3), np.float32) + np.array([0.0, -0.35, 0.94], np.float32)
    flat = np.ones((2, 2), np.float32)
    texture = Texture(colour, normal, flat, looks.glasses.gloss * flat)
    at = np.zeros((len(place), 2), np.float32)
    return Layer("glasses", texture, faces, at, place, np.ones(len(faces), bool))


def _skin(looks: Looks) -> Texture:
    """Return the head's skin, darker under the hair and near it, where single hairs grow."""
    texture = skin.paint(looks.skin, looks.shape, looks.light.key)
    style = looks.hair
    if style.style == "bald":
        return texture
    angle, row = skin.grid()
    _, y = average(angle, row)
    inside = hair.cover(angle, y, style)
    thick = min(1.0, (style.top + style.sides) / 0.10)
    shadow = 1 - 0.45 * thick * smooth(inside, -0.075, 0.0)
    colour = texture.albedo
    if style.style != "hat":
        hairs = smooth(noise(np.random.default_rng(style.seed), skin.SIZE, (2.0, 0.7)), 0.0, 1.2)
        single = smooth(inside, -0.030, 0.012) * (0.35 + 0.65 * hairs) * smooth(y, 0.16, 0.02)
        colour = mix(colour, linear(style.colour), 0.8 * np.clip(single, 0, 1))
    return replace(texture, albedo=colour, open=texture.open * shadow)
