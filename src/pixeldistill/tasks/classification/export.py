"""A classifier's exported file: the camera's optics before the network, probabilities after it, compared with PyTorch."""

from typing import Any

import numpy as np
import onnx
import onnx.compose
import torch
from torch import Tensor

from pixeldistill.data.views import to_unit
from pixeldistill.graphs.assemble import finished
from pixeldistill.graphs.colour import coloured
from pixeldistill.graphs.compare import relative
from pixeldistill.graphs.resizing import SIZES, Graph, parse, quotient, resized
from pixeldistill.networks.adapter import Adapter
from pixeldistill.recipe.camera import Camera
from pixeldistill.tasks.base import Compared, Pixels


def assemble(converted: Graph, network: Adapter, camera: Camera, prefix: str) -> Graph:
    """Put the camera's optics before a converted network, and what makes probabilities of its scores after it."""
    seen = onnx.compose.merge_models(
        classifier_view(network.spec.image_size[0], camera), converted, io_map=[("view", f"{prefix}image")]
    )
    prediction = classifier_postprocess(network.spec.classes)
    return finished(onnx.compose.merge_models(seen, prediction, io_map=[(f"{prefix}scores", "scores")]))


@torch.inference_mode()
def compare(session: Any, prefix: str, network: Adapter, view: Tensor, image: Pixels) -> Compared:  # noqa: ANN401
    """Compare logits for one view, and probabilities from the image on; see `Task.compare`."""
    logits = network(to_unit(view)).logits
    fed = view.permute(0, 2, 3, 1).contiguous().numpy()
    (raw,) = session.run([f"{prefix}scores"], {"image": fed})
    (probabilities,) = session.run(["probabilities"], {"image": image[None]})
    prediction = float(np.abs(logits.softmax(dim=1).numpy() - probabilities).max())
    return Compared(relative(logits, raw), prediction)


def classifier_view(image_size: int, camera: Camera) -> Graph:
    """Make a classifier's view of images of any size: uint8 (batch, height, width, 3) → uint8 (batch, 3, side, side).

    The same as `data.views.camera_view`: the shorter side is resized to `image_size / crop`, the centre is taken; an image that
    has the view's size is left as it is.
    """
    return parse(f"""
view_graph (uint8[batch, height, width, 3] image) => (uint8[batch, 3, {image_size}, {image_size}] view)
{{
{SIZES}
    exact = Constant <value_ints = [{image_size}]> ()
    reduced = Constant <value_ints = [{round(image_size / camera.crop)}]> ()
    short_fits = Equal (shorter, exact)
    long_fits = Equal (longer, exact)
    fits = And (short_fits, long_fits)
    wanted = Where (fits, exact, reduced)
    scaled = Mul (lengths, wanted)
{quotient("scaled", "shorter", "nearest")}
    new_sides = Max (nearest, wanted)
    rest = Sub (new_sides, exact)
{quotient("rest", "two", "first")}
    count = Constant <value_ints = [{image_size}, {image_size}]> ()
{resized(camera, "first", "count")}
{coloured(camera, "resized", "view")}
}}""")


def classifier_postprocess(classes: int) -> Graph:
    """Make probabilities of logits, both float (batch, classes)."""
    return parse(f"""
answer_graph (float[batch, {classes}] scores) => (float[batch, {classes}] probabilities)
{{
    probabilities = Softmax <axis = 1> (scores)
}}""")
