"""What all backbones have in common: checks, batches, and NumPy outside of torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from models.graphs import StaticPass, recorded
from models.inference import check_keypoints, check_pictures, to_bytes, to_tensor
from shared.config import MAX_PICTURES, SIZE
from shared.errors import KeycastError, RequestError
from shared.keypoints import Floats, Pictures

SourceT = TypeVar("SourceT")


class TorchBackbone(ABC, Generic[SourceT]):
    """Implements `shared.interfaces.Backbone` for a network in torch. One thread owns it.

    `SourceT` is all that depends on the source picture alone: computed once, used for every frame.
    """

    name: str
    # Bounds the memory of one pass; on a CPU larger batches are no faster.
    max_batch: ClassVar[int] = 16
    # Whether a GPU replays recorded passes for single frames (see `models.graphs`).
    records: ClassVar[bool] = True

    def __init__(
        self,
        fingerprint: str,
        device: torch.device | str,
        size: int = SIZE,
    ) -> None:
        self.fingerprint = fingerprint
        self.device = torch.device(device)
        self._size = size
        self._sources: dict[int, SourceT] = {}
        self._may_record = self.records and self.device.type == "cuda"
        self._detection: StaticPass[tuple[()]] | None = None
        self._drawing: StaticPass[SourceT] | None = None
        # The source whose content the recorded pass has.
        self._kept: SourceT | None = None

    @abstractmethod
    def _detect(self, pictures: Tensor) -> Tensor:
        """Return the keypoints (B, 60) of pictures (B, 3, H, W) in [0, 1]."""

    @abstractmethod
    def _encode(self, picture: Tensor) -> tuple[SourceT, Tensor]:
        """Return what is kept of a source picture (1, 3, H, W), and its keypoints (1, 60)."""

    @abstractmethod
    def _draw(self, source: SourceT, keypoints: Tensor) -> Tensor:
        """Render keypoints (B, 60) to pictures (B, 3, H, W) in [0, 1]."""

    @torch.inference_mode()
    def detect(self, frames: Pictures) -> Floats:
        """Return the keypoints (B, 60) of `frames` (B, 256, 256, 3), uint8 RGB; RequestError on others."""
        check_pictures(frames, self._size)
        starts = range(0, len(frames), self.max_batch)
        found = [self._found(self._tensor(frames[start : start + self.max_batch])) for start in starts]
        return _floats(torch.cat(found))

    @torch.inference_mode()
    def set_source(self, image: Pictures, slot: int = 0) -> Floats:
        """Encode a source picture (256, 256, 3), uint8 RGB, once and return its keypoints (60,).

        What is kept of it takes the place of what `slot`, 0 to 7, held before; RequestError for another slot.
        """
        if not 0 <= slot < MAX_PICTURES:
            raise RequestError(f"There is no slot {slot} for a source picture; use 0 to {MAX_PICTURES - 1}.")
        check_pictures(image[None], self._size)
        source, keypoints = self._encode(self._tensor(image[None]))
        self._sources[slot] = source
        self._record(source, keypoints)
        return _floats(keypoints[0])

    @torch.inference_mode()
    def render(self, keypoints: Floats, slot: int = 0) -> Pictures:
        """Render the source picture in `slot` at `keypoints` (B, 60): (B, 256, 256, 3), uint8 RGB.

        Raises KeycastError before `set_source`, RequestError for keypoints that no frame can have.
        """
        source = self._sources.get(slot)
        if source is None:
            raise KeycastError("There is no source picture to render yet; set one first.")
        check_keypoints(keypoints)
        # A copy, because torch takes neither read-only arrays nor mirrored views.
        rows = torch.from_numpy(np.array(keypoints, np.float32)).to(self.device)
        starts = range(0, len(rows), self.max_batch)
        drawn = [self._drawn(source, rows[start : start + self.max_batch]) for start in starts]
        return np.concatenate([part.cpu().numpy() for part in drawn])

    @torch.inference_mode()
    def warmup(self) -> None:
        """Run every path once; the source pictures that are set stay."""
        before, self._sources = self._sources, {}
        grey = np.full((self._size, self._size, 3), 128, np.uint8)
        self.detect(grey[None])
        self.render(self.set_source(grey)[None])
        self._sources = before

    def _found(self, pictures: Tensor) -> Tensor:
        """Detect, by a recorded pass where there is one for a single picture."""
        if self._may_record and len(pictures) == 1 and self._detection is None:
            self._detection = recorded(lambda _, picture: self._detect(picture), (), pictures)
            self._may_record = self._detection is not None
        if self._detection is not None and len(pictures) == 1:
            return self._detection(pictures)
        return self._detect(pictures)

    def _record(self, source: SourceT, keypoints: Tensor) -> None:
        """Record drawing where that has not been done: `source`, at keypoints (1, 60) that it can have."""
        if self._may_record and self._drawing is None:
            self._drawing = recorded(lambda kept, row: to_bytes(self._draw(kept, row)), source, keypoints)
            self._may_record = self._drawing is not None
            self._kept = source

    def _drawn(self, source: SourceT, rows: Tensor) -> Tensor:
        """Draw as bytes (B, H, W, 3), by the recorded pass where there is one for a single frame."""
        if self._drawing is None or len(rows) > 1:
            return to_bytes(self._draw(source, rows))
        if self._kept is not source:
            self._drawing.keep(source)
            self._kept = source
        return self._drawing(rows)

    def _tensor(self, pictures: Pictures) -> Tensor:
        return to_tensor(pictures, self.device, torch.float32)


def _floats(tensor: Tensor) -> Floats:
    array: Floats = tensor.float().cpu().numpy()
    return array
