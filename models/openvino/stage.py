"""One stage of a network, compiled: arrays in and out by name, nothing copied that need not be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from models.openvino.cut import FORM, cut_behind_warps
from models.openvino.runtime import Model, Tensor, compiled, openvino

Array = npt.NDArray[Any]


class Stage:
    """A graph's compiled form. `precision` is that of what follows the warps, where there are any.

    With a `key` that says what `model` is, it is looked for in the user's cache.

    A graph in int8 was made so (`models.openvino.quantise`). Coordinates do not survive bfloat16, whose steps
    of 0.004 are half a pixel: all that leads to a warp is float32. The graph then runs in two parts; the
    outputs of one are the inputs of the other, without copies.
    """

    def __init__(self, model: Model, precision: str, key: str | None = None) -> None:
        # Of the graph as it was made: compiling one may give a port the names of others.
        inputs, self.outputs = ([_name(port) for port in ports] for ports in (model.inputs, model.outputs))
        self.shape = tuple(int(side) for side in model.outputs[0].get_shape())
        """That of the first output, whose first side is 1."""
        self._inputs = {name: index for index, name in enumerate(inputs)}
        parts = cut_behind_warps(model) if precision == "bfloat16" else [model]
        precisions = ["float32", precision][: len(parts)]
        keys = [key and f"{key} {index} of {len(parts)}, form {FORM}" for index in range(len(parts))]
        self._requests = [
            compiled(part, precision, key=key)
            for part, precision, key in zip(parts, precisions, keys, strict=True)
        ]
        for before, after in zip(self._requests, self._requests[1:], strict=False):
            for index in range(len(after.model_inputs)):
                after.set_input_tensor(index, before.get_output_tensor(index))
        self._held: Array | None = None

    @property
    def threads(self) -> int:
        """How many threads it was compiled for."""
        return int(self._requests[0].get_compiled_model().get_property("INFERENCE_NUM_THREADS"))

    def put(self, name: str, row: Array) -> None:
        """Copy `row` into an input of its type and shape."""
        self._requests[0].get_input_tensor(self._inputs[name]).data[...] = row

    def keep(self, tensors: Mapping[str, Tensor]) -> None:
        """Read these inputs from where `tensors`, such as `fresh` returned, are until they are set again."""
        for name, tensor in tensors.items():
            self._requests[0].set_input_tensor(self._inputs[name], tensor)

    def run_into(self, result: Array) -> None:
        """Run, and have the first output written into `result`, dense and of its type and shape."""
        self._requests[-1].set_output_tensor(0, openvino().Tensor(result, shared_memory=True))
        # OpenVINO keeps the address until it is given another one.
        self._held = result
        self._run()

    def output(self, name: str) -> Array:
        """Return another output of the run before, as it is until the next one."""
        found: Array = self._requests[-1].get_output_tensor(self.outputs.index(name)).data
        return found

    def run(self) -> dict[str, Tensor]:
        """Run, and return all outputs by name, in memory of their own."""
        request = self._requests[-1]
        fresh = {
            name: openvino().Tensor(port.get_element_type(), port.get_shape())
            for name, port in zip(self.outputs, request.model_outputs, strict=True)
        }
        for index, tensor in enumerate(fresh.values()):
            request.set_output_tensor(index, tensor)
        self._run()
        return fresh

    def _run(self) -> None:
        for request in self._requests:
            # Shared, or each would be copied into an array that nobody looks at.
            request.infer(share_outputs=True)


def _name(port: Any) -> str:  # noqa: ANN401
    return str(port.get_any_name())
