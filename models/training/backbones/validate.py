"""Validation of a backbone while it trains: reconstruction of other people's clips, and a contact sheet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from models.training.backbones.backbone_run import fitted
from models.training.data.frames import Clip
from shared.constants import SIZE
from shared.keypoints import Pictures

_FRAMES = 6
_SHEET_ROWS = 8


# Takes a source (1, 3, H, W) and driving pictures (B, 3, H, W), and returns the source as they move.
Render = Callable[[Tensor, Tensor], Tensor]


@torch.inference_mode()
def validate(
    render: Render, clips: Sequence[Clip], sheet: Path, device: torch.device, size: int = SIZE
) -> dict[str, float]:
    """Render six frames of each clip from its first, write a contact sheet, return the figures.

    Pictures are `size` pixels each way, floating-point RGB in [0, 1].
    `mae` is the mean absolute pixel error in [0, 1], `static_mae` that of showing the first frame, `share`
    their ratio averaged over clips, `worse` the number of clips where the still picture would be better.
    """
    rows, ours, still = [], [], []
    for clip in clips:
        moments = np.linspace(1, len(clip.frames) - 1, min(_FRAMES, len(clip.frames) - 1)).astype(int)
        source = _tensor([clip.picture(0)], device, size)
        driving = _tensor([clip.picture(int(m)) for m in moments], device, size)
        rendered = render(source, driving)
        ours.append(float((rendered - driving).abs().mean()))
        still.append(float((source - driving).abs().mean()))
        worst = int((source - driving).abs().flatten(1).mean(1).argmax())
        rows.append(torch.cat([source[0], driving[worst], rendered[worst]], dim=2).cpu())
    _write_sheet(rows, sheet)
    share = np.array(ours) / np.maximum(still, 1e-4)
    return {
        "mae": float(np.mean(ours)), "static_mae": float(np.mean(still)),
        "share": float(share.mean()), "worse": float((share > 1).sum()),
    }  # fmt: skip


def _tensor(pictures: Sequence[Pictures], device: torch.device, size: int) -> Tensor:
    return fitted(torch.from_numpy(np.stack(pictures)).to(device).permute(0, 3, 1, 2).float() / 255, size)


def _write_sheet(rows: list[Tensor], path: Path) -> None:
    """Source, driving and rendered frame side by side, for clips spread over the list, two to a line."""
    chosen = [rows[i] for i in np.linspace(0, len(rows) - 1, min(2 * _SHEET_ROWS, len(rows))).astype(int)]
    if len(chosen) % 2:
        chosen.append(torch.zeros_like(chosen[0]))
    lines = [torch.cat(chosen[i : i + 2], dim=2) for i in range(0, len(chosen), 2)]
    pixels = (torch.cat(lines, dim=1).permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()
    Image.fromarray(pixels).save(path)
