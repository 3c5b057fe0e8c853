"""One training run of the lite network: its weights, their average, the optimiser, and how far it is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from models.lite.network import LiteNetwork, Window
from shared.errors import KeycastError, RequestError

# Takes source and driving pictures and the window to render; returns the losses by name.
Objective = Callable[[Tensor, Tensor, Window | None], dict[str, Tensor]]

_MAX_NORM = 5.0
# Single steps overflow now and then; a run of them does not recover.
_MAX_SKIPPED = 20


@dataclass
class Run:
    """Everything that changes while training; `average` follows `network` slowly and is what is shipped."""

    network: LiteNetwork
    average: LiteNetwork
    optimiser: torch.optim.Optimizer
    pictures: int = 0
    step: int = 0
    _skipped: int = field(default=0, repr=False)

    @classmethod
    def fresh(cls, network: LiteNetwork, rate: float) -> Run:
        """Return a run that begins with `network`."""
        optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-4, betas=(0.9, 0.99))
        return cls(network, copy.deepcopy(network), optimiser)

    def state(self) -> dict[str, Any]:
        """Return all that it takes to go on."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "pictures": self.pictures,
            "step": self.step,
            "random": torch.get_rng_state(),
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from `state`; RequestError where it is damaged or of a network of other sizes."""
        try:
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.pictures, self.step = int(state["pictures"]), int(state["step"])
            torch.set_rng_state(state["random"])
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            reason = str(error).strip().split("\n")[0]
            raise RequestError(
                f"The saved run is damaged or of other network sizes ({reason}); delete its state.pt."
            ) from error

    def advance(
        self, objective: Objective, pair: tuple[Tensor, Tensor], window: Window | None, bf16: bool
    ) -> dict[str, Tensor]:
        """Take one optimiser step on a pair of picture batches (B, 3, 256, 256) uint8; return its losses.

        A step whose gradient is not finite changes nothing; KeycastError when many follow each other.
        """
        device = next(self.network.parameters()).device
        self.network.train()
        source, driving = (
            picture.to(device).float().div(255).contiguous(memory_format=torch.channels_last)
            for picture in pair
        )
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            losses = objective(source, driving, window)
            total = torch.stack(list(losses.values())).sum()
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        self._apply()
        self.step += 1
        return {name: value.detach() for name, value in losses.items()}

    def _apply(self) -> None:
        if torch.isfinite(nn.utils.clip_grad_norm_(self.network.parameters(), _MAX_NORM)):
            self.optimiser.step()
            follow(self.average, self.network, min(0.999, (1 + self.step) / (10 + self.step)))
            self._skipped = 0
            return
        self._skipped += 1
        if self._skipped == _MAX_SKIPPED:
            raise KeycastError(
                f"The training diverged after {self.pictures} pictures; repeat it with a lower --rate."
            )


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged weights and running statistics towards the network's: a = decay a + (1 - decay) n."""
    theirs = network.state_dict()
    for name, mine in average.state_dict().items():
        if mine.dtype.is_floating_point:
            mine.lerp_(theirs[name], 1 - decay)
        else:
            mine.copy_(theirs[name])
