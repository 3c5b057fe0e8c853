"""The learned forecasters by name: their presets, and the configuration that travels with their weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields

from models.forecast.gru import GRU_PRESETS, Gru, GruConfig
from models.forecast.grunf import GRU_NF_PRESETS, GruNf, GruNfConfig
from models.forecast.linear import LINEAR_PRESETS, Linear, LinearConfig
from models.forecast.nf import NF_PRESETS, Nf, NfConfig
from models.forecast.recurrent import RecurrentNetwork
from models.forecast.scaling import PREDICTS
from models.forecast.simlpe import SIMLPE_PRESETS, Simlpe, SimlpeConfig
from models.forecast.vae import VAE_PRESETS, Vae, VaeConfig
from models.forecast.vrnn import SPREADS, VRNN_PRESETS, Vrnn, VrnnConfig
from shared.errors import RequestError

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
_NETWORKS: dict[type[NetworkConfig], Callable[..., RecurrentNetwork]] = {
    LinearConfig: Linear,
    GruConfig: Gru,
    VaeConfig: Vae,
    NfConfig: Nf,
    VrnnConfig: Vrnn,
    GruNfConfig: GruNf,
    SimlpeConfig: Simlpe,
}

# Settings that are a word.
WORDS = {"predict": PREDICTS, "spread": SPREADS}
# Depths make modules even before any weight is read, widths do not.
MOST = {"layers": 32, "blocks": 64, "depth": 32, "lag": 1024, "order": 64, "length": 256}
MOST_UNITS = 8192


def build_network(config: NetworkConfig) -> RecurrentNetwork:
    """Build the untrained network of `config`."""
    return _NETWORKS[type(config)](config)


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
        MOST.get(key, MOST_UNITS),
    )
    if type(value) is not int or not least <= value <= most:
        raise RequestError(f"{key} must be a whole number from {least} to {most}, not {value!r}")
    return value
