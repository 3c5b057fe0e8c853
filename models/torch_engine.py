"""Networks run by torch, on a CPU or a GPU."""

from __future__ import annotations

import threading
import weakref
from abc import ABC, abstractmethod
from typing import ClassVar, Generic

import numpy as np
import torch
from torch import Tensor

from models.engine import Encoded, SourceT
from models.gpu import NoNumbersError
from models.graphs import StaticPass, recorded
from models.inference import compute_exactly, to_bytes, to_tensor, write_bytes
from models.threads import apply_to_torch
from shared.keypoints import Floats, Pictures
from shared.media.squares import scaled


class TorchEngine(ABC, Generic[SourceT]):
    """Implements `models.engine.Engine` for a network in torch, which a subclass runs on tensors.

    One pass runs at a time, whoever asks: layers and recorded passes have memory of their own.
    """

    name = "torch"
    # Bounds the memory of one pass; on a CPU larger batches are no faster, a GPU has idle units without them.
    cpu_batch: ClassVar[int] = 16
    gpu_batch: ClassVar[int] = 64
    # Whether a GPU replays recorded passes for single frames (see `models.graphs`).
    records: ClassVar[bool] = True

    def __init__(
        self,
        device: torch.device | str,
        size: int,
        precision: str = "float32",
        sizes: tuple[int, ...] = (),
    ) -> None:
        apply_to_torch()
        self.device = torch.device(device)
        self.processor = self.device.type
        self.precision = precision
        self.size = size
        self.sizes = sizes or (size,)
        on_gpu = self.device.type == "cuda"
        if on_gpu:
            compute_exactly()
        self.max_batch = self.gpu_batch if on_gpu else self.cpu_batch
        self._may_record = self.records and on_gpu
        self._detection: StaticPass[tuple[()]] | None = None
        self._drawing: StaticPass[SourceT] | None = None
        # The source whose content the recorded pass has; who drops it shall have freed it.
        self._kept: weakref.ref[Encoded[SourceT]] | None = None
        self._lock = threading.Lock()

    @property
    def is_recorded(self) -> bool:
        """Whether single frames are replayed from recordings."""
        return self._detection is not None and self._drawing is not None

    @abstractmethod
    def _detect(self, pictures: Tensor) -> Tensor:
        """Return the keypoints (B, D) of pictures (B, 3, H, W) in [0, 1]."""

    @abstractmethod
    def _encode(self, picture: Tensor) -> tuple[SourceT, Tensor]:
        """Return what is kept of a source picture (1, 3, H, W), and its keypoints (1, D)."""

    def _encode_large(self, picture: Tensor, small: Tensor) -> tuple[SourceT, Tensor]:
        """Do what `_encode` does of a larger picture (1, 3, S, S), `small` being what it is scaled down."""
        raise NotImplementedError(f"{type(self).__name__} knows one size")

    @abstractmethod
    def _draw(self, source: SourceT, keypoints: Tensor) -> Tensor:
        """Render keypoints (B, D) to pictures (B, 3, H, W) in [0, 1]; what lies outside will be clipped."""

    @torch.inference_mode()
    def detect(self, pictures: Pictures) -> Floats:
        """Return the keypoints (B, D) of pictures (B, size, size, 3), uint8 RGB."""
        starts = range(0, len(pictures), self.max_batch)
        with self._lock:
            found = [self._found(self._tensor(pictures[start : start + self.max_batch])) for start in starts]
            return _floats(torch.cat(found))

    @torch.inference_mode()
    def encode(self, picture: Pictures) -> Encoded[SourceT]:
        """Return what is kept of a source picture (S, S, 3), S being one of `sizes`."""
        side = len(picture)
        with self._lock:
            whole = self._tensor(picture[None])
            if side == self.size:
                kept, keypoints = self._encode(whole)
            else:
                small = self._tensor(scaled(picture, self.size)[None])
                kept, keypoints = self._encode_large(whole, small)
            source = Encoded(self, _floats(keypoints[0]), kept, side)
            self._record(source, keypoints)
            return source

    @torch.inference_mode()
    def render(self, source: Encoded[SourceT], keypoints: Floats) -> Pictures:
        """Render a source of side S at keypoints (B, D): pictures (B, S, S, 3), uint8 RGB."""
        # A copy, because torch takes neither read-only arrays nor mirrored views.
        rows = torch.from_numpy(np.array(keypoints, np.float32)).to(self.device)
        drawn: Pictures = np.empty((len(rows), source.size, source.size, 3), np.uint8)
        with self._lock:
            for start in range(0, len(rows), self.max_batch):
                part = slice(start, start + self.max_batch)
                self._draw_into(drawn[part], source, rows[part])
        return drawn

    @torch.inference_mode()
    def trial(self) -> Floats:
        """Return a frame of noise (size, size, 3) as it is drawn, before it is bytes, turned a little.

        Always of the same noise: what two precisions make of it can be compared.
        """
        noise = np.random.default_rng(0)
        coarse = noise.integers(0, 256, (16, 16, 3), np.uint8)
        repeats = -(-self.size // len(coarse))
        picture = coarse.repeat(repeats, 0).repeat(repeats, 1)[: self.size, : self.size]
        with self._lock:
            kept, _ = self._encode(self._tensor(picture[None]))
            turned = self._detect(self._tensor(np.rot90(picture)[None].copy()))
            return _floats(self._draw(kept, turned)[0].permute(1, 2, 0))

    def _found(self, pictures: Tensor) -> Tensor:
        """Detect, by a recorded pass where there is one for a single picture; the first time makes it."""
        if self._detection is not None and len(pictures) == 1:
            return self._detection(pictures)
        found = self._detect(pictures)
        if self._may_record and len(pictures) == 1:
            self._detection = recorded(lambda _, picture: self._detect(picture), (), pictures)
            self._may_record = self._detection is not None
        return found

    def _record(self, source: Encoded[SourceT], keypoints: Tensor) -> None:
        """Record drawing where that has not been done: `source`, at keypoints (1, D) that it can have.

        Larger pictures are always drawn kernel by kernel: a recording is of one shape.
        NoNumbersError where what is drawn then is none: as bytes it would be a black frame.
        """
        if self._may_record and source.size == self.size and self._drawing is None:
            if not bool(torch.isfinite(self._draw(source.kept, keypoints)).all()):
                raise NoNumbersError("the frame it draws is no picture")
            self._drawing = recorded(
                lambda kept, row: to_bytes(self._draw(kept, row)), source.kept, keypoints
            )
            self._may_record = self._drawing is not None
            self._kept = weakref.ref(source)

    def _draw_into(self, drawn: Pictures, source: Encoded[SourceT], rows: Tensor) -> None:
        """Draw as bytes (B, H, W, 3), by the recorded pass where there is one for a single frame."""
        if self._drawing is None or len(rows) > 1 or source.size != self.size:
            write_bytes(self._draw(source.kept, rows), drawn)
            return
        if self._kept is None or self._kept() is not source:
            self._drawing.keep(source.kept)
            self._kept = weakref.ref(source)
        torch.from_numpy(drawn).copy_(self._drawing(rows))

    def _tensor(self, pictures: Pictures) -> Tensor:
        return to_tensor(pictures, self.device, torch.float32)


def _floats(tensor: Tensor) -> Floats:
    array: Floats = tensor.float().cpu().numpy()
    return array
