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
from models.inference import prepare
from models.lite.stages import lite_network
from models.stages import Network
from shared.errors import KeycastError
from tests.tiny_lite import save_lite, unsettled

pytestmark = pytest.mark.slow

torch.set_num_threads(1)
SMALL = FommConfig(
    image_size=64, detector_expansion=8, detector_max_features=16, detector_blocks=1,
    motion_expansion=8, motion_max_features=16, motion_blocks=1,
    generator_expansion=8, generator_max_features=16, generator_down_blocks=1,
    generator_bottleneck_blocks=1,
)  # fmt: skip
# Of [0, 1]: about a twentieth of a grey level.
PIXELS = 2e-4
KEYPOINTS = 1e-4


def random_lite() -> Network:
    return lite_network(prepare(unsettled()), "beef")


def lite_folder(folder: Path) -> Path:
    return save_lite(folder, unsettled())


def fomm_folder(folder: Path) -> Path:
    model = untrained_fomm(0, SMALL)
    model.kp_detector.jacobian.weight.data.normal_(std=0.02)
    save_fomm(folder, model)
    return folder


def run(path: Path, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


@pytest.mark.parametrize(("backbone", "save"), [("lite", lite_folder), ("fomm", fomm_folder)])
def test_the_files_that_the_command_leaves_are_the_network(
    backbone: str, save: Callable[[Path], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exporting costs the same whatever the weights: the shipped ones would show nothing more."""
    folder, output = save(tmp_path / "weights"), tmp_path / "onnx"
    given = ["--backbone", backbone, "--checkpoint", str(folder)]
    assert main([*given, "--output", str(output), "--opset", "18"]) == 0
    files = ["detect.onnx", "source.onnx", "render.onnx"]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == [str(output / name) for name in files]
    assert all("differs from torch by at most" in line for line in lines)
    assert sorted(path.name for path in output.iterdir()) == sorted(files)
    network = load(backbone, folder)
    # Other pictures and another batch than those of the export.
    pictures = torch.rand(4, 3, network.size, network.size, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        keypoints = network.detect(pictures)
        expected = network.render(*network.encode(pictures[:1]), keypoints).clamp(0, 1)
    assert expected.std() > 1e-3
    found = run(output / "detect.onnx", pictures=pictures.numpy())["keypoints"]
    np.testing.assert_allclose(found, keypoints.numpy(), atol=KEYPOINTS)
    source = run(output / "source.onnx", image=pictures[:1].numpy())
    assert tuple(source) == network.source
    drawn = run(output / "render.onnx", **source, keypoints=found)["pictures"]
    np.testing.assert_allclose(drawn, expected.numpy(), atol=PIXELS)
    one = run(output / "render.onnx", **source, keypoints=found[2:3])["pictures"]
    np.testing.assert_allclose(one, drawn[2:3], atol=PIXELS)
    for name in files:
        model = onnx.load(output / name)
        assert [entry.version for entry in model.opset_import if entry.domain == ""] == [18]
        stored = {entry.key: entry.value for entry in model.metadata_props}
        assert (stored["model"], stored["fingerprint"]) == (network.model, network.fingerprint)
        assert stored["stage"] == name.removesuffix(".onnx")
        assert stored["version"]


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
