"""A network as an ONNX graph, and the whole file: from 8-bit images of any size to answers."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import onnx
import onnx.compose
import torch

from pixeldistill.data.views import MAX_LENGTH
from pixeldistill.errors import ExportError
from pixeldistill.export.graphs import (
    classifier_answer,
    classifier_view,
    detector_answer,
    detector_view,
)
from pixeldistill.export.resizing import IR_VERSION, OPSET
from pixeldistill.inputs import Imaging
from pixeldistill.networks.backbone import one_line
from pixeldistill.networks.classifier import Classifier
from pixeldistill.networks.shipped import ShippedClassifier, fix_padding, ship
from pixeldistill.networks.trained import AnyNetwork
from pixeldistill.tasks.detection import MIN_SCORE, MOST, OVERLAP

PREFIX = "network/"
LONGEST = 2**14  # pixels of a side of a detector's image

Graph = onnx.ModelProto


def convert(network: AnyNetwork) -> Graph:
    """Convert a network, without what stands before and after it, for any number of images.

    A classifier's graph takes uint8 (batch, 3, side, side) and gives its logits as `scores`. A detector's takes float images that
    are normalised and padded, of any size, and gives `scores` and `boxes` of all anchors: see `networks.shipped`.

    Raises:
        ExportError: PyTorch's exporter cannot.
    """
    shipped = ship(network)
    height, width = network.spec.image_size
    batch = torch.export.Dim("batch", min=1, max=65536)
    if isinstance(shipped, ShippedClassifier):
        example = torch.zeros(2, 3, height, width, dtype=torch.uint8)
        shapes: dict[int, Any] = {0: batch}
        names = ["scores"]
    else:
        multiple = shipped.detector.multiple
        side = max(2 * multiple, height // multiple * multiple)
        example = torch.zeros(2, 3, side, side + multiple)
        fix_padding(shipped, example)
        cells = [torch.export.Dim(name, min=1, max=LONGEST // multiple) for name in ("rows", "columns")]
        rows, columns = (multiple * count if multiple > 1 else count for count in cells)
        shapes, names = {0: batch, 2: rows, 3: columns}, ["scores", "boxes"]
    try:
        with _quiet():
            program = torch.onnx.export(
                shipped, (example,), dynamo=True, dynamic_shapes=(shapes,), input_names=["image"], output_names=names,
                opset_version=OPSET, verbose=False,
            )  # fmt: skip
    except Exception as error:  # the exporter fails in as many ways as there are networks
        raise ExportError(
            f"PyTorch cannot export this network ({one_line(error.__cause__ or error)}): choose another, or deploy its weights"
        ) from error
    assert program is not None
    model: Graph = program.model_proto
    model.ir_version = IR_VERSION
    _pool_globally(model)
    del model.graph.value_info[:], model.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]  # where in the source each node comes from: paths of this machine
        node.doc_string = ""
    return onnx.compose.add_prefix(model, PREFIX)


def _pool_globally(model: Graph) -> None:
    """Replace windows that are larger than the map, in place: at small sizes the last maps have one pixel.

    PyTorch averages what there is; not every runtime takes such a window.
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


def assemble(converted: Graph, network: AnyNetwork, imaging: Imaging) -> Graph:
    """Put the camera's optics before a converted network, and what makes answers of its scores after it."""
    side, image, scores = network.spec.image_size[0], f"{PREFIX}image", f"{PREFIX}scores"
    if isinstance(network, Classifier):
        seen = onnx.compose.merge_models(classifier_view(side, imaging), converted, io_map=[("view", image)])
        answer = classifier_answer(network.spec.classes)
        model: Graph = onnx.compose.merge_models(seen, answer, io_map=[(scores, "scores")])
    else:
        settings = network.settings
        view = detector_view(side, imaging, network.mean, network.std, MAX_LENGTH, network.multiple)
        boxes = f"{PREFIX}boxes"
        outputs = ["new_sides", "sides", scores, boxes]
        seen = onnx.compose.merge_models(view, converted, io_map=[("view", image)], outputs=outputs)
        seen = onnx.compose.add_prefix(seen, "view/", rename_inputs=False, rename_outputs=False)
        answer = detector_answer(network.classes, MIN_SCORE, OVERLAP[settings.head], MOST)
        model = onnx.compose.merge_models(
            seen, onnx.compose.add_prefix(answer, "answer/", rename_outputs=False),
            io_map=[(scores, "answer/scores"), (boxes, "answer/boxes"), *((n, f"answer/{n}") for n in ("new_sides", "sides"))],
        )  # fmt: skip
    versions = {known.domain: known.version for known in sorted(model.opset_import, key=lambda known: known.version)}
    del model.opset_import[:]  # each part has brought its own, and other programs want one of a domain
    model.opset_import.extend(onnx.helper.make_opsetid(*known) for known in versions.items())
    model.producer_name = "pixeldistill"
    model.graph.name = "pixeldistill"
    model.graph.doc_string = ""
    onnx.checker.check_model(model, full_check=True)
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's own progress from the user."""
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
