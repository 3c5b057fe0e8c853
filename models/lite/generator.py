"""The lite generator: a frame from the warped source picture, its warped features, and the drawn points."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.lite.blocks import ConvBlock, Lift, ResidualBlock, convolved
from models.lite.config import LiteConfig
from models.lite.geometry import enlarged_flow, unshuffled, warp
from models.lite.parts import PARTS
from models.lite.structures import Motion, Source, Window


class Generator(nn.Module):
    """Renders frame = alpha (warped + correction) + (1 - alpha) pixels, at 128x128 in four sub-pixels.

    The nearer alpha is to 1, the less the pixels learn: trained without the correction, alpha ended at 0.89
    on average, frames hardly better than the warp. The driving points are drawn into its input next to the
    warped features, for no warp opens a closed mouth.
    """

    def __init__(self, config: LiteConfig) -> None:
        super().__init__()
        mid, coarse, deep = config.generator
        fine, detail = config.fine, config.detail
        self.encode_fine = nn.Sequential(ConvBlock(48, 48), ResidualBlock(48), nn.Conv2d(48, fine, 1))
        self.encode_coarse = nn.Sequential(ConvBlock(fine, coarse, 2), ResidualBlock(coarse))
        self.enter = ConvBlock(fine + PARTS + 1, mid)
        self.down = ConvBlock(mid, coarse, 2)
        self.hint = nn.Conv2d(config.motion[0], coarse, 1)
        self.middle = nn.Sequential(ConvBlock(coarse, coarse), ConvBlock(coarse, coarse))
        self.deep = nn.Sequential(ConvBlock(coarse, deep, 2), ConvBlock(deep, deep), ConvBlock(deep, deep))
        self.lift_coarse = Lift(deep, coarse)
        self.lift_fine = Lift(coarse, mid)
        self.expand = nn.Conv2d(mid, 4 * detail, 1)
        self.detail = nn.Sequential(ConvBlock(detail + 12, detail), nn.Conv2d(detail, 28, 3, padding=1))
        self._start_warped()

    def _start_warped(self) -> None:
        """Start as the warped source, so that early pictures are sharp; equal sub-pixels, so no grid."""
        last = self.detail[1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        with torch.no_grad():
            last.weight.copy_(0.3 * last.weight[::4].repeat_interleave(4, 0))
            last.weight[16:] = 0.0
            last.bias.zero_()
            last.bias[12:16] = 1.0
            self.expand.weight.copy_(self.expand.weight[::4].repeat_interleave(4, 0))

    @property
    def precision(self) -> torch.dtype:
        """The type its convolutions work in; motion, warps and blending stay in the picture's."""
        return self.expand.weight.dtype

    def encode(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Return the source's features at 64x64 and at 32x32, in the picture's precision."""
        fine = self.encode_fine(F.pixel_unshuffle(picture, 4).to(self.precision))
        return fine.to(picture.dtype), self.encode_coarse(fine).to(picture.dtype)

    def forward(self, source: Source, motion: Motion, window: Window | None = None) -> tuple[Tensor, Tensor]:
        """Return the frame and the warped source picture, both (B, 3, 4 size, 4 size) of the window."""
        frame, warped, _ = self.parts(source, motion, window)
        return frame, warped

    def parts(
        self, source: Source, motion: Motion, window: Window | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `forward` does, and alpha (B, 1, 4 size, 4 size): how much of the frame is warped."""
        top, left, size = window or Window()
        rows, columns = slice(top, top + size), slice(left, left + size)
        flow, occlusion = motion.flow[:, rows, columns], motion.occlusion[:, :, rows, columns]
        fine = torch.cat(
            [warp(source.fine, flow) * occlusion, motion.heat[:, :, rows, columns], occlusion], dim=1
        )
        half = F.avg_pool2d(flow.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
        coarse = warp(source.coarse, half) * F.avg_pool2d(occlusion, 2)
        features = motion.features[:, :, top // 2 : (top + size) // 2, left // 2 : (left + size) // 2]
        body = self._body(fine.to(self.precision), coarse.to(self.precision), features.to(self.precision))
        warped = unshuffled(warp(source.picture, enlarged_flow(motion.flow, (top, left, size))))
        frame, alpha = self._blend(body, warped)
        return frame, F.pixel_shuffle(warped, 2), alpha

    def _body(self, fine: Tensor, coarse: Tensor, features: Tensor) -> Tensor:
        fine = self.enter(fine)
        coarse = self.middle(self.down(fine) + coarse + self.hint(features))
        coarse = self.lift_coarse(self.deep(coarse), coarse)
        return torch.as_tensor(self.lift_fine(coarse, fine))

    def _blend(self, body: Tensor, warped: Tensor) -> tuple[Tensor, Tensor]:
        """Return frame and alpha from features at 64x64 and the warped picture's sub-pixels at 128x128."""
        seen = torch.cat([F.pixel_shuffle(self.expand(body), 2), warped.to(self.precision)], dim=1)
        out = convolved(self.detail[0](seen), *self._last()).float()
        pixels, alpha, difference = out[:, :12], torch.sigmoid(out[:, 12:24]), out[:, 24:36]
        frame = F.pixel_shuffle(pixels + 0.5 + (warped - 0.5 + difference) * alpha, 2)
        return frame, F.pixel_shuffle(alpha[:, :4], 2)

    def _last(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the last layer as they serve best: 12 pixels, 12 alphas, 12 differences.

        The layer itself has 12 pixels (around 0.5), an alpha for each of four sub-pixels, and 12 corrections.
        With three alphas alike and corrections less pixels, blending is a few steps on whole planes: an
        eighth of the time of rendering, on one AVX2 core, went into bringing 28 planes into order for it.
        """
        last = self.detail[1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        return _blending(last.weight), _blending(last.bias)


def _blending(numbers: Tensor) -> Tensor:
    pixels, alpha, correction = numbers[:12], numbers[12:16], numbers[16:]
    return torch.cat([pixels, alpha, alpha, alpha, correction - pixels])
