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
from pixeldistill.recipe.camera import Imaging
from pixeldistill.tasks.base import Compared, Pixels


def assemble(converted: Graph, network: Adapter, imaging: Imaging, prefix: str) -> Graph:
    """Put the camera's optics before a converted network, and what makes probabilities of its scores after it."""
    seen = onnx.compose.merge_models(
        classifier_view(network.spec.image_size[0], imaging), converted, io_map=[("view", f"{prefix}image")]
    )
    answer = classifier_answer(network.spec.classes)
    return finished(onnx.compose.merge_models(seen, answer, io_map=[(f"{prefix}scores", "scores")]))


@torch.inference_mode()
def compare(session: Any, prefix: str, network: Adapter, view: Tensor, image: Pixels) -> Compared:  # noqa: ANN401
    """Compare logits for one view, and probabilities from the image on; see `Task.compare`."""
    logits = network(to_unit(view)).logits
    fed = view.permute(0, 2, 3, 1).contiguous().numpy()
    (raw,) = session.run([f"{prefix}scores"], {"image": fed})
    (probabilities,) = session.run(["probabilities"], {"image": image[None]})
    answer = float(np.abs(logits.softmax(dim=1).numpy() - probabilities).max())
    return Compared(relative(logits, raw), answer)


def classifier_view(side: int, imaging: Imaging) -> Graph:
    """Make a classifier's view of images of any size: uint8 (batch, height, width, 3) → uint8 (batch, 3, side, side).

    The same as `data.views.camera_view`: the shorter side is resized to `side / crop`, the centre is taken; an image that has the
    view's size is left as it is.
    """
    return parse(f"""
view_graph (uint8[batch, height, width, 3] image) => (uint8[batch, 3, {side}, {side}] view)
{{
{SIZES}
    exact = Constant <value_ints = [{side}]> ()
    reduced = Constant <value_ints = [{round(side / imaging.crop)}]> ()
    short_fits = Equal (shorter, exact)
    long_fits = Equal (longer, exact)
    fits = And (short_fits, long_fits)
    wanted = Where (fits, exact, reduced)
    scaled = Mul (lengths, wanted)
{quotient("scaled", "shorter", "nearest")}
    new_sides = Max (nearest, wanted)
    rest = Sub (new_sides, exact)
{quotient("rest", "two", "first")}
    count = Constant <value_ints = [{side}, {side}]> ()
{resized(imaging, "first", "count")}
{coloured(imaging, "resized", "view")}
}}""")


def classifier_answer(classes: int) -> Graph:
    """Make probabilities of logits, both float (batch, classes)."""
    return parse(f"""
answer_graph (float[batch, {classes}] scores) => (float[batch, {classes}] probabilities)
{{
    probabilities = Softmax <axis = 1> (scores)
}}""")
