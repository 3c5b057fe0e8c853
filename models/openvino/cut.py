"""Split of a rendering graph into two halves: one decides where pixels come from, the other paints them."""

from __future__ import annotations

from models.openvino.runtime import Model, Node, openvino

FORM = 1
"""Of what a graph is cut into: parts that were compiled of another form are of no use."""


def cut_behind_warps(model: Model) -> list[Model]:
    """Split a rendering pass: all that leads to a warp, warps included, and what follows.

    All inputs are the first part's. Changes `model`. A graph without warps stays whole.
    """
    ov = openvino()
    warps = [node for node in model.get_ops() if node.get_type_name() == "GridSample"]
    if not warps:
        return [model]
    leading = _ancestors([*warps, *model.get_parameters()])
    outputs, parameters = [], []
    for node in model.get_ordered_ops():
        if node.get_name() not in leading or node.get_type_name() == "Constant":
            continue
        for output in node.outputs():
            users = [user for user in output.get_target_inputs() if user.get_node().get_name() not in leading]
            if users:
                parameter = ov.op.Parameter(output.get_element_type(), output.get_partial_shape())
                for user in users:
                    user.replace_source_output(parameter.output(0))
                outputs.append(ov.op.Result(output))
                parameters.append(parameter)
    results, given = model.get_results(), model.get_parameters()
    return [ov.Model(outputs, given, "warps"), ov.Model(results, parameters, "pixels")]


def painting(model: Model) -> list[str]:
    """Return the convolutions that paint, by name: those behind the warps that another one follows.

    What the last one says is the colours themselves, and what leads to a warp are places.
    """
    nodes = model.get_ops()
    leading = _ancestors([node for node in nodes if node.get_type_name() == "GridSample"])
    convolutions = [node for node in nodes if node.get_type_name() == "Convolution"]
    behind = [node for node in convolutions if node.get_name() not in leading]
    followed = set().union(*(_ancestors([node]) - {node.get_name()} for node in behind))
    return [node.get_friendly_name() for node in behind if node.get_name() in followed]


def _ancestors(nodes: list[Node]) -> set[str]:
    """Return the names of the nodes and of all that they depend on."""
    found: set[str] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        # Not the friendly name: that of a graph's file need not be unique.
        if node.get_name() not in found:
            found.add(node.get_name())
            waiting += [entry.get_source_output().get_node() for entry in node.inputs()]
    return found
