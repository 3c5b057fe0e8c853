"""Training recipes for each kind of backbone: how it starts, what it minimises, what it leaves."""

from __future__ import annotations

import argparse
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Generic, NamedTuple

import torch
from torch import Tensor, nn

from models import checkpoint
from models.fomm.config import PUBLISHED, FommConfig
from models.fomm.keypoint_detector import Points
from models.fomm.model import Fomm, save_fomm
from models.lite.config import LiteConfig
from models.lite.network import LiteNetwork, Window
from models.lite.torch_engine import load_network
from models.stored import read_config
from models.training.backbones.backbone_run import Network, Run
from models.training.backbones.discriminator import SMALLEST, MultiScaleDiscriminator
from models.training.backbones.fomm import FommObjective, convolve_in_bf16
from models.training.backbones.fomm_losses import AdversarialLoss, PyramidDistance, load_features
from models.training.backbones.lite import KEEPING, LiteObjective, random_window
from models.training.data.labels import canonical_face
from models.training.run import cosine
from shared.errors import RequestError

_log = logging.getLogger(__name__)
_WHOLE = "detector.whole."
# A rate's warm-up, and the most that it may be of a run.
_WARM_UP_STEPS, _LONGEST_WARM_UP = 200, 0.05
# Of a lite run: a night of two cores, and a quarter of an hour of a large GPU.
_PICTURES, _PICTURES_ON_GPU = 60_000, 1_000_000


class Defaults(NamedTuple):
    """What a recipe takes where the options do not say."""

    batch: int
    rate: float


class Recipe(ABC, Generic[Network]):
    """One kind of backbone, of one size, trained as `options` say.

    `defaults` are the batch, in driving frames, and the rate that hold where the options leave them out;
    `drivings` frames are drawn from each source. With `autocast`, whole steps run under it.
    """

    defaults: ClassVar[Defaults]
    defaults_on_gpu: ClassVar[Defaults]
    drivings: ClassVar[int] = 1
    autocast: bool

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options

    @abstractmethod
    def length(self, clips: int, device: torch.device) -> int:
        """Return how many pictures a run on `device` is long that does not say, with so many clips."""

    @abstractmethod
    def start(self, device: torch.device, size: int) -> tuple[Run[Network], nn.Module]:
        """Return a fresh run for `size` processes, and its objective of (source, driving, window)."""

    @abstractmethod
    def factor(self, done: float) -> float:
        """Return the learning-rate factor at the fraction `done` of the run."""

    def window(self, _done: float, _generator: torch.Generator) -> Window | None:
        """Return the part of the picture to train on at the fraction `done`; None for all of it."""
        return None

    @abstractmethod
    def render(self, network: Network, source: Tensor, driving: Tensor) -> Tensor:
        """Draw `source` (1, 3, H, W) as `driving` (B, 3, H, W) moves: (B, 3, H, W) in [0, 1]."""

    @abstractmethod
    def save(self, folder: Path, run: Run[Network]) -> None:
        """Write the weights to ship as a checkpoint folder."""


class LiteRecipe(Recipe[LiteNetwork]):
    """The lite network: windows first, whole pictures at the end; a cosine rate."""

    defaults = Defaults(batch=12, rate=7e-4)
    # Below a hundred pictures, launching a step's kernels takes longer than computing them.
    defaults_on_gpu = Defaults(batch=128, rate=1.2e-3)
    drivings = 2

    def __init__(self, options: argparse.Namespace, config: LiteConfig | None = None) -> None:
        super().__init__(options)
        if options.adversarial or options.use_kp or options.sizes:
            raise RequestError("--adversarial, --use-kp and --sizes belong to --model fomm; leave them out.")
        if (options.only == "whole") != (options.teacher is not None):
            raise RequestError("--only whole imitates the --teacher weights; give both or neither.")
        if options.only and options.init is None and options.teacher is None:
            raise RequestError("--only trains a part of the --init weights; give both or neither.")
        if options.only == "patches" and not options.landmarks:
            raise RequestError("--only patches learns from --landmarks; give them.")
        if options.only in ("patches", "whole") and options.optical_flow:
            raise RequestError(f"--only {options.only} learns nothing from --optical-flow; leave it out.")
        self.autocast = options.bf16
        self.whole_after = 0.85 if options.whole_after is None else options.whole_after
        self.config = config or _sizes(options.init)
        if options.heat:
            self.config = replace(self.config, heat=options.heat)
        self._detector: str | None = None

    def length(self, _clips: int, device: torch.device) -> int:
        """Return the length of a run, whatever the clips."""
        return _PICTURES if device.type == "cpu" else _PICTURES_ON_GPU

    def start(self, device: torch.device, _size: int) -> tuple[Run[LiteNetwork], nn.Module]:
        """Return a fresh run and its objective."""
        options = self.options
        if not options.landmarks and options.only != "whole":
            _log.warning(
                "Without --landmarks, lips and lids cannot be learned: heads will move, faces will not"
            )
        network = LiteNetwork(self.config).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        teacher = None if options.teacher is None else load_network(options.teacher)
        if teacher is not None:
            _take_over(network, teacher)
        if options.init is not None:
            given = checkpoint.load(options.init, expect="lite")
            checkpoint.load_into(network, given)
            # A detector that stays as it is keeps its name: forecasters and codec tables go by it.
            kept = options.only in KEEPING
            self._detector = given.config.get("detector") if kept else None
        objective = LiteObjective(
            network,
            options.perceptual,
            canonical_face(options.landmarks or ()),
            only=options.only,
            follow=options.optical_flow,
            teacher=None if teacher is None else teacher.detector,
        )
        learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
        run = Run.of(
            network,
            torch.optim.AdamW(learning, lr=options.rate, weight_decay=1e-4, betas=(0.9, 0.99), fused=True),
        )
        run.rested = options.init is not None
        return run, objective.to(device)

    def factor(self, done: float) -> float:
        """Return a cosine's factor, after a warm-up that has as many steps whatever their size."""
        pictures = self.options.pictures
        whole = _WARM_UP_STEPS * (self.options.batch or self.defaults.batch)
        return cosine(done, warmup=min(_LONGEST_WARM_UP, whole / pictures if pictures else 1.0))

    def window(self, done: float, generator: torch.Generator) -> Window | None:
        """Return a random quarter of the picture, until --whole-after."""
        return None if done >= self.whole_after else random_window(generator)

    def render(self, network: LiteNetwork, source: Tensor, driving: Tensor) -> Tensor:
        """Draw `source` as `driving` moves."""
        rendered = network.render(network.encode(source).expand(len(driving)), network.detector(driving))
        return rendered.clamp(0, 1)

    def save(self, folder: Path, run: Run[LiteNetwork]) -> None:
        """Write the weights with the sizes next to them, in 16 bits where they fit."""
        half = {name: _halved(tensor) for name, tensor in run.average.state_dict().items()}
        save_lite(folder, half, self.config, run.pictures, detector=self._detector)


def _sizes(init: Path | None) -> LiteConfig:
    """Return the sizes of the weights to begin with, which may be an earlier default; else today's."""
    return LiteConfig() if init is None else LiteConfig.from_map(read_config(init, "lite").get("network"))


def _take_over(network: LiteNetwork, teacher: LiteNetwork) -> None:
    """Begin with a teacher's weights, but for its look at whole pictures; RequestError unless they fit."""
    own = {name: tensor for name, tensor in network.state_dict().items() if name.startswith(_WHOLE)}
    given = {name: tensor for name, tensor in teacher.state_dict().items() if not name.startswith(_WHOLE)}
    checkpoint.load_tensors(network, {**given, **own}, "The --teacher checkpoint")


def save_lite(
    folder: Path,
    tensors: Mapping[str, Tensor],
    config: LiteConfig,
    pictures: int,
    detector: str | None = None,
) -> None:
    """Write a lite checkpoint; its config names the detector, which forecasters and codec tables are of.

    `detector` is its name, where it has one already.
    """
    sizes = config.to_map()
    if detector is None:
        finding = {name: tensor for name, tensor in tensors.items() if name.startswith("detector.")}
        shape = {name: sizes[name] for name in ("detector", "heat", "patches", "temperature")}
        detector = checkpoint.fingerprint(finding, shape)
    checkpoint.save(
        folder, tensors, {"model": "lite", "network": sizes, "pictures": pictures, "detector": detector}
    )


class FommRecipe(Recipe[Fomm]):
    """The full network with the settings of its published vox-256 and, adversarial, vox-adv-256 training."""

    # Published: 40 in all, over the GPUs of one machine.
    defaults = defaults_on_gpu = Defaults(batch=20, rate=2e-4)
    autocast = False

    # 100 epochs, or 150 with the adversary, of 75 pairs of each clip; the rate falls tenfold at milestones.
    _repeats = 75
    _epochs, _adversarial_epochs = 100, 150
    _milestones = (0.6, 0.9)

    def __init__(self, options: argparse.Namespace, config: FommConfig | None = None) -> None:
        super().__init__(options)
        self.config = config or fomm_sizes(options.sizes or "vox-256")
        if options.whole_after is not None:
            raise RequestError("--whole-after belongs to --model lite; leave it out.")
        theirs = ("landmarks", "init", "only", "teacher", "heat", "optical_flow")
        if any(getattr(options, name) for name in theirs):
            names = [f"--{name.replace('_', '-')}" for name in theirs]
            raise RequestError(
                f"{', '.join(names[:-1])} and {names[-1]} belong to --model lite; leave them out."
            )
        if options.use_kp and not options.adversarial:
            raise RequestError("--use-kp says what the discriminator sees; give --adversarial with it.")
        if options.adversarial and self.config.image_size < SMALLEST:
            raise RequestError(f"--adversarial needs pictures of at least {SMALLEST} pixels.")

    def length(self, clips: int, _device: torch.device) -> int:
        """Return the published number of repeats of each clip."""
        return (
            clips * self._repeats * (self._adversarial_epochs if self.options.adversarial else self._epochs)
        )

    def start(self, device: torch.device, size: int) -> tuple[Run[Fomm], nn.Module]:
        """Return a fresh run, of which the adversary is a part where one is asked for, and its objective."""
        options, config = self.options, self.config
        network = Fomm(config).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        keypoints = config.num_kp if options.use_kp else 0
        critic = MultiScaleDiscriminator(keypoints).to(device) if options.adversarial else None
        parameters = [*network.parameters(), *(critic.parameters() if critic else ())]
        run = Run.of(
            network, torch.optim.Adam(parameters, lr=options.rate, betas=(0.5, 0.999), fused=True), critic
        )
        run.size, run.max_norm = config.image_size, float("inf")
        if size > 1 and device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        if options.bf16:
            convolve_in_bf16(network)
        if not options.perceptual:
            _log.warning("Without --perceptual, only pixels are compared: faces will be blurred")
        distance = PyramidDistance(
            config.image_size, load_features(options.perceptual) if options.perceptual else None
        )
        adversary = AdversarialLoss(critic) if critic else None
        return run, FommObjective(network, distance, adversary, options.bf16).to(device)

    def factor(self, done: float) -> float:
        """Return the published steps; with the adversary the rate stays."""
        return 1.0 if self.options.adversarial else 0.1 ** sum(done >= part for part in self._milestones)

    def render(self, network: Fomm, source: Tensor, driving: Tensor) -> Tensor:
        """Draw `source` as `driving` moves."""
        of_source: Points = network.kp_detector(source)
        state = network.generator.encode_source(source, of_source)
        return network.generator.decode(state, network.kp_detector(driving)).prediction

    def save(self, folder: Path, run: Run[Fomm]) -> None:
        """Write what `load_fomm` reads."""
        save_fomm(folder, run.average)


def fomm_sizes(name: str) -> FommConfig:
    """Return the published configuration called `name`, or that in a JSON file of `FommConfig`'s entries."""
    if name in PUBLISHED:
        return PUBLISHED[name]
    try:
        values = json.loads(Path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        names = ", ".join(PUBLISHED)
        raise RequestError(
            f"Could not read network sizes from {name} ({error}); give a JSON file or one of: {names}."
        ) from error
    if not isinstance(values, dict):
        raise RequestError(f"{name} holds no network sizes; give a JSON object with FommConfig's entries.")
    return FommConfig.from_mapping(values)


RECIPES: dict[str, type[LiteRecipe] | type[FommRecipe]] = {"lite": LiteRecipe, "fomm": FommRecipe}


def _halved(tensor: Tensor) -> Tensor:
    """Store numbers in 16 bits, where they fit."""
    half = tensor.half()
    return half if tensor.is_floating_point() and bool(torch.isfinite(half).all()) else tensor
