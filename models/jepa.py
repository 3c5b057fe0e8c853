"""V-JEPA 2 as a measure of short videos, through transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from shared.errors import RequestError
from shared.keypoints import Pictures

Doubles = npt.NDArray[np.float64]
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_EXTRA = "transformers is not installed; install it with: pip install 'keycast[jepa]'"


class Features:
    """V-JEPA 2's features of short videos: the mean of all the tokens of its encoder."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        """Load the network in `folder`, as transformers saves it; nothing is fetched and no code is run.

        RequestError where transformers or the network is missing.
        """
        try:
            from transformers import VJEPA2Model
        except ImportError as error:
            raise RequestError(f"JEDi needs V-JEPA 2, but {_EXTRA}.") from error
        if not (folder / "config.json").is_file():
            raise RequestError(
                f"There is no V-JEPA 2 in {folder}; give the folder that holds its config.json."
            )
        try:
            network = VJEPA2Model.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().split("\n")[0]
            raise RequestError(
                f"{folder} does not hold V-JEPA 2 ({reason}); choose another folder."
            ) from error
        self._device = device
        self._network: Any = network.eval()  # type: ignore[no-untyped-call]
        self._network.to(device)

    def __call__(self, video: Pictures) -> Doubles:
        """Return the features (d,) of `video` (T, 256, 256, 3), uint8 RGB.

        The network wants a fixed number of frames: as many moments are taken, evenly spread from first to
        last, so that a short video's frames repeat. Scaled to its size and normalised as in its training.
        """
        config = self._network.config
        moments = np.linspace(0, len(video) - 1, config.frames_per_clip).round().astype(int)
        frames = torch.from_numpy(np.ascontiguousarray(video[moments])).to(self._device)
        frames = frames.permute(0, 3, 1, 2).float() / 255
        size = (config.crop_size, config.crop_size)
        if tuple(frames.shape[-2:]) != size:
            frames = F.interpolate(frames, size, mode="bilinear", antialias=True)
        mean, std = (frames.new_tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _STD))
        with torch.inference_mode():
            tokens = self._network(((frames - mean) / std)[None], skip_predictor=True).last_hidden_state
        return cast(Doubles, tokens[0].mean(0).double().cpu().numpy())
