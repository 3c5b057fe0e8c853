"""One training run of a backbone: its weights, their average, the optimiser, and how far it is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.lite.network import Window
from models.training.run import fused
from shared.constants import SIZE
from shared.errors import KeycastError, RequestError

Network = TypeVar("Network", bound=nn.Module)

# Takes source pictures (B, ...), driving ones (B, N, ...), the window to render and landmarks of the faces
# (B, 1 + N, 175, 2); returns the losses by name.
Objective = Callable[[Tensor, Tensor, Window | None, Tensor], dict[str, Tensor]]

# Single steps overflow now and then; a run of them does not recover.
_MAX_SKIPPED = 20
LOOK_EVERY = 20
"""Steps between two looks at what a GPU has computed, each of which waits for it."""


@dataclass
class Run(Generic[Network]):
    """Everything that changes while training; `average` follows `network` slowly and is what is shipped.

    `critic` is the adversary's network, where there is one; `optimiser` moves its weights too. Gradients
    longer than `max_norm` are shortened to it; pictures are brought to `size` pixels each way.
    Where `rested`, batch norms keep the statistics that they came with: those of a few pictures shift them.
    `seconds` is how long the run has taken.
    """

    network: Network
    average: Network
    optimiser: torch.optim.Optimizer
    critic: nn.Module | None = None
    max_norm: float = 5.0
    size: int = SIZE
    rested: bool = False
    pictures: int = 0
    step: int = 0
    seconds: float = 0.0
    _skipped: Tensor | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls, network: Network, optimiser: torch.optim.Optimizer, critic: nn.Module | None = None
    ) -> Run[Network]:
        """Return a run that begins with `network`, and `critic`, whose weights `optimiser` moves.

        The optimiser is a fused one, which leaves out a step by itself where its gradient is not finite.
        """
        if not all(group["fused"] for group in optimiser.param_groups):
            raise ValueError("A run needs an optimiser with fused=True.")
        return cls(network, copy.deepcopy(network), optimiser, critic)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def state(self) -> dict[str, Any]:
        """Return all that it takes to go on."""
        more: dict[str, Any] = {} if self.critic is None else {"critic": self.critic.state_dict()}
        if self.device.type == "cuda":
            more["random_gpu"] = torch.cuda.get_rng_state(self.device)
        return more | {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "pictures": self.pictures,
            "step": self.step,
            "seconds": self.seconds,
            "random": torch.get_rng_state(),
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from `state`; RequestError where it is damaged or of a network of other sizes."""
        try:
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            if self.critic is not None:
                self.critic.load_state_dict(state["critic"])
            self.optimiser.load_state_dict(fused(state["optimiser"]))
            self.pictures, self.step = int(state["pictures"]), int(state["step"])
            self.seconds = float(state.get("seconds", 0.0))
            torch.set_rng_state(state["random"])
            if self.device.type == "cuda" and "random_gpu" in state:
                torch.cuda.set_rng_state(state["random_gpu"], self.device)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            # The first of several lines only says that there is an error.
            lines = str(error).strip().splitlines() or [type(error).__name__]
            reason = lines[min(1, len(lines) - 1)].strip().rstrip(".")
            raise RequestError(
                f"The saved run is damaged, or for another --model or other network sizes ({reason}); "
                "delete its state.pt, or choose another --output."
            ) from error

    def advance(
        self, objective: Objective, batch: tuple[Tensor, Tensor, Tensor], window: Window | None, bf16: bool
    ) -> dict[str, Tensor]:
        """Take one optimiser step on a batch of `Pairs`; return its losses.

        With `bf16` the whole of it runs under autocast. Nothing in it waits for a GPU.
        A step whose gradient is not finite moves no weight; KeycastError when many follow each other.
        """
        device = self.device
        self.network.train()
        if self.rested:
            _rest(self.network)
        source, driving, landmarks = (part.to(device, non_blocking=True) for part in batch)
        source = self._scaled(source)
        driving = self._scaled(driving.flatten(0, 1)).reshape(*driving.shape[:3], self.size, self.size)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            losses = objective(source, driving, window, landmarks)
            total = torch.stack(list(losses.values())).sum()
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        self._apply()
        self.step += 1
        return {name: value.detach() for name, value in losses.items()}

    def _scaled(self, pictures: Tensor) -> Tensor:
        scaled = fitted(pictures.float().div(255), self.size)
        return scaled.contiguous(memory_format=torch.channels_last)

    def _apply(self) -> None:
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, self.max_norm)
        # The optimiser looks at it where it is: asking for it here would wait for a GPU at every step.
        overflow = torch.isfinite(norm).logical_not_().float()
        self.optimiser.found_inf = overflow  # type: ignore[attr-defined]
        self.optimiser.step()
        follow(self.average, self.network, min(0.999, (1 + self.step) / (10 + self.step)))
        self._skipped = overflow if self._skipped is None else (self._skipped + 1) * overflow
        if (self.step + 1) % LOOK_EVERY == 0 and float(self._skipped) >= _MAX_SKIPPED:
            raise KeycastError(
                f"The training diverged after {self.pictures} pictures; try again with a lower --rate."
            )


def _rest(network: nn.Module) -> None:
    """Let batch norms use the statistics that they have, and leave them as they are."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def fitted(pictures: Tensor, size: int) -> Tensor:
    """Bring pictures (B, C, H, W) to (B, C, size, size)."""
    return pictures if pictures.shape[-1] == size else F.interpolate(pictures, (size, size), mode="area")


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged weights and running statistics towards the network's: a = decay a + (1 - decay) n."""
    theirs = network.state_dict()
    pairs = [(mine, theirs[name]) for name, mine in average.state_dict().items()]
    moving = [pair for pair in pairs if pair[0].dtype.is_floating_point]
    # All at once: tensor by tensor, it takes as long as a layer.
    torch._foreach_lerp_([mine for mine, _ in moving], [their for _, their in moving], 1 - decay)
    counting = [pair for pair in pairs if not pair[0].dtype.is_floating_point]
    if counting:
        torch._foreach_copy_([mine for mine, _ in counting], [their for _, their in counting])
