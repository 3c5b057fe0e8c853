"""The lite backbone behind the facade of `shared.interfaces.Backbone`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.checkpoint import load, load_into
from models.inference import check_keypoints, check_pictures, prepare, to_pictures, to_tensor
from models.lite.config import LiteConfig
from models.lite.network import LiteNetwork, Points, Source
from shared.config import SIZE
from shared.errors import KeycastError
from shared.keypoints import Floats, Pictures

# Bounds the memory of one pass; on a CPU larger batches are no faster.
MAX_BATCH = 16


class LiteBackbone:
    """The lite network, ready to serve: NumPy outside, torch inside. One thread owns it."""

    name = "lite"

    def __init__(self, network: LiteNetwork, fingerprint: str = "", device: str = "cpu") -> None:
        self.network = prepare(network, device)
        self.fingerprint = fingerprint
        self.device = device
        self._source: Source | None = None

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> LiteBackbone:
        """Load a checkpoint folder; RequestError, in one sentence, where it does not fit."""
        checkpoint = load(folder, expect="lite")
        config = LiteConfig.from_map(checkpoint.config.get("network"))
        # Without memory of its own: initialising it would be wasted, and the sizes come from a file.
        with torch.device("meta"):
            network = LiteNetwork(config)
        load_into(network, checkpoint)
        return cls(network, checkpoint.fingerprint, device)

    @torch.inference_mode()
    def detect(self, frames: Pictures) -> Floats:
        """Return the keypoints (B, 60) of `frames` (B, 256, 256, 3), uint8 RGB; RequestError on others."""
        check_pictures(frames, SIZE)
        batches = (frames[start : start + MAX_BATCH] for start in range(0, len(frames), MAX_BATCH))
        found = [self.network.detector(self._tensor(batch)).flat() for batch in batches]
        flat: Floats = torch.cat(found).cpu().numpy()
        return flat

    @torch.inference_mode()
    def set_source(self, image: Pictures) -> Floats:
        """Encode the source picture (256, 256, 3) once and return its keypoints (60,)."""
        check_pictures(image[None], SIZE)
        self._source = self.network.encode(self._tensor(image[None]))
        flat: Floats = self._source.points.flat()[0].cpu().numpy()
        return flat

    @torch.inference_mode()
    def render(self, keypoints: Floats) -> Pictures:
        """Render `keypoints` (B, 60): (B, 256, 256, 3), uint8 RGB.

        Raises KeycastError before `set_source`, RequestError for keypoints that no frame can have.
        """
        if self._source is None:
            raise KeycastError("There is no source picture to render yet; set one first.")
        check_keypoints(keypoints)
        batches = (keypoints[start : start + MAX_BATCH] for start in range(0, len(keypoints), MAX_BATCH))
        return np.concatenate([self._draw(self._source, batch) for batch in batches])

    def _tensor(self, pictures: Pictures) -> Tensor:
        return to_tensor(pictures, self.device, torch.float32)

    def _draw(self, source: Source, keypoints: Floats) -> Pictures:
        # A copy, because torch takes neither read-only arrays nor mirrored views.
        driving = torch.from_numpy(np.array(keypoints, np.float32)).to(self.device)
        return to_pictures(self.network.render(source.expand(len(driving)), Points.from_flat(driving)))

    def warmup(self) -> None:
        """Run every path once. The source picture that was set stays."""
        before = self._source
        blank = np.full((SIZE, SIZE, 3), 128, np.uint8)
        points = self.set_source(blank)
        for _ in range(2):
            self.detect(blank[None])
            self.render(points[None])
        self._source = before
