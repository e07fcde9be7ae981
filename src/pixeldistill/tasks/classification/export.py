"""Exported file of a classifier: the camera's optics before the network, probabilities after it, comparison with PyTorch."""

from typing import Any

import numpy as np
import onnx
import onnx.compose
import onnx_ir as ir
import torch
from torch import Tensor

from pixeldistill.data.views import to_unit
from pixeldistill.graphs.assemble import Graph, Ops, build, finished
from pixeldistill.graphs.colour import coloured
from pixeldistill.graphs.compare import relative
from pixeldistill.graphs.resizing import image_lengths, quotient, resized
from pixeldistill.networks.adapter import Adapter
from pixeldistill.recipe.camera import Camera
from pixeldistill.tasks.base import Compared, Pixels


def assemble(converted: Graph, network: Adapter, camera: Camera, prefix: str) -> Graph:
    """Add the camera's optics before a converted network, and the softmax after it."""
    viewed = onnx.compose.merge_models(
        classifier_view(network.spec.image_size[0], camera), converted, io_map=[("view", f"{prefix}image")]
    )
    prediction = classifier_postprocess(network.spec.classes)
    return finished(onnx.compose.merge_models(viewed, prediction, io_map=[(f"{prefix}scores", "scores")]))


@torch.inference_mode()
def compare(session: Any, prefix: str, network: Adapter, view: Tensor, image: Pixels) -> Compared:  # noqa: ANN401
    """Compare logits for one view, and probabilities for the whole path from the image. See `Task.compare`."""
    logits = network(to_unit(view)).logits
    fed = view.permute(0, 2, 3, 1).contiguous().numpy()
    (raw,) = session.run([f"{prefix}scores"], {"image": fed})
    (probabilities,) = session.run(["probabilities"], {"image": image[None]})
    prediction = float(np.abs(logits.softmax(dim=1).numpy() - probabilities).max())
    return Compared(relative(logits, raw), prediction)


def classifier_view(image_size: int, camera: Camera) -> Graph:
    """Make a graph of a classifier's view: uint8 (batch, height, width, 3) → uint8 (batch, 3, image_size, image_size).

    It is the same as `data.views.camera_view`: the shorter side is resized to `image_size / crop`, and the centre is cropped.
    An image that already has the view's size is used unchanged.
    """

    def view(ops: Ops, image: Any) -> Any:  # noqa: ANN401
        lengths, shorter, longer = image_lengths(ops, image)
        fits = ops.And(ops.Equal(shorter, [image_size]), ops.Equal(longer, [image_size]))
        wanted = ops.Where(fits, [image_size], [round(image_size / camera.centre)])
        size = ops.Max(quotient(ops, ops.Mul(lengths, wanted), shorter), wanted)
        first = quotient(ops, ops.Sub(size, [image_size]), [2])
        return coloured(ops, camera, resized(ops, camera, image, size, first, [image_size, image_size]))

    return build(
        view,
        {"image": (ir.DataType.UINT8, ("batch", "height", "width", 3))},
        {"view": (ir.DataType.UINT8, ("batch", 3, image_size, image_size))},
    )


def classifier_postprocess(classes: int) -> Graph:
    """Make a graph from logits to probabilities, both float (batch, classes)."""
    logits = (ir.DataType.FLOAT, ("batch", classes))
    return build(lambda ops, scores: ops.Softmax(scores, axis=1), {"scores": logits}, {"probabilities": logits})
