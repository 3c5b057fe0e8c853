"""Cost of generative face video messages next to this project's own packets, for the same frames.

Every frame is sent, in either. The error in the picture is what rendering takes harm by: the mean absolute
difference, in [0, 1], between frames rendered from the keypoints that arrive and from the true ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.gfv.motion import MAX_BITS, points_of, restored, to_messages
from bench.gfv.stream import LAYOUTS, write_stream
from bench.harness.clip_set import spread
from bench.harness.metrics import mae
from bench.harness.report import Row
from bench.harness.simulate import render_all
from sender.presets import Sending, frames_per_message, make_codec
from shared.codec.keypoint_codec import Block, Codec
from shared.codec.packet import KeypointPacket
from shared.codec.tables import CodecTables
from shared.constants import FPS
from shared.interfaces import Backbone
from shared.keypoints import Floats, Pictures

COLUMNS = (
    "carried_by", "bits", "bytes_per_second", "messages_bytes_per_second", "point_rms", "matrix_rms",
    "picture_error", "picture_bytes",
)  # fmt: skip
_RENDERED = 24


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip to compare on: its first picture (256, 256, 3), and the keypoints (T, D) of all its frames."""

    backbone: Backbone
    picture: Pictures
    keypoints: Floats
    crf: int


class Comparison:
    """Rows for one clip; frames are rendered from the true keypoints once."""

    def __init__(self, clip: Clip) -> None:
        self._clip = clip
        self._shown = spread(0, len(clip.keypoints) - 1, _RENDERED)
        self._source = clip.backbone.encode(clip.picture)
        self._truth = self._render(clip.keypoints)

    def rows(self, tables: CodecTables | None, bits: int) -> list[Row]:
        """Return our packets, the messages at `bits`, and those at as many as equal our coded packets."""
        presets = ("saver", "paper") if tables is not None else ("paper",)
        ours = [self._ours(name, tables) for name in presets]
        found = ours + [self._messages(arrangement, bits) for arrangement in LAYOUTS]
        if tables is not None:
            most = ours[0]["picture_error"]
            assert isinstance(most, float)
            equal = self._equal(most)
            found += [self._messages(arrangement, equal) for arrangement in LAYOUTS if equal != bits]
        return found

    def _ours(self, preset: str, tables: CodecTables | None) -> Row:
        sending = Sending(preset)
        codec = make_codec(sending, tables, self._clip.backbone.layout)[1]
        per_message = frames_per_message(sending, preset, codec)
        size, arrived = packed(codec, self._clip.keypoints, per_message)
        rate = size / self._seconds
        return {
            "carried_by": f"our packets, {preset}",
            "bytes_per_second": rate,
            "messages_bytes_per_second": rate,
            **self._errors(arrived),
        }

    def _messages(self, arrangement: str, bits: int) -> Row:
        clip = self._clip
        written = write_stream(
            clip.picture, clip.keypoints, clip.backbone.layout, arrangement, bits, clip.crf
        )
        return {
            "carried_by": "H.274, all with the base"
            if arrangement == "base"
            else "H.274, each with a picture",
            "bits": bits,
            "bytes_per_second": (written.message_bytes + written.skipped_bytes) / self._seconds,
            "messages_bytes_per_second": written.message_bytes / self._seconds,
            **self._errors(restored(to_messages(clip.keypoints, clip.backbone.layout, bits))),
            "picture_bytes": written.picture_bytes,
        }

    def _equal(self, most: float) -> int:
        """Return the fewest bits of which the error in the picture is at most `most`."""
        layout = self._clip.backbone.layout
        for bits in range(1, MAX_BITS):
            arrived = restored(to_messages(self._clip.keypoints[self._shown], layout, bits))
            if self._picture_error(self._render_all(arrived)) <= most:
                return bits
        return MAX_BITS

    def _errors(self, arrived: Floats) -> Row:
        off = arrived.astype(np.float64) - self._clip.keypoints
        places = 2 * points_of(self._clip.backbone.layout)
        return {
            "point_rms": _rms(off[:, :places]),
            "matrix_rms": _rms(off[:, places:]),
            "picture_error": self._picture_error(self._render(arrived)),
        }

    def _render(self, keypoints: Floats) -> Pictures:
        return self._render_all(keypoints[self._shown])

    def _render_all(self, keypoints: Floats) -> Pictures:
        return render_all(self._clip.backbone, self._source, keypoints)

    def _picture_error(self, rendered: Pictures) -> float:
        return float(np.mean([mae(a, b) for a, b in zip(self._truth, rendered, strict=True)]))

    @property
    def _seconds(self) -> float:
        return len(self._clip.keypoints) / FPS


def packed(codec: Codec, frames: Floats, per_message: int) -> tuple[int, Floats]:
    """Return the bytes of all of `frames` (T, D) in packets of `per_message`, and what is decoded of them."""
    size, arrived = 0, []
    for first in range(0, len(frames), per_message):
        part = frames[first : first + per_message]
        payload = codec.encode(Block(part))
        size += len(KeypointPacket(first, 0, len(part), payload).pack())
        arrived.append(codec.decode(payload, len(part)).frames)
    return size, np.concatenate(arrived)


def _rms(values: Floats | np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float | None:
    return float(np.sqrt(np.mean(values**2))) if values.size else None
