"""What all backbones have in common: checks, batches, and NumPy outside of torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from models.inference import check_keypoints, check_pictures, to_pictures, to_tensor
from shared.config import SIZE
from shared.errors import KeycastError
from shared.keypoints import Floats, Pictures

SourceT = TypeVar("SourceT")


class TorchBackbone(ABC, Generic[SourceT]):
    """Implements `shared.interfaces.Backbone` for a network in torch. One thread owns it.

    `SourceT` is all that depends on the source picture alone: computed once, used for every frame.
    """

    name: str
    # Bounds the memory of one pass; on a CPU larger batches are no faster.
    max_batch: ClassVar[int] = 16

    def __init__(
        self,
        fingerprint: str,
        device: torch.device | str,
        dtype: torch.dtype = torch.float32,
        size: int = SIZE,
    ) -> None:
        self.fingerprint = fingerprint
        self.device = torch.device(device)
        self.dtype = dtype
        self._size = size
        self._source: SourceT | None = None

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
        found = [self._detect(self._tensor(frames[start : start + self.max_batch])) for start in starts]
        return _floats(torch.cat(found))

    @torch.inference_mode()
    def set_source(self, image: Pictures) -> Floats:
        """Encode the source picture (256, 256, 3), uint8 RGB, once and return its keypoints (60,)."""
        check_pictures(image[None], self._size)
        self._source, keypoints = self._encode(self._tensor(image[None]))
        return _floats(keypoints[0])

    @torch.inference_mode()
    def render(self, keypoints: Floats) -> Pictures:
        """Render the source picture at `keypoints` (B, 60): (B, 256, 256, 3), uint8 RGB.

        Raises KeycastError before `set_source`, RequestError for keypoints that no frame can have.
        """
        if self._source is None:
            raise KeycastError("There is no source picture to render yet; set one first.")
        check_keypoints(keypoints)
        # A copy, because torch takes neither read-only arrays nor mirrored views.
        rows = torch.from_numpy(np.array(keypoints, np.float32)).to(self.device)
        starts = range(0, len(rows), self.max_batch)
        drawn = [self._draw(self._source, rows[start : start + self.max_batch]) for start in starts]
        return np.concatenate([to_pictures(part) for part in drawn])

    def warmup(self) -> None:
        """Run every path once; the source picture that is set stays."""
        before = self._source
        grey = np.full((self._size, self._size, 3), 128, np.uint8)
        self.detect(grey[None])
        self.render(self.set_source(grey)[None])
        self._source = before

    def _tensor(self, pictures: Pictures) -> Tensor:
        return to_tensor(pictures, self.device, self.dtype)


def _floats(tensor: Tensor) -> Floats:
    array: Floats = tensor.float().cpu().numpy()
    return array
