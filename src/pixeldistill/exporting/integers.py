"""Conversion of a network to 8-bit integers by ONNX Runtime's static quantisation."""

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from pixeldistill.data.dataset import CameraImages
from pixeldistill.data.splits import Sample
from pixeldistill.errors import ExportError, PixelDistillError
from pixeldistill.exporting.convert import PREFIX
from pixeldistill.networks.adapter import Adapter
from pixeldistill.recipe.camera import InputSpec
from pixeldistill.statistics import spread
from pixeldistill.tasks import task_of

# Only a detector's convolutions are quantised: boxes are in pixels, and 256 levels are too few for them.


class _Views(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no types
    """Calibration inputs of a network, image by image. ONNX Runtime chooses the integers' ranges by them."""

    def __init__(self, network: Adapter, input_spec: InputSpec, samples: Sequence[Sample]) -> None:
        self.feeds = _feeds(network, input_spec, samples)

    def get_next(self) -> dict[str, Any] | None:
        """Return the next input, or None."""
        return next(self.feeds, None)


def _feeds(network: Adapter, input_spec: InputSpec, samples: Sequence[Sample]) -> Iterator[dict[str, Any]]:
    task = task_of(network)
    images = CameraImages(samples, input_spec, task.view)
    for number in range(len(samples)):
        raw = images[[number]]
        if isinstance(raw, PixelDistillError):
            raise raw
        yield {f"{PREFIX}image": task.feed(network, raw.images).contiguous().numpy()}


def quantise(
    converted: onnx.ModelProto, network: Adapter, input_spec: InputSpec, samples: Sequence[Sample], count: int
) -> onnx.ModelProto:  # fmt: skip
    """Return a converted network in 8 bits: unsigned activations, signed weights, each channel of weights with its own range.

    Weights use seven of their bits. Processors without instructions for such products (x86 before VNNI) add two products in 16
    bits, where eight bits would saturate. With seven, predictions are the same everywhere. The first layer and the prediction
    layers stay in float32: they cost little time, and in integers they cause most of the loss of accuracy.

    Args:
        converted: result of `export.convert`.
        network: the same network in PyTorch.
        input_spec: image size and camera.
        samples: training images. `count` of them, spread over the split, are used.
        count: number of images to use.

    Raises:
        ExportError: ONNX Runtime fails.
    """
    chosen = spread(samples, count)
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # the quantiser writes to the root logger
    try:
        with tempfile.TemporaryDirectory() as folder:
            plain, prepared, result = (Path(folder) / f"{name}.onnx" for name in ("plain", "prepared", "int8"))
            onnx.save(converted, str(plain))
            quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
            kept = outer_layers(onnx.load(str(prepared)).graph)
            quantize_static(
                str(prepared), str(result), _Views(network, input_spec, chosen), quant_format=QuantFormat.QDQ, per_channel=True,
                weight_type=QuantType.QInt8, activation_type=QuantType.QUInt8, reduce_range=True,
                nodes_to_exclude=kept, op_types_to_quantize=list(task_of(network).quantised),
            )  # fmt: skip
            return onnx.load(str(result))
    except PixelDistillError:
        raise
    except Exception as error:  # ONNX Runtime's own errors have no common base
        raise ExportError(f"ONNX Runtime cannot quantise this network: {str(error).splitlines()[0][:160]}") from error
    finally:
        root.setLevel(level)


def outer_layers(graph: onnx.GraphProto) -> list[str]:
    """Return the names of the layers with weights that come first after a graph's inputs, and last before its outputs."""
    weights = {tensor.name for tensor in graph.initializer}
    layers = {
        node.name for node in graph.node
        if node.op_type in ("Conv", "Gemm") or (node.op_type == "MatMul" and not weights.isdisjoint(node.input))
    }  # fmt: skip
    reading: dict[str, list[onnx.NodeProto]] = {}
    nodes = [node for node in graph.node if node.op_type != "Shape"]  # only the size is read, not the values
    for node in nodes:
        for name in node.input:
            reading.setdefault(name, []).append(node)
    making = {name: [node] for node in nodes for name in node.output}
    first = _reached([value.name for value in graph.input], reading, layers, lambda node: node.output)
    last = _reached([value.name for value in graph.output], making, layers, lambda node: node.input)
    return sorted(first | last)


def _reached(
    values: list[str], beside: Mapping[str, list[onnx.NodeProto]], layers: set[str],
    beyond: Callable[[onnx.NodeProto], Iterable[str]],
) -> set[str]:  # fmt: skip
    """Walk over a graph from some values up to the first layers on each path. Return those layers."""
    met, seen = set(), set(values)
    while values:
        for node in beside.get(values.pop(), ()):
            if node.name in layers:
                met.add(node.name)
                continue
            fresh = [name for name in beyond(node) if name not in seen]
            seen.update(fresh)
            values += fresh
    return met
