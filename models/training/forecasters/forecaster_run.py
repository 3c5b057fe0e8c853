"""One training run of a forecaster: its settings, its steps, and the state that survives a kill."""

from __future__ import annotations

import copy
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.forecast.config import NetworkConfig, build_network
from models.forecast.simlpe import Simlpe
from models.training.data.tracks import Tracks
from models.training.forecasters.forecaster_data import ROLLOUT, Windows, digest, fit
from models.training.forecasters.forecaster_loss import rollout_loss, sequence_loss
from models.training.run import cosine
from shared.errors import RequestError

WARMUP = 0.05
CLIP = 1.0


@dataclass(frozen=True)
class Settings:
    """Settings of a run; a run is resumed only with the same ones.

    `steps` or `minutes` (the other is None) is its length; `rollout` weighs the error of free running against
    the model's own loss.
    """

    model: str
    config: NetworkConfig
    steps: int | None
    minutes: float | None
    batch: int = 64
    rate: float = 1e-3
    rollout: float = 1.0
    augmented: bool = True
    seed: int = 0

    def stored(self, tracks: Tracks) -> dict[str, Any]:
        """Return the settings and the data as plain values."""
        return {**asdict(self), "tracks": digest(tracks)}


class Training:
    """One run: network, optimiser, random numbers, and the best weights so far."""

    def __init__(self, settings: Settings, tracks: Tracks, device: torch.device) -> None:
        self.settings = settings
        self.step = 0
        self.seconds = 0.0
        self.best = float("inf")
        self.stale = 0
        self._stored = settings.stored(tracks)
        self._device = device
        self._generator = torch.Generator().manual_seed(settings.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.network = build_network(settings.config, tracks.layout.dimensions)
        fit(self.network.scaling, tracks)
        self.network.to(device).train()
        self.best_weights = self._weights()
        self._optimiser = torch.optim.AdamW(self.network.parameters(), settings.rate, weight_decay=1e-2)
        longest = self.network.window if isinstance(self.network, Simlpe) else ROLLOUT
        self._windows = Windows(tracks, max(longest, ROLLOUT), settings.augmented)

    @property
    def done(self) -> float:
        """Which part of the run is behind us, in [0, 1]."""
        if self.settings.steps is not None:
            return min(1.0, self.step / self.settings.steps)
        return min(1.0, self.seconds / (60 * (self.settings.minutes or 1.0)))

    def advance(self) -> dict[str, float]:
        """Take one optimiser step and return its losses, per number."""
        began = time.monotonic()
        frames, split = self._windows.draw(self.settings.batch, self._generator)
        frames = frames.to(self._device)
        sequence, state = sequence_loss(self.network, frames, split, self._generator)
        rollout = rollout_loss(self.network, state, frames, split)
        self._optimiser.zero_grad(set_to_none=True)
        (sequence + self.settings.rollout * rollout).backward()  # type: ignore[no-untyped-call]
        for group in self._optimiser.param_groups:
            group["lr"] = self.settings.rate * cosine(self.done, WARMUP)
        if torch.isfinite(nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)):
            self._optimiser.step()
        self.step += 1
        self.seconds += time.monotonic() - began
        return {"sequence": float(sequence.detach()), "rollout": float(rollout.detach())}

    def judge(self, score: float) -> bool:
        """Keep the weights if `score` is the lowest so far, and say whether it is."""
        better = score < self.best
        self.stale = 0 if better else self.stale + 1
        if better:
            self.best, self.best_weights = score, self._weights()
        return better

    def state(self) -> dict[str, Any]:
        """Return all that it takes to go on as if nothing had happened."""
        return {
            "settings": self._stored,
            "network": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "generator": self._generator.get_state(),
            "best_weights": self.best_weights,
            "numbers": {"step": self.step, "seconds": self.seconds, "best": self.best, "stale": self.stale},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`; RequestError if it is of other settings, other tracks, or damaged."""
        if state.get("settings") != self._stored:
            raise RequestError(
                "the output folder holds a run with other settings or tracks: choose another --output"
            )
        try:
            self.network.load_state_dict(state["network"])
            self._optimiser.load_state_dict(state["optimiser"])
            self._generator.set_state(state["generator"])
            self.best_weights = dict(state["best_weights"])
            numbers = state["numbers"]
            self.step, self.seconds = int(numbers["step"]), float(numbers["seconds"])
            self.best, self.stale = float(numbers["best"]), int(numbers["stale"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise RequestError(f"the saved run is damaged ({error}): delete it to start over") from error

    def _weights(self) -> dict[str, Tensor]:
        return copy.deepcopy({key: value.detach().cpu() for key, value in self.network.state_dict().items()})
