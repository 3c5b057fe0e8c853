"""The lite network in OpenVINO: its faster engine on CPUs, one picture or frame at a time.

The network is traced by torch and handed over in memory; nothing is written. On one core of a busy
server CPU the fastest of 60 frames took 15 ms instead of torch's 22 in bfloat16, 19 instead of 31 in float32.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.lite.network import GRID, LiteNetwork, Points, Source
from models.openvino_runtime import Model, compiled, import_openvino
from shared.errors import KeycastError
from shared.keypoints import DIMENSIONS, Floats

# OpenVINO has no types that a checker could read; this name says what is meant.
Node = Any

_SIZE = 4 * GRID
_HALF = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoEngine:
    """A prepared lite network (CPU, float32) compiled for this machine's CPU.

    `precision` is that of the generator's convolutions; "auto" is bfloat16 where the CPU computes in it.
    Keypoints, motion, warps and blending are float32. It uses as many threads as torch does while it is
    built. Raises KeycastError where OpenVINO is missing or cannot take the network.
    """

    def __init__(self, network: LiteNetwork, precision: str = "auto") -> None:
        core = import_openvino().Core()
        if precision == "auto":
            able = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
            precision = "bfloat16" if able else "float32"
        self.precision = precision
        try:
            self._detection = _Stage([_converted(_Detection(network), [_blank(_SIZE, _SIZE, 3)])], ["f32"])
            drawing = _converted(_Drawing(network), [*_inputs(_empty_source(network)), _blank(DIMENSIONS)])
            # Coordinates do not survive bfloat16: its steps of 0.004 are half a pixel.
            parts = [drawing] if precision == "float32" else _cut_behind_warps(drawing)
            self._drawing = _Stage(parts, ["f32", _HALF[precision]][: len(parts)])
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise KeycastError(
                f"OpenVINO cannot run this network ({reason}); use the torch engine."
            ) from error
        self._source: Source | None = None

    @property
    def threads(self) -> int:
        """How many threads a picture or frame takes."""
        return self._drawing.threads

    def detect(self, pictures: Tensor) -> Tensor:
        """Return the keypoints (B, 60) of pictures (B, 3, 256, 256) in [0, 1]."""
        return torch.from_numpy(self._detection(pictures.permute(0, 2, 3, 1).numpy()))

    def draw(self, source: Source, keypoints: Tensor) -> Tensor:
        """Render keypoints (B, 60) from one source: (B, 3, 256, 256) in [0, 1]."""
        if source is not self._source:
            self._drawing.hold(tensor.numpy() for tensor in _inputs(source))
            self._source = source
        return torch.from_numpy(self._drawing(keypoints.numpy())).permute(0, 3, 1, 2)


class _Detection(nn.Module):
    def __init__(self, network: LiteNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> Tensor:
        points: Points = self.network.detector(picture.permute(0, 3, 1, 2))
        return points.flat()


class _Drawing(nn.Module):
    def __init__(self, network: LiteNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(  # noqa: PLR0917  # tracing takes positions
        self,
        picture: Tensor,
        small: Tensor,
        points: Tensor,
        gaussians: Tensor,
        fine: Tensor,
        coarse: Tensor,
        keypoints: Tensor,
    ) -> Tensor:
        source = Source(picture, small, Points.from_flat(points), gaussians, fine, coarse)
        return self.network.render(source, Points.from_flat(keypoints)).permute(0, 2, 3, 1)


class _Stage:
    """Models that run one after the other; the outputs of one are the inputs of the next, without copies."""

    def __init__(self, models: list[Model], precisions: list[str]) -> None:
        self._requests = [
            compiled(*pair, torch.get_num_threads()) for pair in zip(models, precisions, strict=True)
        ]
        for before, after in zip(self._requests, self._requests[1:], strict=False):
            for index in range(len(after.model_inputs)):
                after.set_input_tensor(index, before.get_output_tensor(index))
        self._held: list[Floats] = []

    @property
    def threads(self) -> int:
        """How many threads the models were compiled for."""
        return int(self._requests[0].get_compiled_model().get_property("INFERENCE_NUM_THREADS"))

    def hold(self, arrays: Iterable[Floats]) -> None:
        """Set all inputs but the last, until they are set again."""
        # OpenVINO reads the arrays where they are: they must be dense, and live as long as it may.
        self._held = [np.ascontiguousarray(array) for array in arrays]
        for index, array in enumerate(self._held):
            self._requests[0].set_input_tensor(index, import_openvino().Tensor(array, shared_memory=True))

    def __call__(self, rows: Floats) -> Floats:
        """Run once per row (of the last input), and return the outputs as rows of an array."""
        entry = self._requests[0].get_tensor(self._requests[0].model_inputs[-1]).data
        output = self._requests[-1].get_output_tensor(0).data
        results = np.empty((len(rows), *output.shape[1:]), np.float32)
        for row, result in zip(rows, results, strict=True):
            entry[0] = row
            for request in self._requests:
                request.infer()
            result[...] = output[0]
        return results


def _blank(*shape: int) -> Tensor:
    return torch.zeros(1, *shape)


def _empty_source(network: LiteNetwork) -> Source:
    with torch.no_grad():
        return network.encode(_blank(3, _SIZE, _SIZE))


def _inputs(source: Source) -> list[Tensor]:
    return [
        source.picture, source.small, source.points.flat(), source.gaussians, source.fine, source.coarse
    ]  # fmt: skip


def _converted(module: nn.Module, examples: list[Tensor]) -> Model:
    """Trace `module` and convert it; inputs of fixed shapes, float32."""
    openvino = import_openvino()
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with warnings.catch_warnings():
        # Sizes become constants, as they shall; and torch would have people move on from tracing altogether.
        warnings.simplefilter("ignore")
        trace: Callable[..., torch.jit.ScriptModule] = torch.jit.trace
        traced = torch.jit.freeze(trace(module.eval(), tuple(examples), check_trace=False))
    frontend = openvino.frontend.FrontEndManager().load_by_framework("pytorch")
    # OpenVINO keeps no reference of its own to the decoder that it reads from.
    decoder = TorchScriptPythonDecoder(traced)
    model: Model = frontend.convert(frontend.load(decoder))
    for entry, example in zip(model.inputs, examples, strict=True):
        entry.get_node().set_partial_shape(openvino.PartialShape(list(example.shape)))
        entry.get_node().set_element_type(openvino.Type.f32)
    model.validate_nodes_and_infer_types()
    return model


def _cut_behind_warps(model: Model) -> list[Model]:
    """Split a rendering pass in two: all that leads to a warp, warps included, and what follows."""
    openvino = import_openvino()
    warps = [node for node in model.get_ops() if node.get_type_name() == "GridSample"]
    leading = _ancestors(warps)
    outputs, parameters = [], []
    for node in model.get_ordered_ops():
        if _name(node) not in leading or node.get_type_name() == "Constant":
            continue
        for output in node.outputs():
            users = [user for user in output.get_target_inputs() if _name(user.get_node()) not in leading]
            if users:
                parameter = openvino.op.Parameter(output.get_element_type(), output.get_partial_shape())
                for user in users:
                    user.replace_source_output(parameter.output(0))
                outputs.append(openvino.op.Result(output))
                parameters.append(parameter)
    results, given = model.get_results(), model.get_parameters()
    return [openvino.Model(outputs, given, "warps"), openvino.Model(results, parameters, "pixels")]


def _ancestors(nodes: list[Node]) -> set[str]:
    """Return the names of the nodes and of all that they depend on."""
    found: set[str] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if _name(node) not in found:
            found.add(_name(node))
            waiting += [entry.get_source_output().get_node() for entry in node.inputs()]
    return found


def _name(node: Node) -> str:
    return str(node.get_friendly_name())
