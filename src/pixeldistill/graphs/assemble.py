"""Building ONNX models from Python functions with onnxscript, and preparing them for other programs."""

from collections.abc import Callable, Mapping
from typing import Any

import onnx
import onnx_ir as ir
from onnxscript import OpBuilder, build_graph

OPSET, IR_VERSION = 20, 10

Graph = onnx.ModelProto
Ops = OpBuilder  # `ops.Mul(a, 2)` adds a node to the graph that is being built and returns its output
Types = Mapping[str, tuple[ir.DataType, tuple[int | str, ...]]]  # element type and shape, by name


def build(function: Callable[..., Any], inputs: Types, outputs: Types) -> Graph:
    """Build a model by calling a function with the operators and its inputs, and check the model.

    Args:
        function: called once with `Ops` and one value for each input. Returns one value for each output.
        inputs: types of the inputs, in order.
        outputs: types of the outputs, in order.

    >>> model = build(
    ...     lambda ops, x: ops.Mul(x, 2), {"x": (ir.DataType.INT64, ("n",))}, {"y": (ir.DataType.INT64, ("n",))}
    ... )
    >>> [node.op_type for node in model.graph.node]
    ['Mul']
    """
    graph = build_graph(function, _values(inputs), _values(outputs), opset_imports={"": OPSET}, name="pixeldistill")
    model = ir.to_proto(ir.Model(graph, ir_version=IR_VERSION))
    onnx.checker.check_model(model)
    return model


def _values(types: Types) -> list[ir.Value]:
    return [ir.val(name, dtype, list(shape)) for name, (dtype, shape) in types.items()]


def finished(model: Graph) -> Graph:
    """Return a merged model with one version of each domain and with our name, after a check."""
    versions = {known.domain: known.version for known in sorted(model.opset_import, key=lambda known: known.version)}
    del model.opset_import[:]  # each part has its own imports, and other programs need one version of a domain
    model.opset_import.extend(onnx.helper.make_opsetid(*known) for known in versions.items())
    model.producer_name = "pixeldistill"
    model.graph.name = "pixeldistill"
    model.graph.doc_string = ""
    onnx.checker.check_model(model, full_check=True)
    return model
