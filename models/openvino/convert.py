"""From a network in torch to OpenVINO's graphs, bytes in and bytes out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from models.openvino.engine import KEYPOINTS, PICTURE, POINTS, StageName
from models.openvino.runtime import EngineError, Model, failure, openvino
from models.stages import Network


class TorchGraphs:
    """Implements `models.openvino.engine.Graphs` for stages in torch, evaluating, on the CPU, float32.

    Raises EngineError where OpenVINO cannot take the network.
    """

    has_int8 = False

    def __init__(self, network: Network) -> None:
        self._network = network

    def key(self, _stage: StageName, *, int8: bool = False) -> str | None:  # noqa: ARG002
        """Return nothing: these graphs are not kept."""
        return None

    @torch.no_grad()
    def model(self, stage: StageName, *, int8: bool = False) -> Model:
        """Return the graph of one stage; see `Graphs.model`. None is in int8: that takes examples."""
        if int8:
            raise ValueError("There is no graph in int8; look at has_int8.")
        net, size = self._network, self._network.size
        picture = torch.zeros(1, size, size, 3, dtype=torch.uint8)
        try:
            if stage == "detect":
                return _converted(_FromBytes(net.detect), {PICTURE: picture}, [KEYPOINTS])
            if stage == "encode":
                return _converted(_FromBytes(net.encode), {PICTURE: picture}, net.source)
            source = dict(zip(net.source, _FromBytes(net.encode)(picture), strict=True))
            keypoints = torch.zeros_like(source[POINTS])
            rendering = net.render if net.rendered is None else net.rendered
            return _converted(_ToBytes(rendering), {**source, KEYPOINTS: keypoints}, [PICTURE, *net.parts])
        except RuntimeError as error:
            raise failure(error) from error


class _FromBytes(nn.Module):
    """A stage whose input is a picture: of bytes, pixel by pixel, instead of numbers, plane by plane."""

    def __init__(self, stage: nn.Module) -> None:
        super().__init__()
        self.stage = stage

    def forward(self, picture: Tensor) -> Tensor | tuple[Tensor, ...]:
        found: Tensor | tuple[Tensor, ...] = self.stage(picture.permute(0, 3, 1, 2).float() / 255)
        return found


class _ToBytes(nn.Module):
    """A stage whose first output is a picture: the same the other way round."""

    def __init__(self, stage: nn.Module) -> None:
        super().__init__()
        self.stage = stage

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        found = self.stage(*tensors)
        picture, *parts = (found,) if isinstance(found, Tensor) else found
        levels = (picture * 255).round().clamp(0, 255).permute(0, 2, 3, 1).to(torch.uint8)
        return (levels, *parts) if parts else levels


def _converted(module: nn.Module, examples: dict[str, Tensor], outputs: Sequence[str]) -> Model:
    """Trace `module` and convert it: inputs of the examples' names, shapes and types."""
    ov = openvino()
    try:
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
    except ImportError as error:
        raise EngineError(
            f"OpenVINO {ov.__version__} cannot read networks from torch ({error}); install openvino 2026.4."
        ) from error

    frontend = ov.frontend.FrontEndManager().load_by_framework("pytorch")
    # OpenVINO keeps no reference of its own to the decoder that it reads from.
    decoder = TorchScriptPythonDecoder(_traced(module, tuple(examples.values())))
    model: Model = frontend.convert(frontend.load(decoder))
    for entry, example in zip(model.inputs, examples.values(), strict=True):
        entry.get_node().set_partial_shape(ov.PartialShape(list(example.shape)))
        entry.get_node().set_element_type(ov.Type(example.numpy().dtype))
    model.validate_nodes_and_infer_types()
    _fold_constants(model)
    _name(model, [*examples], outputs)
    return model


def _name(model: Model, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Give the inputs and outputs of `model` these names and no others, which tracing left."""
    for node in model.get_ops():
        for port in node.outputs():
            port.get_tensor().set_names(set())
    for port, name in zip([*model.inputs, *model.outputs], [*inputs, *outputs], strict=True):
        port.get_tensor().set_names({name})


def _traced(module: nn.Module, examples: tuple[Tensor, ...]) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        # Sizes become constants, as they shall; and torch would have people move on from tracing altogether.
        warnings.simplefilter("ignore")
        trace: Callable[..., torch.jit.ScriptModule] = torch.jit.trace
        traced = trace(module.eval(), examples, check_trace=False)
        # Weights stay as they are: OpenVINO folds batch norms into them when it compiles.
        frozen: torch.jit.ScriptModule = torch.jit.freeze(traced, optimize_numerics=False)
        return frozen


def _fold_constants(model: Model) -> None:
    """Compute what depends on no input, above all the sizes that tracing reads off tensors."""
    from openvino.passes import ConstantFolding, Manager

    manager = Manager()
    manager.register_pass(ConstantFolding())
    manager.run_passes(model)


def shrink(model: Model) -> None:
    """Store those numbers of `model` as float16 that lose nothing by it: weights that were stored so."""
    ov = openvino()
    for node in model.get_ops():
        if node.get_type_name() != "Constant" or node.get_element_type() != ov.Type.f32:
            continue
        values = node.get_data()
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if values.size > 1 and np.array_equal(half, values):
            wide = ov.opset8.convert(ov.op.Constant(half), "f32")
            for user in node.output(0).get_target_inputs():
                user.replace_source_output(wide.output(0))
