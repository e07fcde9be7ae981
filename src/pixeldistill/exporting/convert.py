"""Conversion of a network to an ONNX graph, and of the whole file: from 8-bit images of any size to predictions."""

import contextlib
import logging
import warnings
from collections.abc import Iterator

import onnx
import onnx.compose
import torch

from pixeldistill.errors import ExportError
from pixeldistill.graphs.assemble import IR_VERSION, OPSET
from pixeldistill.networks.adapter import Adapter
from pixeldistill.networks.backbone import one_line
from pixeldistill.tasks import task_of

PREFIX = "network/"
LONGEST = 2**14  # longest side of a detector's image in pixels

Graph = onnx.ModelProto


def convert(network: Adapter) -> Graph:
    """Convert a network for any number of images, without its preprocessing and postprocessing.

    A classifier's graph takes uint8 (batch, 3, side, side) and returns its logits as `scores`. A detector's graph takes
    normalised and padded float images of any size, and returns `scores` and `boxes` of all anchors, see
    `tasks.detection.deployed`.

    Raises:
        ExportError: PyTorch's exporter fails.
    """
    deployed = task_of(network).deploy(network)
    example, varying, names = task_of(network).example(network, deployed)
    try:
        with _quiet():
            program = torch.onnx.export(
                deployed, (example,), dynamo=True, dynamic_shapes=(varying,), input_names=["image"], output_names=names,
                opset_version=OPSET, verbose=False,
            )  # fmt: skip
    except Exception as error:  # the exporter may raise any error
        raise ExportError(
            f"PyTorch cannot export this network ({one_line(error.__cause__ or error)}): choose another, or deploy its weights"
        ) from error
    assert program is not None
    model: Graph = program.model_proto
    model.ir_version = IR_VERSION
    _pool_globally(model)
    del model.graph.value_info[:], model.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]  # the source places of the nodes: paths of this machine
        node.doc_string = ""
    return onnx.compose.add_prefix(model, PREFIX)


def _pool_globally(model: Graph) -> None:
    """Replace pooling windows that are larger than the map, in place. At small image sizes the last maps have one pixel.

    PyTorch averages the existing pixels. Some runtimes do not accept such a window.
    """
    inferred = onnx.shape_inference.infer_shapes(model).graph
    known = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in inferred.value_info}
    for node in model.graph.node:
        settings = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        sides = known.get(node.input[0], [])[2:] if node.input else []
        window, pads = settings.get("kernel_shape", []), settings.get("pads", [])
        covered = bool(sides) and len(sides) == len(window) and all(0 < s <= w for s, w in zip(sides, window, strict=True))
        if node.op_type in ("AveragePool", "MaxPool") and covered and not any(pads):
            node.op_type = f"Global{node.op_type}"
            del node.attribute[:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide the exporter's own progress output."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
