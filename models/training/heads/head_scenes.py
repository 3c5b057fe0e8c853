"""Camera frames that never were: labelled portraits set small into wide pictures of other things.

What must not give a face away is made common without one: edges of pasted pieces, ovals, the colour of skin.
A scene follows from the faces and its generator alone: a run that goes on sees what it would have seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from models.training.heads.head_faces import SIDE, Boxes, Faces
from shared.keypoints import Floats, Pictures

SHAPES = ((72, 128), (96, 128), (128, 128), (128, 72))
"""Heights and widths of scenes: the usual cameras, squares and telephones held upright."""
_MAX_FACE, _MIN_FACE = 82.0, 8.0
_MARGIN = 1.45
"""A face and what belongs to it, hair and ears and chin, in face widths and heights."""
_TABLE = np.arange(256, dtype=np.float32)


@dataclass(frozen=True)
class Scene:
    """A picture (H, W, 3), uint8 RGB, and the faces in it, (F, 3) float32: x, y and size in pixels."""

    picture: Pictures
    faces: Floats


class Scenes:
    """Makes scenes from `faces`."""

    def __init__(self, faces: Faces) -> None:
        self._faces = faces

    def make(self, shape: tuple[int, int], random: np.random.Generator) -> Scene:
        """Return a scene of `shape` (height, width) with none, one or two faces in it."""
        if random.random() < 0.15:
            canvas, found = self._close_up(shape, random)
        else:
            canvas, found = self._room(shape, random)
        faces = np.array(found, np.float32).reshape(-1, 3)
        picture = np.clip(canvas, 0, 255).astype(np.uint8)
        if random.random() < 0.5:
            picture = np.ascontiguousarray(picture[:, ::-1])
            faces[:, 0] = shape[1] - faces[:, 0]
        return Scene(filmed(picture, random), faces)

    def _room(self, shape: tuple[int, int], random: np.random.Generator) -> tuple[Floats, list[Floats]]:
        """Return a background with things and people in it, and the people's faces."""
        canvas = self._background(shape, random)
        for _ in range(random.integers(0, 3)):
            self._add_piece(canvas, random)
        found: list[Floats] = []
        for _ in range(random.choice(3, p=(0.25, 0.58, 0.17))):
            placed = self._add_person(canvas, random, found)
            if placed is not None:
                found.append(placed)
        return canvas, found

    def _close_up(self, shape: tuple[int, int], random: np.random.Generator) -> tuple[Floats, list[Floats]]:
        """Return a canvas that one portrait fills wholly, and its face."""
        index = int(random.integers(len(self._faces)))
        picture, box = self._faces.pictures[index], self._faces.boxes[index]
        side = round(max(shape) * random.uniform(1.0, 1.3))
        whole = cv2.resize(picture, (side, side), interpolation=cv2.INTER_LINEAR)
        left = int(np.clip(box[0] * side - shape[1] * random.uniform(0.35, 0.65), 0, side - shape[1]))
        top = int(np.clip(box[1] * side - shape[0] * random.uniform(0.4, 0.6), 0, side - shape[0]))
        size = float(np.sqrt(box[2] * box[3])) * side
        face = np.array([box[0] * side - left, box[1] * side - top, size], np.float32)
        return np.asarray(whole[top : top + shape[0], left : left + shape[1]], np.float32), [face]

    def _background(self, shape: tuple[int, int], random: np.random.Generator) -> Floats:
        """Return a canvas (H, W, 3) float32 in [0, 255]: pieces of rooms, shades and shapes."""
        kind = random.random()
        if kind < 0.4:
            canvas = self._piece(shape, random)
        elif kind < 0.6:
            canvas = shaded(shape, random)
        else:
            picture = self._faces.pictures[int(random.integers(len(self._faces)))]
            canvas = (scrambled if kind < 0.8 else shuffled)(picture, shape, random)
        for _ in range(random.integers(0, 6)):
            draw_shape(canvas, random)
        if random.random() < 0.3:
            canvas = np.asarray(cv2.GaussianBlur(canvas, (0, 0), random.uniform(0.5, 4)), np.float32)
        return canvas

    def _piece(self, shape: tuple[int, int], random: np.random.Generator) -> Floats:
        """Return a part of a picture that holds no part of its face, stretched to `shape`."""
        index = int(random.integers(len(self._faces)))
        left, top, right, bottom = _faceless(self._faces.boxes[index], random)
        part = self._faces.pictures[index][top:bottom, left:right]
        if random.random() < 0.5:
            # Mirrored, so that it fills the picture without being stretched out of shape.
            part = np.concatenate([part, part[:, ::-1]], 1)
        return np.asarray(cv2.resize(part, shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)

    def _add_piece(self, canvas: Floats, random: np.random.Generator) -> None:
        """Lay a faceless part of a picture into the canvas, with such edges as people get."""
        side = int(random.uniform(12, 90))
        piece = self._piece((side, side), random)
        if random.random() < 0.4:
            piece = self._background((side, side), random)
        x, y = random.uniform(0, canvas.shape[1]), random.uniform(0, canvas.shape[0])
        box = np.array([0.5, 0.5, 0.45, 0.6], np.float32)
        left, top = round(x - side / 2), round(y - side / 2)
        blend(canvas, piece, mask_of(side, box, random), left, top)
        if random.random() < 0.4:
            _continue_body(canvas, left, top + side, side)

    def _add_person(self, canvas: Floats, random: np.random.Generator, others: list[Floats]) -> Floats | None:
        """Lay a person into the canvas; return the face's x, y and size, None where there was no room."""
        height, width = canvas.shape[:2]
        index = int(random.integers(len(self._faces)))
        picture, box = self._faces.pictures[index], self._faces.boxes[index]
        share = float(np.sqrt(box[2] * box[3]))
        most = min(_MAX_FACE, 0.72 * min(height, width)) if others == [] else 0.3 * max(height, width)
        size = float(np.exp(random.uniform(np.log(_MIN_FACE), np.log(most))))
        side = max(8, round(size / share))
        x = random.uniform(0.35 * size, width - 0.35 * size)
        y = random.uniform(0.45 * size, height - 0.45 * size)
        if any(np.hypot(x - o[0], y - o[1]) < 1.3 * max(size, o[2]) for o in others):
            return None
        turned, (u, v) = turn(picture, (float(box[0]), float(box[1])), random.normal(0, 9))
        piece = np.asarray(cv2.resize(turned, (side, side), interpolation=cv2.INTER_AREA), np.float32)
        left, top = round(x - u * side), round(y - v * side)
        mask = mask_of(side, np.array([u, v, box[2], box[3]], np.float32), random)
        piece = recoloured(piece, random)
        blend(canvas, piece, mask, left, top)
        if random.random() < 0.7:
            _continue_body(canvas, left, top + side, side)
        return np.array([left + u * side, top + v * side, size], np.float32)


def _faceless(box: Boxes, random: np.random.Generator) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom, in pixels, of a part of a picture next to, above or below its face."""
    left, right = box[0] - _MARGIN * box[2] / 2, box[0] + _MARGIN * box[2] / 2
    top, bottom = box[1] - _MARGIN * box[3] / 2, box[1] + 0.6 * box[3]
    parts = [(0.0, 0.0, left, 1.0), (right, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, top), (0.0, bottom, 1.0, 1.0)]
    roomy = [part for part in parts if part[2] - part[0] > 0.1 and part[3] - part[1] > 0.1]
    if not roomy:
        return 0, 0, 12, 12
    chosen = np.array(roomy[int(random.integers(len(roomy)))])
    a, b, c, d = np.clip(np.round(chosen * SIDE), 0, SIDE).astype(int)
    return int(a), int(b), int(c), int(d)


def _continue_body(canvas: Floats, left: int, top: int, side: int) -> None:
    """Go on downwards with the lowest row of a person, who would end in mid air."""
    first, last = max(left, 0), min(left + side, canvas.shape[1])
    if first < last and 0 < top < canvas.shape[0]:
        canvas[top:, first:last] = cv2.blur(canvas[top - 1 : top, first:last], (5, 1))


def turn(
    picture: Pictures, centre: tuple[float, float], degrees: float
) -> tuple[Pictures, tuple[float, float]]:
    """Turn `picture` (S, S, 3) about its middle; return it and where `centre`, in fractions, has gone."""
    side = picture.shape[0]
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), degrees, 1.0)
    turned = cv2.warpAffine(picture, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
    x, y = matrix @ np.array([centre[0] * side, centre[1] * side, 1.0])
    return np.asarray(turned, np.uint8), (float(x) / side, float(y) / side)


def mask_of(side: int, box: Boxes, random: np.random.Generator) -> Floats:
    """Return how much (S, S), 0 to 1, a person covers: the whole square, hard or soft, or head and body."""
    if random.random() < 0.3:
        return np.ones((side, side), np.float32)
    mask = np.zeros((side, side), np.float32)
    if random.random() < 0.5:
        inset = int(random.uniform(0.02, 0.2) * side)
        mask[inset:, inset : side - inset] = 1
    else:
        x, y, wide, high = (float(value) * side for value in box)
        axes = tuple(max(1, round(random.uniform(1.25, 2.2) * extent / 2)) for extent in (wide, high))
        cv2.ellipse(mask, (round(x), round(y - 0.06 * high)), axes, 0, 0, 360, 1.0, -1)
        neck, shoulder = y + 0.5 * high, y + random.uniform(0.65, 1.0) * high
        spread = random.uniform(1.0, 2.0) * wide
        body = [
            (x - 0.4 * wide, neck - 0.2 * high),
            (x + 0.4 * wide, neck - 0.2 * high),
            (x + spread, shoulder),
        ]
        body += [(x + spread, 2 * side), (x - spread, 2 * side), (x - spread, shoulder)]
        cv2.fillPoly(mask, [np.array(body, np.int32)], 1.0)
    soft = random.uniform(0.01, 0.06) * side
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), max(soft, 0.3), borderType=cv2.BORDER_REPLICATE))


def blend(canvas: Floats, piece: Floats, mask: Floats, left: float, top: float) -> None:
    """Lay `piece` (S, S, 3) over `canvas`, as far as `mask` (S, S) says, with its corner at left, top."""
    x, y = round(left), round(top)
    side = len(piece)
    first, last = max(x, 0), min(x + side, canvas.shape[1])
    upper, lower = max(y, 0), min(y + side, canvas.shape[0])
    if first >= last or upper >= lower:
        return
    part = (slice(upper - y, lower - y), slice(first - x, last - x))
    weight = mask[part][..., None]
    there = canvas[upper:lower, first:last]
    there += weight * (piece[part] - there)


def scrambled(picture: Pictures, shape: tuple[int, int], random: np.random.Generator) -> Floats:
    """Return a texture (H, W, 3) with the spectrum of `picture` (S, S, 3) and nothing of its contents."""
    side = len(picture)
    zoom = int(random.choice((32, 64, side)))
    phases = np.exp(1j * np.angle(np.fft.rfft2(random.normal(0, 1, (zoom, zoom)))))[..., None]
    spectrum = np.abs(np.fft.rfft2(picture[:zoom, -zoom:].astype(np.float32), axes=(0, 1)))
    spectrum[0, 0] = 0
    texture = np.fft.irfft2(spectrum * phases, s=(zoom, zoom), axes=(0, 1)).astype(np.float32)
    around = picture.mean((0, 1)) + random.uniform(0.7, 1.5) * texture
    return np.asarray(cv2.resize(around.astype(np.float32), shape[::-1], interpolation=cv2.INTER_LINEAR))


def shuffled(picture: Pictures, shape: tuple[int, int], random: np.random.Generator) -> Floats:
    """Return the tiles of `picture` (S, S, 3) in another order (H, W, 3): eyes and mouths, but no face."""
    many = int(random.choice((5, 6, 8, 10)))
    tile = SIDE // many
    tiles = picture[: tile * many, : tile * many].reshape(many, tile, many, tile, 3).swapaxes(1, 2)
    mixed = tiles.reshape(many * many, tile, tile, 3)[random.permutation(many * many)]
    whole = mixed.reshape(many, many, tile, tile, 3).swapaxes(1, 2).reshape(many * tile, many * tile, 3)
    rows = max(tile, whole.shape[0] * shape[0] // max(shape))
    return np.asarray(cv2.resize(whole[:rows], shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def shaded(shape: tuple[int, int], random: np.random.Generator) -> Floats:
    """Return a wall (H, W, 3): a colour, often that of skin, that slopes and wavers."""
    colour = _skin(random) if random.random() < 0.3 else random.uniform(0, 255, 3)
    coarse = random.normal(0, 1, (int(random.integers(2, 9)), int(random.integers(2, 12)), 3))
    if random.random() < 0.7:
        coarse = coarse.mean(2, keepdims=True).repeat(3, 2)
    waves = cv2.resize(coarse.astype(np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(colour + random.uniform(5, 60) * waves, np.float32)


def draw_shape(canvas: Floats, random: np.random.Generator) -> None:
    """Draw a box, an oval or a stroke of one colour."""
    height, width = canvas.shape[:2]
    x, y = int(random.uniform(0, width)), int(random.uniform(0, height))
    a, b = int(random.uniform(2, width / 3)), int(random.uniform(2, height / 3))
    colour = tuple((_skin(random) if random.random() < 0.3 else random.uniform(0, 255, 3)).tolist())
    kind = random.random()
    if kind < 0.4:
        cv2.rectangle(canvas, (x - a, y - b), (x + a, y + b), colour, -1)
    elif kind < 0.75:
        cv2.ellipse(canvas, (x, y), (a, b), random.uniform(0, 180), 0, 360, colour, -1)
    else:
        cv2.line(canvas, (x, y), (x + a, y - b), colour, int(random.integers(1, 8)))


def _skin(random: np.random.Generator) -> Floats:
    """Return a colour (3,) of some skin in some light."""
    tint = np.array([1.0, random.uniform(0.65, 0.85), random.uniform(0.45, 0.75)], np.float32)
    return np.asarray(random.uniform(60, 250) * tint, np.float32)


def recoloured(piece: Floats, random: np.random.Generator) -> Floats:
    """Return `piece` in another light than its surroundings: a tint and a brightness of its own, or grey."""
    if random.random() < 0.15:
        piece = piece.mean(2, keepdims=True).repeat(3, 2)
    gain = random.normal(1, 0.12) * random.normal(1, 0.05, 3)
    return np.asarray(piece * gain + random.normal(0, 8), np.float32)


def filmed(picture: Pictures, random: np.random.Generator) -> Pictures:
    """Return `picture` as a camera may give it: dark or bright, tinted, grey, soft, noisy, compressed."""
    gamma = float(np.exp(random.normal(0, 0.35)))
    low, high = random.uniform(0, 25), random.uniform(150, 290)
    curve = low + (high - low) * (_TABLE / 255) ** gamma
    tint = random.normal(1, 0.07, 3)
    tables = np.clip(curve[:, None] * tint, 0, 255).astype(np.uint8)
    out = np.stack([tables[:, channel][picture[..., channel]] for channel in range(3)], 2)
    if random.random() < 0.2:
        out = out.mean(2, keepdims=True).astype(np.uint8).repeat(3, 2)
    if random.random() < 0.3:
        out = np.asarray(cv2.GaussianBlur(out, (0, 0), random.uniform(0.3, 1.2)), np.uint8)
    if random.random() < 0.4:
        noise = random.normal(0, random.uniform(1, 12), out.shape)
        out = np.clip(out + noise, 0, 255).astype(np.uint8)
    if random.random() < 0.2:
        _, data = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(25, 90))])
        out = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(out)
