"""The learned forecasters by name: their sizes and presets, and what travels with their weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Literal, get_args

from shared.errors import RequestError

if TYPE_CHECKING:
    from models.forecast.recurrent import ForecastNetwork

Predict = Literal["delta", "frame"]
PREDICTS: tuple[str, ...] = get_args(Predict)
Spread = Literal["learned", "unit"]
SPREADS: tuple[str, ...] = get_args(Spread)

# What weights were trained with, and mean nothing without.
# Standardised inputs beyond this are a cut or a fault; bounded inputs keep every forecast bounded.
LIMIT = 10.0
# A VRNN's log-variances stay in (-6, 6): a still clip must not drive a density to infinity.
LOG_VARIANCE = 6.0
# A flow's log-scales stay in (-2, 2) in each block, so that an inverse never overflows.
LOG_SCALE = 2.0
# What a flow's normalisation adds to a variance.
EPSILON = 1e-4
# The square of the motion, in usual changes, that a still window counts as to siMLPe: noise is not blown up.
MIN_MOTION = 0.03


@dataclass(frozen=True)
class LinearConfig:
    """`order` is how many past changes (or frames) the next one is a linear function of."""

    order: int
    predict: Predict = "delta"


LINEAR_PRESETS = {"call": LinearConfig(order=5), "paper": LinearConfig(order=5)}


@dataclass(frozen=True)
class GruConfig:
    """Sizes of a GRU: layers, units, and the width of the net that reads a frame off the state."""

    layers: int
    hidden: int
    inner: int
    predict: Predict = "delta"


GRU_PRESETS = {
    "call": GruConfig(layers=1, hidden=192, inner=192),
    # The appendix gives no sizes for the GRU alone: those of the VRNN's, for a fair comparison.
    "paper": GruConfig(layers=1, hidden=256, inner=512),
}


@dataclass(frozen=True)
class VaeConfig:
    """Sizes of a VAE: frames between what it sees and what it says, hidden units, latent numbers."""

    lag: int
    inner: int
    latent: int = 15
    predict: Predict = "delta"


VAE_PRESETS = {
    "call": VaeConfig(lag=6, inner=192),
    # The appendix gives no sizes for the VAE alone: those of the VRNN's posterior and decoder.
    "paper": VaeConfig(lag=6, inner=512),
}


@dataclass(frozen=True)
class NfConfig:
    """Sizes of an NF: frames between condition and frame; RealNVP blocks, depth and width of their nets."""

    lag: int
    blocks: int
    depth: int
    inner: int
    predict: Predict = "delta"


NF_PRESETS = {
    "call": NfConfig(lag=6, blocks=4, depth=2, inner=96),
    # The appendix gives no sizes for the NF alone: those of the GRU-NF's flow.
    "paper": NfConfig(lag=6, blocks=12, depth=5, inner=2048),
}


@dataclass(frozen=True)
class VrnnConfig:
    """Sizes of a VRNN: GRU units, width of the feature nets, hidden units of prior, posterior and decoder.

    `spread` is the decoder's: "learned" as in equation 16, or "unit", where it says a mean alone, as the
    appendix has it (B.1: a linear layer to a frame's numbers): the density's spread is then one in
    standardised frames, and the loss the squared error of these.
    """

    hidden: int
    features: int
    inner: int
    latent: int = 15
    spread: Spread = "learned"
    predict: Predict = "delta"


VRNN_PRESETS = {
    "call": VrnnConfig(hidden=128, features=96, inner=128),
    "paper": VrnnConfig(hidden=256, features=256, inner=512, spread="unit"),
}


@dataclass(frozen=True)
class GruNfConfig:
    """Sizes of a GRU-NF: GRU layers and units; RealNVP blocks, and depth and width of their nets."""

    layers: int
    hidden: int
    blocks: int
    depth: int
    inner: int
    predict: Predict = "delta"


GRU_NF_PRESETS = {
    "call": GruNfConfig(layers=1, hidden=128, blocks=4, depth=2, inner=96),
    "paper": GruNfConfig(layers=3, hidden=512, blocks=12, depth=5, inner=2048),
}


@dataclass(frozen=True)
class SimlpeConfig:
    """Sizes: frames seen and said at once, mixing blocks, features a frame."""

    length: int
    blocks: int
    width: int
    predict: Predict = "delta"


SIMLPE_PRESETS = {
    "call": SimlpeConfig(length=24, blocks=48, width=128),
    # The sizes of its authors: 50 frames, 48 blocks, a feature a number of the published networks' keypoints;
    # 0.14 million parameters.
    "paper": SimlpeConfig(length=50, blocks=48, width=60),
}


NetworkConfig = LinearConfig | GruConfig | VaeConfig | NfConfig | VrnnConfig | GruNfConfig | SimlpeConfig

# name -> preset -> sizes
PRESETS: dict[str, Mapping[str, NetworkConfig]] = {
    "linear": LINEAR_PRESETS,
    "gru": GRU_PRESETS,
    "vae": VAE_PRESETS,
    "nf": NF_PRESETS,
    "vrnn": VRNN_PRESETS,
    "gru-nf": GRU_NF_PRESETS,
    "simlpe": SIMLPE_PRESETS,
}
CONFIGS: dict[str, type[NetworkConfig]] = {name: type(sizes["call"]) for name, sizes in PRESETS.items()}

# Settings that are a word.
WORDS = {"predict": PREDICTS, "spread": SPREADS}
# Depths make modules even before any weight is read, widths do not.
MAX_DEPTHS = {"layers": 32, "blocks": 64, "depth": 32, "lag": 1024, "order": 64, "length": 256}
MAX_UNITS = 8192


def build_network(config: NetworkConfig, dimensions: int) -> ForecastNetwork:
    """Build the untrained network of `config` for frames of so many numbers, in torch."""
    from models.forecast.networks import NETWORKS

    return NETWORKS[type(config)](config, dimensions)


def describe(name: str, config: NetworkConfig, tracks_of: str) -> dict[str, object]:
    """Return the mapping that is stored with the weights; `tracks_of` is the fingerprint of the detector."""
    return {"model": name, "tracks_of": tracks_of, **asdict(config)}


def parse(name: str, stored: Mapping[str, object]) -> NetworkConfig:
    """Return the checked configuration of network `name`; RequestError if `stored` is not one."""
    if not isinstance(stored.get("tracks_of"), str):
        raise RequestError(f"the weights of {name} do not say which detector they are for: train them again")
    kind = CONFIGS[name]
    names = {field.name for field in fields(kind)}
    if set(stored) - {"format"} != names | {"model", "tracks_of"}:
        raise RequestError(f"the configuration of {name} must have exactly the entries {sorted(names)}")
    return kind(**{key: _checked(key, stored[key]) for key in names})  # type: ignore[arg-type]


def _checked(key: str, value: object) -> int | str:
    if key in WORDS:
        if value not in WORDS[key]:
            raise RequestError(f"{key} must be one of {', '.join(WORDS[key])}, not {value!r}")
        return str(value)
    least, most = (
        (2 if key == "depth" else 1),
        MAX_DEPTHS.get(key, MAX_UNITS),
    )
    if type(value) is not int or not least <= value <= most:
        raise RequestError(f"{key} must be a whole number from {least} to {most}, not {value!r}")
    return value
