"""Colours beyond BT.709 as an ordinary screen shows them: PQ and HLG tone-mapped, BT.2020 brought to BT.709.

FFmpeg's own conversion takes seconds to begin, and `zscale` is not in every build; a table of 65^3 colours
is made in a moment, and Pillow applies it.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from shared.keypoints import Pictures

PQ, HLG = 16, 18
"""Transfer characteristics, and below primaries, by their numbers in ITU-T H.273."""
BT2020 = 9
WHITE_NITS, PEAK_NITS = 203.0, 1000.0
"""Reference white (ITU-R BT.2408), and what files without a word about it are mastered for."""
_SIDE = 65
_TO_709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float64
)
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593])
_M1, _M2, _C1, _C2, _C3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
Doubles = npt.NDArray[np.float64]


def is_beyond(transfer: int, primaries: int) -> bool:
    """Say whether colours so coded need `shown`."""
    return transfer in (PQ, HLG) or primaries == BT2020


def shown(picture: Pictures, transfer: int, primaries: int) -> Pictures:
    """Return `picture` (H, W, 3), uint8 RGB as coded, with the colours that a screen of BT.709 shows."""
    return np.array(Image.fromarray(picture).filter(_table(transfer, primaries)), np.uint8)


@cache
def _table(transfer: int, primaries: int) -> ImageFilter.Color3DLUT:
    steps = np.linspace(0, 1, _SIDE)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    colours = mapped(np.stack([red, green, blue], -1).reshape(-1, 3), transfer, primaries)
    return ImageFilter.Color3DLUT(_SIDE, colours.astype(np.float32).ravel())


def mapped(colours: Doubles, transfer: int, primaries: int) -> Doubles:
    """Return `colours` (N, 3), RGB as coded, 0 to 1, as BT.709 codes what is seen of them."""
    light = _light(colours, transfer)
    if primaries == BT2020:
        light = np.maximum(light @ _TO_709.T, 0)
    if transfer in (PQ, HLG):
        most = light.max(1, keepdims=True)
        # The ratio of the channels is the hue, which stays.
        light = light * np.divide(_compressed(most), most, out=np.zeros_like(most), where=most > 0)
    return np.asarray(np.clip(light, 0, 1) ** (1 / 2.4), np.float64)


def _light(colours: Doubles, transfer: int) -> Doubles:
    """Return linear light, 1 for the reference white."""
    if transfer == PQ:
        return _nits(colours) / WHITE_NITS
    if transfer == HLG:
        # ITU-R BT.2100: inverse OETF, then the OOTF of a display of 1000 nits.
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(colours <= 0.5, colours**2 / 3, (np.exp((colours - c) / a) + b) / 12)
        return np.asarray(PEAK_NITS / WHITE_NITS * scene * (scene @ _LUMA_2020)[:, None] ** 0.2)
    return np.asarray(colours**2.4)


def _compressed(light: Doubles) -> Doubles:
    """Bring up to `PEAK_NITS` into what a screen shows, by the curve of ITU-R BT.2390 (5.4.1)."""
    peak = _pq(np.array(PEAK_NITS))
    coded = np.minimum(_pq(light * WHITE_NITS) / peak, 1)
    most = float(_pq(np.array(WHITE_NITS)) / peak)
    knee = 1.5 * most - 0.5
    t = np.maximum(coded - knee, 0) / (1 - knee)
    bent = (
        (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * most
    )
    return _nits(np.where(coded < knee, coded, bent) * peak) / WHITE_NITS


def _pq(nits: Doubles) -> Doubles:
    """Return the code of SMPTE ST 2084 for so much light."""
    power = (nits / 10000) ** _M1
    return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2)


def _nits(code: Doubles) -> Doubles:
    power = code ** (1 / _M2)
    return np.asarray(10000 * (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1))
