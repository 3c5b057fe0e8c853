"""Decoded frames as pictures: square pixels, upright, in the colours that a player shows."""

from __future__ import annotations

import math
import struct
from fractions import Fraction

import av
import numpy as np
from av.sidedata.sidedata import SideData
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from PIL import Image

from shared.keypoints import Pictures
from shared.media.picture import to_rgb
from shared.media.video import tone

MAX_SIDE = 8192
_MAX_STRETCH = 8
_UNTOLD = 2
# From so many rows or columns on, players take colours that are not told for BT.709.
_HD_ROWS, _HD_COLUMNS = 720, 1280
_MATRIX = struct.Struct("=9i")
Matrix = tuple[float, float, float, float]


class Converter:
    """Makes pictures of the frames of one file. One thread owns it."""

    def __init__(self) -> None:
        # One for all frames: each takes many megabytes for a large frame.
        self._inner = VideoReformatter()
        self._matrices: dict[tuple[int, int, int], Matrix | None] = {}

    def picture(self, frame: av.VideoFrame, aspect: Fraction | None = None) -> Pictures:
        """Return the whole of `frame` as (H, W, 3), uint8 RGB; `aspect` is a pixel's width by its height."""
        size = _square_pixels(frame.width, frame.height, aspect)
        if any(part.is_alpha for part in frame.format.components):
            whole = _converted(self._inner, frame, size, "rgba").to_ndarray()
            picture = np.asarray(to_rgb(Image.fromarray(np.asarray(whole))), np.uint8)
        else:
            picture = np.asarray(_converted(self._inner, frame, size, "rgb24").to_ndarray(), np.uint8)
        if tone.is_beyond(frame.color_trc, frame.color_primaries):
            picture = tone.shown(picture, frame.color_trc, frame.color_primaries)
        return _upright(picture, self._matrix(frame))

    def _matrix(self, frame: av.VideoFrame) -> Matrix | None:
        # Whoever asks a frame for its side data ties the two together until garbage is collected, which takes
        # gigabytes of frames; the angle alone costs nothing.
        key = frame.width, frame.height, frame.rotation
        if key not in self._matrices:
            self._matrices[key] = _display_matrix(frame)
        return self._matrices[key]


def _converted(
    converter: VideoReformatter, frame: av.VideoFrame, size: tuple[int, int], kind: str
) -> av.VideoFrame:
    coded: dict[str, int] = {}
    if not frame.format.is_rgb and frame.colorspace == _UNTOLD:
        is_hd = frame.height >= _HD_ROWS or frame.width >= _HD_COLUMNS
        coded["src_colorspace"] = Colorspace.ITU709 if is_hd else Colorspace.ITU601
    if not frame.format.is_rgb and frame.color_range:
        coded["src_color_range"] = frame.color_range
    return converter.reformat(frame, *size, kind, dst_color_range=ColorRange.JPEG, **coded)


def _square_pixels(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """Return the size at which pixels of `aspect` are square; as it is where that says nothing sensible."""
    if not aspect or not 1 / _MAX_STRETCH <= aspect <= _MAX_STRETCH:
        return width, height
    wide = max(1, round(width * aspect))
    # Enlarged rather than reduced, so that nothing is lost, but for what would be too large.
    return (wide, height) if wide <= MAX_SIDE else (width, max(1, round(height / aspect)))


def _display_matrix(frame: av.VideoFrame) -> Matrix | None:
    """Return where the matrix takes one pixel to the right and one down, (x, y) each; None without one."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(data, SideData):
        return None
    a, b, _, c, d, *_ = _MATRIX.unpack(bytes(data)[: _MATRIX.size])
    return a, b, c, d


def _upright(picture: Pictures, matrix: Matrix | None) -> Pictures:
    """Turn and mirror by the nearest multiple of 90 degrees."""
    if matrix is None:
        return picture
    a, b, c, d = matrix
    if a * d - b * c < 0:
        # Mirrored: as if its columns had run the other way.
        picture, a, b = picture[:, ::-1], -a, -b
    turns = round(math.atan2(b, a) / (math.pi / 2)) % 4
    return np.ascontiguousarray(np.rot90(picture, -turns))
