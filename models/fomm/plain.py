"""The full network as published, frame by frame in float32: what every faster path is measured against."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from models.fomm.config import FommConfig
from models.fomm.keypoint_detector import Points
from models.fomm.model import Fomm
from models.inference import check_keypoints, check_pictures, to_pictures, to_tensor
from shared.errors import KeycastError
from shared.keypoints import Floats, Pictures


def untrained_fomm(seed: int = 0, config: FommConfig | None = None) -> Fomm:
    """Build a FOMM with random weights, the same for the same seed: its speed is that of a trained one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Fomm(config or FommConfig())


class PlainFomm:
    """Implements `shared.interfaces.Backbone` around the published forward pass.

    Nothing is folded, batched or kept: the source picture is encoded again for every frame.
    """

    name = "fomm"

    def __init__(self, model: Fomm, device: torch.device | str = "cpu") -> None:
        self.model = model.eval().to(device)
        self.fingerprint = model.fingerprint()
        self.device = torch.device(device)
        self._source: tuple[Tensor, Points] | None = None

    @torch.inference_mode()
    def detect(self, frames: Pictures) -> Floats:
        """Return the keypoints (B, 60) of `frames` (B, 256, 256, 3), uint8 RGB."""
        check_pictures(frames, self.model.config.image_size)
        found = [self.model.kp_detector(self._tensor(frame)).flat().cpu().numpy() for frame in frames]
        return np.concatenate(found)

    @torch.inference_mode()
    def set_source(self, image: Pictures) -> Floats:
        """Keep the source picture (256, 256, 3), uint8 RGB, and return its keypoints (60,)."""
        check_pictures(image[None], self.model.config.image_size)
        picture = self._tensor(image)
        points: Points = self.model.kp_detector(picture)
        self._source = picture, points
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
        rows = torch.from_numpy(np.array(keypoints, np.float32)).to(self.device)
        drawn = [self.model.generator(*self._source, Points.from_flat(row[None])) for row in rows]
        return np.concatenate([to_pictures(rendered.prediction) for rendered in drawn])

    def warmup(self) -> None:
        """Run every path once; the source picture that is set stays."""
        before = self._source
        grey = np.full((self.model.config.image_size,) * 2 + (3,), 128, np.uint8)
        self.render(self.set_source(grey)[None])
        self._source = before

    def _tensor(self, frame: Pictures) -> Tensor:
        return to_tensor(frame[None], self.device, torch.float32)
