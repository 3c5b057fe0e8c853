"""Whose weights a bench command takes, and that they are for the keypoints at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from animate.animate_command import main as animate
from bench.__main__ import main
from bench.forecast.forecasters import chosen, density, fits, folder_of
from bench.harness.media import write_mp4
from models.build import SHIPPED
from models.checkpoint import save
from models.forecast.build import load_forecaster
from models.forecast.config import build_network, describe
from models.forecast.names import BASELINES, NAMES
from models.forecast.vrnn import Vrnn, VrnnConfig
from models.lite.backbone import LiteBackbone
from models.lite.layout import DIMENSIONS
from sender.demo import pose_at
from shared.errors import RequestError
from shared.portrait.portrait import Portrait
from tests.tiny_lite import untrained

torch.set_num_threads(1)
TINY = VrnnConfig(hidden=8, features=8, inner=8, spread="unit")


@pytest.fixture(scope="module")
def ours() -> LiteBackbone:
    return LiteBackbone.load(SHIPPED / "lite", "cpu")


@pytest.fixture(scope="module")
def other() -> LiteBackbone:
    """Another detector: the same network, untrained."""
    return LiteBackbone.of(untrained(), fingerprint="another")


def train(root: Path, tracks_of: str) -> Path:
    """Leave a tiny VRNN as a training run under `root` does."""
    torch.manual_seed(0)
    network = build_network(TINY, DIMENSIONS)
    assert isinstance(network, Vrnn)
    save(root / "vrnn" / "weights", network.state_dict(), describe("vrnn", TINY, tracks_of))
    return root


def test_all_shipped_ones_fit_the_shipped_backbone(ours: LiteBackbone) -> None:
    assert [one.name for one in chosen(None, None, ours, "cpu")] == list(NAMES)
    assert [one.name for one in chosen("gru, gru", None, ours, "cpu")] == [*BASELINES, "gru"]


def test_ones_of_another_detector_are_left_out_or_refused(other: LiteBackbone, tmp_path: Path) -> None:
    assert [one.name for one in chosen(None, None, other, "cpu")] == ["hold", "damped"]
    with pytest.raises(RequestError, match="another detector"):
        chosen("vrnn", None, other, "cpu")
    with pytest.raises(RequestError, match="another detector"):
        density("gru-nf", None, other)
    with pytest.raises(RequestError, match="no forecaster 'oracle'"):
        chosen("oracle", None, other, "cpu")
    root = train(tmp_path, "another")
    assert [one.name for one in chosen(None, root, other, "cpu")] == ["hold", "damped", "vrnn"]


def test_weights_of_ones_own_take_the_place_of_the_shipped(ours: LiteBackbone, tmp_path: Path) -> None:
    root = train(tmp_path, ours.detector)
    assert folder_of("vrnn", root) == root / "vrnn" / "weights"
    assert folder_of("gru", root) == folder_of("gru", None)
    assert fits("vrnn", root, ours)
    (vrnn,) = (one for one in chosen("vrnn", root, ours, "cpu") if one.name == "vrnn")
    shipped = load_forecaster("vrnn")
    past = np.random.default_rng(0).normal(0, 0.1, (6, 60)).astype(np.float32)
    for forecaster in (vrnn, shipped):
        forecaster.observe(past)
    assert not np.allclose(vrnn.forecast(2), shipped.forecast(2), atol=1e-3)
    with pytest.raises(RequestError, match="no folder"):
        folder_of("vrnn", tmp_path / "none")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["forecast", "diversity", "anomaly", "animate"])
def test_every_command_takes_them(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    portrait = Portrait()
    write_mp4(tmp_path / "a.mp4", [portrait.draw(pose_at(n / 12)) for n in range(8)])
    root = train(tmp_path / "runs", "another")
    given = f"--weights {root} --backbone lite --threads 1"
    if command == "animate":
        output = tmp_path / "x.mp4"
        given = f"--driving {tmp_path / 'a.mp4'} --output {output} --forecaster vrnn {given}"
        assert animate(given.split()) == 2
    elif command == "anomaly":
        given = f"--clips {tmp_path} --weights {tmp_path / 'none'} --backbone lite --threads 1"
        assert main([command, *given.split()]) == 2
    else:
        assert main([command, *f"--clips {tmp_path} --models vrnn {given}".split()]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert ("another detector" if command != "anomaly" else "no folder") in said
