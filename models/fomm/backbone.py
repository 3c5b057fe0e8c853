"""The First Order Motion Model as a `Backbone`: NumPy outside, one source picture encoded once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from models.fomm.generator import SourceState
from models.fomm.keypoint_detector import Points
from models.fomm.model import Fomm, load_fomm
from models.inference import check_keypoints, check_pictures, prepare, to_pictures, to_tensor
from shared.errors import KeycastError, RequestError
from shared.keypoints import COUNT, DIMENSIONS, Floats, Pictures

# Bounds the memory of one pass; on a CPU larger batches are no faster.
MAX_BATCH = 16


class FommBackbone:
    """Implements `shared.interfaces.Backbone` around a `Fomm`, on one device and in one precision."""

    name = "fomm"

    def __init__(
        self, model: Fomm, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> None:
        if model.config.num_kp != COUNT:
            raise RequestError(
                f"This FOMM has {model.config.num_kp} keypoints, but calls carry {COUNT}; "
                "use another checkpoint."
            )
        self.fingerprint = model.fingerprint()
        self.model = prepare(model, device, dtype)
        self.device = torch.device(device)
        self.dtype = dtype
        self._size = model.config.image_size
        self._source: SourceState | None = None

    @classmethod
    def load(
        cls, path: Path | str, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> FommBackbone:
        """Load a checkpoint file or folder (see `load_fomm`); RequestError if there is none to use."""
        return cls(load_fomm(path), device, dtype)

    @torch.inference_mode()
    def detect(self, frames: Pictures) -> Floats:
        """Return the keypoints (B, 60) of `frames` (B, 256, 256, 3), uint8 RGB."""
        check_pictures(frames, self._size)
        batches = (frames[start : start + MAX_BATCH] for start in range(0, len(frames), MAX_BATCH))
        return np.concatenate([self._points(batch).flat().cpu().numpy() for batch in batches])

    @torch.inference_mode()
    def set_source(self, image: Pictures) -> Floats:
        """Encode the source picture (256, 256, 3), uint8 RGB, once and return its keypoints (60,)."""
        check_pictures(image[None], self._size)
        points = self._points(image[None])
        self._source = self._encode(image, points)
        keypoints: Floats = points.flat()[0].cpu().numpy()
        return keypoints

    @torch.inference_mode()
    def render(self, keypoints: Floats) -> Pictures:
        """Render the source picture at `keypoints` (B, 60): (B, 256, 256, 3), uint8 RGB.

        Raises KeycastError before `set_source`, RequestError for keypoints that no frame can have.
        """
        if self._source is None:
            raise KeycastError("There is no source picture to render yet; set one first.")
        check_keypoints(keypoints)
        batches = (keypoints[start : start + MAX_BATCH] for start in range(0, len(keypoints), MAX_BATCH))
        return np.concatenate([self._draw(self._source, batch) for batch in batches])

    @torch.inference_mode()
    def warmup(self) -> None:
        """Run every path once; the source picture that is set stays."""
        grey = np.full((self._size, self._size, 3), 128, np.uint8)
        points = self._points(grey[None])
        self._draw(self._encode(grey, points), np.zeros((1, DIMENSIONS), np.float32))

    def _points(self, frames: Pictures) -> Points:
        points: Points = self.model.kp_detector(to_tensor(frames, self.device, self.dtype))
        return points

    def _encode(self, image: Pictures, points: Points) -> SourceState:
        picture = to_tensor(image[None], self.device, self.dtype)
        return self.model.generator.encode_source(picture, points)

    def _draw(self, source: SourceState, keypoints: Floats) -> Pictures:
        flat = torch.from_numpy(np.array(keypoints, np.float32)).to(self.device)
        return to_pictures(self.model.generator.decode(source, Points.from_flat(flat)).prediction)
