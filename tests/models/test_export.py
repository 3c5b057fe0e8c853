"""Exported networks are the networks: both backbones, through onnxruntime, against torch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from models.build import load_stages as load
from models.export import export, main
from models.fomm.config import FommConfig
from models.fomm.model import save_fomm
from models.fomm.plain import untrained_fomm
from models.fomm.stages import fomm_network
from models.inference import prepare
from models.lite.stages import lite_network
from models.stages import Network
from shared.errors import KeycastError
from tests.tiny_lite import unsettled

torch.set_num_threads(1)
SMALL = FommConfig(
    image_size=64, detector_expansion=8, detector_max_features=16, detector_blocks=2,
    motion_expansion=8, motion_max_features=16, motion_blocks=2,
    generator_expansion=8, generator_max_features=16, generator_bottleneck_blocks=1,
)  # fmt: skip
# Of [0, 1]: about a twentieth of a grey level.
PIXELS = 2e-4
KEYPOINTS = 1e-4


def random_lite() -> Network:
    return lite_network(prepare(unsettled()), "beef")


def random_fomm() -> Network:
    model = untrained_fomm(0, SMALL)
    model.kp_detector.jacobian.weight.data.normal_(std=0.02)
    return fomm_network(model)


def run(path: Path, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


@pytest.mark.parametrize("make", [random_lite, random_fomm])
def test_the_files_together_are_the_network(make: Callable[[], Network], tmp_path: Path) -> None:
    network = make()
    differences = export(network, tmp_path)
    assert set(differences) == {"detect.onnx", "source.onnx", "render.onnx"}
    assert max(differences.values()) < PIXELS
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(differences)
    # Other pictures and another batch than those of the export.
    pictures = torch.rand(4, 3, network.size, network.size, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        keypoints = network.detect(pictures)
        expected = network.render(*network.encode(pictures[:1]), keypoints).clamp(0, 1)
    assert expected.std() > 1e-3
    found = run(tmp_path / "detect.onnx", pictures=pictures.numpy())["keypoints"]
    np.testing.assert_allclose(found, keypoints.numpy(), atol=KEYPOINTS)
    source = run(tmp_path / "source.onnx", image=pictures[:1].numpy())
    assert tuple(source) == network.source
    drawn = run(tmp_path / "render.onnx", **source, keypoints=found)["pictures"]
    np.testing.assert_allclose(drawn, expected.numpy(), atol=PIXELS)
    one = run(tmp_path / "render.onnx", **source, keypoints=found[2:3])["pictures"]
    np.testing.assert_allclose(one, drawn[2:3], atol=PIXELS)
    for name in differences:
        stored = {entry.key: entry.value for entry in onnx.load(tmp_path / name).metadata_props}
        assert (stored["model"], stored["fingerprint"]) == (network.model, network.fingerprint)
        assert stored["stage"] == name.removesuffix(".onnx")
        assert stored["version"]


def test_the_command_exports_the_shipped_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--output", str(tmp_path), "--opset", "18"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == [
        str(tmp_path / name) for name in ("detect.onnx", "source.onnx", "render.onnx")
    ]
    assert all("differs from torch by at most" in line for line in lines)
    model = onnx.load(tmp_path / "render.onnx")
    assert {entry.key: entry.value for entry in model.metadata_props}["fingerprint"] == load(
        "lite", None
    ).fingerprint
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [18]


def test_a_checkpoint_folder_of_the_full_network_is_taken(tmp_path: Path) -> None:
    model = untrained_fomm(0, SMALL)
    save_fomm(tmp_path, model)
    network = load("fomm", tmp_path)
    assert (network.model, network.fingerprint, network.size) == ("fomm", model.fingerprint(), 64)


def test_a_request_that_cannot_be_met_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(*arguments: str) -> str:
        assert main(arguments) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        return lines[0]

    (tmp_path / "file").write_text("")
    assert "needs --checkpoint" in said("--backbone", "fomm", "--output", str(tmp_path))
    assert "no checkpoint folder" in said("--checkpoint", str(tmp_path / "none"), "--output", str(tmp_path))
    assert "choose another folder" in said("--output", str(tmp_path / "file" / "below"))
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert "install keycast[export]" in said("--output", str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_a_network_that_comes_out_wrong_leaves_nothing(tmp_path: Path) -> None:
    class Unsteady(nn.Module):
        def forward(self, *pictures: torch.Tensor) -> torch.Tensor:
            return pictures[0].flatten(1)[:, :60] + (1.0 if torch.compiler.is_exporting() else 0.0)

    network = random_lite()
    wrong = Network("lite", "beef", 256, network.source, Unsteady(), network.encode, network.render)
    with pytest.raises(KeycastError, match="exported detect differs from torch by 1;"):
        export(wrong, tmp_path)
    assert not list(tmp_path.iterdir())
