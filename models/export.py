"""`python -m models.export`: a backbone as ONNX files, one per stage, each compared with torch on the spot.

`detect.onnx` maps pictures (B, 3, S, S) in [0, 1] to keypoints (B, D). `source.onnx` maps one picture to
everything that depends on it alone; `render.onnx` takes that and keypoints (B, D), and returns pictures
(B, 3, S, S) in [0, 1]. All is float32, S is 256, B is any number. The files' metadata say model, fingerprint,
stage and version.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.build import load_stages
from models.stages import Network
from shared.constants import BACKBONES
from shared.errors import KeycastError, RequestError
from shared.runtime.command import run_command

OPSETS = range(18, 24)
NEEDED = ("onnx", "onnxruntime", "onnxscript")
# Other kernels add in another order; a network that was exported wrongly differs by far more.
TOLERANCE = 0.01


@dataclass(frozen=True)
class Stage:
    """One file to write: a module, examples of its inputs, and which of its inputs is a batch, if any."""

    name: str
    module: nn.Module
    examples: tuple[Tensor, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    batched: str | None = None


class _Clipped(nn.Module):
    """A stage that draws, with colours clipped as a call shows them."""

    def __init__(self, render: nn.Module) -> None:
        super().__init__()
        self.render = render

    def forward(self, *tensors: Tensor) -> Tensor:
        return torch.as_tensor(self.render(*tensors).clamp(0, 1))


def export(network: Network, folder: Path, opset: int = 20) -> dict[str, float]:
    """Write the three files into `folder`; return the largest difference from torch in each, by file name.

    Files appear only when all three are written, pass ONNX's checker and agree with torch. Raises
    RequestError for an unusable folder or missing packages, KeycastError where a stage cannot be exported.
    """
    _check_packages()
    differences: dict[str, float] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".exporting-", dir=folder) as temporary:
            for stage in _stages(network):
                path = Path(temporary, f"{stage.name}.onnx")
                _write(stage, path, opset, _metadata(network, stage))
                differences[path.name] = _difference(stage, path)
            for name in differences:
                os.replace(Path(temporary, name), folder / name)
    except OSError as error:
        raise RequestError(f"Cannot write to {folder} ({error}); choose another folder.") from error
    return differences


def _check_packages() -> None:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise RequestError(f"Exporting needs {' and '.join(missing)}; install keycast[export].")


@torch.no_grad()
def _stages(network: Network) -> tuple[Stage, Stage, Stage]:
    """Prepare all stages, the inputs of the last one being the outputs of those before."""
    noise = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    pictures = nn.functional.interpolate(noise, size=(network.size,) * 2, mode="bilinear")
    source = network.encode(pictures[:1])
    keypoints = network.detect(pictures)
    driving = torch.stack([keypoints[0].lerp(keypoints[1], part) for part in (0.0, 0.25, 0.5)])
    # Once for real: what a network computes once and keeps would else be kept of tracing, without values.
    network.render(*source, driving)
    return (
        Stage("detect", network.detect, (pictures,), ("pictures",), ("keypoints",), "pictures"),
        Stage("source", network.encode, (pictures[:1],), ("image",), network.source),
        Stage(
            "render", _Clipped(network.render), (*source, driving),
            (*network.source, "keypoints"), ("pictures",), "keypoints",
        ),
    )  # fmt: skip


def _metadata(network: Network, stage: Stage) -> dict[str, str]:
    return {
        "model": network.model,
        "fingerprint": network.fingerprint,
        "stage": stage.name,
        "version": version("keycast"),
    }


def _write(stage: Stage, path: Path, opset: int, metadata: dict[str, str]) -> None:
    """Export one stage to `path`, with its metadata, and check it. Raises KeycastError where that fails."""
    import onnx

    try:
        with warnings.catch_warnings():
            # Of torch's own parts, which it deprecates while it uses them.
            warnings.simplefilter("ignore")
            model = _traced(stage, opset)
        onnx.helper.set_model_props(model, metadata)
        onnx.checker.check_model(model, full_check=True)
    except (torch.onnx.errors.OnnxExporterError, onnx.checker.ValidationError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise KeycastError(f"Exporting {stage.name} to opset {opset} failed ({reason}).") from error
    onnx.save(model, path)


def _traced(stage: Stage, opset: int) -> Any:  # noqa: ANN401
    batch = torch.export.Dim("batch", min=1, max=1024)
    shapes = tuple({0: batch} if name == stage.batched else None for name in stage.inputs)
    # Not strict, which takes longer: networks ask for `shape[0]`, for `len` would be made a number.
    program = torch.export.export(stage.module, stage.examples, dynamic_shapes=(shapes,), strict=False)
    exported = torch.onnx.export(
        program, (), input_names=stage.inputs, output_names=stage.outputs,
        opset_version=opset, dynamo=True, external_data=False, verbose=False,
    )  # fmt: skip
    assert exported is not None
    return exported.model_proto


@torch.no_grad()
def _difference(stage: Stage, path: Path) -> float:
    """Run the file and the module on the examples: return the largest difference of any output.

    Raises KeycastError where that is more than rounding explains.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    arrays = dict(zip(stage.inputs, (example.numpy() for example in stage.examples), strict=True))
    found = session.run(list(stage.outputs), arrays)
    expected = stage.module(*stage.examples)
    expected = (expected,) if isinstance(expected, Tensor) else expected
    largest = max(
        float(np.abs(mine - theirs.numpy()).max()) for mine, theirs in zip(found, expected, strict=True)
    )
    # Written so that NaN, which compares false, is refused.
    if not largest <= TOLERANCE:
        raise KeycastError(
            f"The exported {stage.name} differs from torch by {largest:.3g}; nothing was written."
        )
    return largest


def parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    commands = argparse.ArgumentParser(
        prog="python -m models.export", description="Write a backbone as ONNX files, one per stage."
    )
    add = commands.add_argument
    add("--backbone", choices=BACKBONES, default="lite", help="default lite")
    add("--checkpoint", type=Path, metavar="PATH", help="weights to use instead of the shipped ones")
    add("--output", type=Path, metavar="FOLDER", required=True)
    add("--opset", type=int, choices=OPSETS, default=20, help="version of ONNX's operators (default 20)")
    add("--debug", action="store_true", help="show tracebacks")
    return commands


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    given = parser().parse_args(arguments)
    return run_command(lambda: _run(given), given.debug)


def _run(given: argparse.Namespace) -> int:
    # The exporter reports about packages that it looks for and we do not need.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    _check_packages()
    for name, difference in export(
        load_stages(given.backbone, given.checkpoint), given.output, given.opset
    ).items():
        size = (given.output / name).stat().st_size / 1e6
        print(f"wrote {given.output / name} ({size:.1f} MB, differs from torch by at most {difference:.1e})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
