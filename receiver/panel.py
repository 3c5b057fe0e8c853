"""The live figures on the window's picture: a line of text and a strip of the newest frames' kinds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from receiver.latency import latency_text
from receiver.live import STRIP_FRAMES
from shared.keypoints import Pictures
from shared.runtime.sampler import Figures, number

_HEIGHT = 46
_MARGIN = 10
_FONT_PIXELS = 15
_BACKDROP = 0.4
"""Share of the picture left behind the figures."""
KEYS = "o: these figures   s: save the picture   q: end"
CALL_KEYS = "m: mute   v: hold   p: self-view   o: figures   s: save   q: end"
"""Where the end sends as well."""
_INK = (235, 235, 235)
_STATES = {
    "live": (110, 215, 120), "forecasting": (245, 200, 70), "stalled": (245, 95, 80),
    "connecting": (110, 190, 245), "listening": (110, 190, 245), "on hold": (245, 200, 70),
}  # fmt: skip
# Height of a bar as a share, and its colour: what is known stands higher than what is guessed.
_BARS = {
    "o": (1.0, (110, 215, 120)), "i": (0.7, (110, 190, 245)), "f": (0.45, (245, 200, 70)),
    "h": (0.2, (245, 95, 80)),
}  # fmt: skip
_BAR_PIXELS, _BARS_TOP, _BARS_HEIGHT = 4, 30, 10


class Panel:
    """Draws figures on pictures `width` pixels wide; what has not changed is not drawn anew."""

    def __init__(self, width: int) -> None:
        self._width = width
        self.keys = KEYS
        self._font = ImageFont.load_default(_FONT_PIXELS)
        self._drawn: Figures = {}
        self._ink: npt.NDArray[np.float32] = np.zeros((_HEIGHT, width, 3), np.float32)
        self._cover: npt.NDArray[np.float32] = np.zeros((_HEIGHT, width, 1), np.float32)

    def draw(self, picture: Pictures, figures: Figures) -> None:
        """Draw `figures` (see `receiver.live`) on the top of `picture` (H, width, 3) uint8, in place."""
        if figures is not self._drawn:
            self._drawn = figures
            self._ink, self._cover = self._layer(figures)
        behind = picture[:_HEIGHT].astype(np.float32) * _BACKDROP
        picture[:_HEIGHT] = np.rint(behind + self._cover * (self._ink - behind)).astype(np.uint8)

    def _layer(self, figures: Figures) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return colours (46, width, 3) in [0, 255] and how much of each pixel they cover (46, width, 1)."""
        layer = Image.new("RGBA", (self._width, _HEIGHT))
        draw = ImageDraw.Draw(layer)
        state = str(figures["state"])
        hue = _STATES.get(state, _INK)
        draw.text((_MARGIN, 7), state, fill=hue, font=self._font)
        left = 2 * _MARGIN + round(draw.textlength(state, font=self._font))
        beside = self.keys if state == "listening" else words(figures)
        draw.text((left, 7), beside, fill=_INK, font=self._font)
        for index, letter in enumerate(str(figures["strip"])[-STRIP_FRAMES:]):
            share, colour = _BARS[letter]
            left, foot = _MARGIN + index * _BAR_PIXELS, _BARS_TOP + _BARS_HEIGHT
            top = foot - round(share * _BARS_HEIGHT)
            draw.rectangle((left, top, left + _BAR_PIXELS - 2, foot), fill=colour)
        drawn = np.asarray(layer, np.float32)
        return drawn[..., :3], drawn[..., 3:] / np.float32(255)


def words(figures: Figures) -> str:
    """Return what stands next to the state."""
    latency = None if figures["latency_ms"] is None else number(figures, "latency_ms")
    return (
        f"{figures['fps_shown']:.0f} fps   {latency_text(latency, number(figures, 'clocks_apart_s'))}   "
        f"{figures['wire_up_kbps']:.1f} kbps (keypoints {figures['payload_kbps']:.1f})   "
        f"loss {figures['loss_percent']:.0f} %"
    )
