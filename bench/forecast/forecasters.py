"""Forecasters for the commands that measure and draw: which, with whose weights, and for whose keypoints."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from models import stored
from models.forecast.build import WEIGHTS, load_forecaster
from models.forecast.grunf import GruNf
from models.forecast.names import BASELINES, LEARNED, NAMES, PLAIN
from models.forecast.networks import Density, load_density, load_network
from models.forecast.nf import Nf
from models.forecast.vrnn import Vrnn
from shared.errors import RequestError
from shared.interfaces import Backbone, Forecaster


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Declare --weights."""
    parser.add_argument(
        "--weights", type=Path, metavar="FOLDER",
        help="where `models.training forecaster` left NAME/weights (its default: runs); "
        "names without weights there use the shipped ones",
    )  # fmt: skip


def folder_of(name: str, root: Path | None) -> Path:
    """Return where the weights of `name` lie: under `root` where they are there, else the shipped ones.

    RequestError where `root` is no folder.
    """
    if root is None:
        return WEIGHTS / name
    if not root.is_dir():
        raise RequestError(f"There is no folder {root}; give --weights the one that holds NAME/weights.")
    trained = root / name / "weights"
    return trained if (trained / "config.json").is_file() else WEIGHTS / name


def fits(name: str, root: Path | None, backbone: Backbone) -> bool:
    """Whether `name` needs no weights, or has some for `backbone`'s keypoints. RequestError for bad ones."""
    folder = folder_of(name, root)
    if name in PLAIN:
        return True
    known = (folder / "config.json").is_file()
    return known and stored.read_config(folder, expect=name).get("tracks_of") == backbone.detector


def chosen(names: str | None, root: Path | None, backbone: Backbone, device: str) -> list[Forecaster]:
    """Return the baselines and the forecasters that `names` lists, with commas; where it is None, all.

    Those of another detector's keypoints are left out, unless they are asked for by name: that is a
    RequestError, as is an unknown name, or one without weights.
    """
    asked = [] if names is None else [name.strip() for name in names.split(",")]
    kept = [name for name in (NAMES if names is None else BASELINES) if fits(name, root, backbone)]
    for name in asked:
        check_fit(name, root, backbone)
    return [load_forecaster(name, folder_of(name, root), device) for name in dict.fromkeys([*kept, *asked])]


def check_fit(name: str, root: Path | None, backbone: Backbone) -> None:
    """Raise RequestError unless forecaster `name` is known and for the keypoints of `backbone`."""
    if name not in NAMES:
        raise RequestError(f"There is no forecaster {name!r}; choose from: {', '.join(NAMES)}.")
    if not fits(name, root, backbone):
        raise RequestError(
            f"The weights of {name} are for another detector's keypoints: train it with "
            "`python -m models.training forecaster` and this backbone, and give --weights."
        )


def density(name: str, root: Path | None, backbone: Backbone) -> Density:
    """Return the network `name`, which has an exact likelihood. Raises as `check_fit`."""
    check_fit(name, root, backbone)
    return load_density(name, folder_of(name, root))


def densities(forecasters: Sequence[Forecaster], root: Path | None) -> dict[str, Density | Vrnn]:
    """Return those of `forecasters`, by name, that know how likely a clip is, as networks on the CPU."""
    names = [one.name for one in forecasters if one.name in LEARNED]
    networks = {name: load_network(name, folder_of(name, root)).eval() for name in names}
    return {name: network for name, network in networks.items() if isinstance(network, Vrnn | GruNf | Nf)}
