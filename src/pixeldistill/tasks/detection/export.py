"""A detector's exported file: the camera's optics before the network, objects after it, compared with PyTorch."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import onnx
import onnx.compose
import torch
from torch import Tensor, nn
from torchvision.ops import box_iou

from pixeldistill.data.views import MAX_LENGTH, to_unit
from pixeldistill.graphs.assemble import finished
from pixeldistill.graphs.colour import coloured
from pixeldistill.graphs.compare import relative
from pixeldistill.graphs.resizing import SIZES, Graph, parse, quotient, resized
from pixeldistill.networks.adapter import Adapter
from pixeldistill.recipe.camera import Camera
from pixeldistill.tasks.base import Compared, Pixels
from pixeldistill.tasks.detection.deployed import DeployedDetector, fix_padding
from pixeldistill.tasks.detection.detector import Detector
from pixeldistill.tasks.detection.heads.base import head_named
from pixeldistill.tasks.detection.results import MIN_SCORE, MOST, Detections, find_objects, to_original

LONGEST = 2**14  # pixels of a side of an image
APART = 0.01  # of the anchors that are among a level's likeliest: so many may be so for one of the two alone
NEXT_TO_NOTHING = 1e-3  # a score that is not in the list of one of the two, and need not be
SURE, SAME_BOX = 0.3, 0.9  # of the objects: those that are matched, and from which overlap two are one


def example(network: Adapter, deployed: nn.Module) -> tuple[Tensor, dict[int, Any], list[str]]:
    """Return an input, which of its dimensions vary, and the names of the outputs; see `Task.example`."""
    multiple, height = cast(Detector, network).multiple, network.spec.image_size[0]
    side = max(2 * multiple, height // multiple * multiple)
    image = torch.zeros(2, 3, side, side + multiple)
    fix_padding(cast(DeployedDetector, deployed), image)
    cells = [torch.export.Dim(name, min=1, max=LONGEST // multiple) for name in ("rows", "columns")]
    rows, columns = (multiple * count if multiple > 1 else count for count in cells)
    return image, {0: torch.export.Dim("batch", min=1, max=65536), 2: rows, 3: columns}, ["scores", "boxes"]


def assemble(converted: Graph, network: Adapter, camera: Camera, prefix: str) -> Graph:
    """Put the camera's optics before a converted network, and what makes objects of its scores and boxes after it."""
    detector = cast(Detector, network)
    side, scores, boxes = network.spec.image_size[0], f"{prefix}scores", f"{prefix}boxes"
    view = detector_view(side, camera, network.mean, network.std, MAX_LENGTH, detector.multiple)
    outputs = ["new_sides", "sides", scores, boxes]
    seen = onnx.compose.merge_models(view, converted, io_map=[("view", f"{prefix}image")], outputs=outputs)
    seen = onnx.compose.add_prefix(seen, "view/", rename_inputs=False, rename_outputs=False)
    prediction = detector_postprocess(detector.classes, MIN_SCORE, head_named(detector.settings.head).overlap, MOST)
    return finished(
        onnx.compose.merge_models(
            seen, onnx.compose.add_prefix(prediction, "postprocess/", rename_outputs=False),
            io_map=[
                (scores, "postprocess/scores"), (boxes, "postprocess/boxes"),
                *((n, f"postprocess/{n}") for n in ("new_sides", "sides")),
            ],
        )
    )  # fmt: skip


@torch.inference_mode()
def compare(session: Any, prefix: str, network: Adapter, deployed: nn.Module, view: Tensor, image: Pixels) -> Compared:  # noqa: ANN401
    """Compare scores and boxes for one view, and objects from the image on; see `Task.compare`."""
    detector = cast(Detector, network)
    scores, boxes = deployed(network.prepare(to_unit(view)))
    fed = view.permute(0, 2, 3, 1).contiguous().numpy()
    raw_scores, raw_boxes = session.run([f"{prefix}scores", f"{prefix}boxes"], {"image": fed})
    both = (scores > 0).numpy() & (raw_scores > 0)  # a rounding may decide which is the last of a level's likeliest
    apart = ((scores > 0).numpy() != (raw_scores > 0)) & (
        np.maximum(scores.numpy(), raw_scores) > NEXT_TO_NOTHING
    )  # or is next to 0
    compared = both if apart.sum() <= APART * max(1, int(both.sum())) else np.ones_like(both)
    raw = float(np.max([relative(scores * torch.from_numpy(compared), raw_scores * compared), relative(boxes, raw_boxes)]))
    (expected,) = find_objects(network(to_unit(view)), detector.settings, view.shape[2:])
    expected = expected._replace(boxes=to_original(expected.boxes, view.shape[2:], image.shape[:2]))
    objects, probabilities, classes, _ = session.run(["objects", "probabilities", "classes", "images"], {"image": image[None]})
    found = Detections(*(torch.from_numpy(x) for x in (objects, probabilities, classes)))
    there, back = _matched(expected, found), _matched(found, expected)
    return Compared(raw, max(there[0], back[0]), there[1] + back[1], there[2] + back[2])


def _matched(expected: Detections, found: Detections) -> tuple[float, int, int]:
    """Match the objects that one is sure of: largest difference of a probability, how many are lost, how many there are."""
    sure = expected.scores >= SURE
    if not sure.any():
        return 0.0, 0, 0
    overlap = box_iou(expected.boxes[sure], found.boxes) * (expected.labels[sure, None] == found.labels)
    if not len(found.scores):
        return 0.0, int(sure.sum()), int(sure.sum())
    best, number = overlap.max(dim=1)
    same = best >= SAME_BOX
    differences = (expected.scores[sure] - found.scores[number]).abs()[same]
    return float(differences.max()) if len(differences) else 0.0, int((~same).sum()), int(sure.sum())


def detector_view(
    side: int, camera: Camera, mean: Sequence[float], std: Sequence[float], longest: int, multiple: int
) -> Graph:  # fmt: skip
    """Make a detector's view of images of any size: uint8 (batch, height, width, 3) → float, normalised and padded; its size.

    The same as `data.views.whole_view`, with what a detector does first: the shorter side becomes `side`, the longer one at most
    `longest` times that, and both are padded to a `multiple`.
    """
    return parse(f"""
view_graph (uint8[batch, height, width, 3] image) => (float[batch, 3, rows, columns] view, int64[2] new_sides, int64[2] sides)
{{
{SIZES}
    sides = Identity (lengths)
    wanted = Constant <value_ints = [{longest * side}]> ()
    longest = Constant <value_ints = [{longest}]> ()
    scaled = Mul (lengths, wanted)
    shorter_times = Mul (shorter, longest)
    divisor = Max (shorter_times, longer)
{quotient("scaled", "divisor", "nearest")}
    new_sides = Max (nearest, one)
    first = Constant <value_ints = [0, 0]> ()
{resized(camera, "first", "new_sides")}
{coloured(camera, "resized", "coloured")}
    wide = Cast <to = 1> (coloured)
    levels = Constant <value = float[1] {{255.0}}> ()
    unit = Div (wide, levels)
    mean = Constant <value = float[1, 3, 1, 1] {{{", ".join(map(repr, mean))}}}> ()
    deviation = Constant <value = float[1, 3, 1, 1] {{{", ".join(map(repr, std))}}}> ()
    centred = Sub (unit, mean)
    normalised = Div (centred, deviation)
    multiple = Constant <value_ints = [{multiple}]> ()
    over = Neg (new_sides)
    missing = Mod (over, multiple)
    none = Constant <value_ints = [0, 0, 0, 0, 0, 0]> ()
    padding = Concat <axis = 0> (none, missing)
    view = Pad (normalised, padding)
}}""")


def detector_postprocess(classes: int, least: float, overlap: float, most: int) -> Graph:
    """Make boxes of all anchors' scores and boxes: those that are likely, without those that say the same again.

    Gives boxes (found, 4), x0, y0, x1, y1 in pixels of the images as they came; their probabilities; their classes; the number of
    the image that each is in. The likeliest come first; an image has at most `most`.
    """
    return parse(f"""
answer_graph (float[batch, anchors, {classes}] scores, float[batch, anchors, 4] boxes, int64[2] new_sides, int64[2] sides)
    => (float[found, 4] objects, float[found] probabilities, int64[found] classes, int64[found] images)
{{
    view_sides = Cast <to = 1> (new_sides)
    image_sides = Cast <to = 1> (sides)
    turn = Constant <value_ints = [1, 0, 1, 0]> ()
    view_ends = Gather (view_sides, turn)
    image_ends = Gather (image_sides, turn)
    above = Relu (boxes)
    inside = Min (above, view_ends)
    corner_axis = Constant <value_ints = [2]> ()
    zeroth = Constant <value_ints = [0]> ()
    middle = Constant <value_ints = [2]> ()
    end = Constant <value_ints = [4]> ()
    starts = Slice (inside, zeroth, middle, corner_axis)
    ends = Slice (inside, middle, end, corner_axis)
    spans = Sub (ends, starts)
    narrowest = ReduceMin <keepdims = 1> (spans, corner_axis)
    nothing = Constant <value = float {{0.0}}> ()
    visible = Greater (narrowest, nothing)
    seen_scores = Where (visible, scores, nothing)
    by_class = Transpose <perm = [0, 2, 1]> (seen_scores)
    most_each = Constant <value_ints = [{most}]> ()
    overlap = Constant <value = float[1] {{{overlap!r}}}> ()
    least = Constant <value = float[1] {{{least!r}}}> ()
    chosen = NonMaxSuppression (inside, by_class, most_each, overlap, least)
    likely = GatherND (by_class, chosen)
    count = Shape (likely)
    sorted_scores, order = TopK <axis = 0> (likely, count)
    sorted_chosen = Gather (chosen, order)
    at_image = Constant <value_ints = [0]> ()
    at_class = Constant <value_ints = [1]> ()
    at_box = Constant <value_ints = [2]> ()
    image_column = Gather <axis = 1> (sorted_chosen, at_image)
    class_column = Gather <axis = 1> (sorted_chosen, at_class)
    box_column = Gather <axis = 1> (sorted_chosen, at_box)
    flat = Constant <value_ints = [-1]> ()
    image_numbers = Reshape (image_column, flat)
    class_numbers = Reshape (class_column, flat)
    input_shape = Shape (scores)
    first = Constant <value_ints = [0]> ()
    second = Constant <value_ints = [1]> ()
    depth = Slice (input_shape, first, second)
    off_on = Constant <value_ints = [0, 1]> ()
    members = OneHot (image_numbers, depth, off_on)
    down = Constant <value = int64 {{0}}> ()
    counted = CumSum (members, down)
    ranks_column = GatherElements <axis = 1> (counted, image_column)
    ranks = Reshape (ranks_column, flat)
    kept = LessOrEqual (ranks, most_each)
    box_places = Concat <axis = 1> (image_column, box_column)
    sorted_boxes = GatherND (inside, box_places)
    growth = Div (image_ends, view_ends)
    original = Mul (sorted_boxes, growth)
    objects = Compress <axis = 0> (original, kept)
    probabilities = Compress <axis = 0> (sorted_scores, kept)
    classes = Compress <axis = 0> (class_numbers, kept)
    images = Compress <axis = 0> (image_numbers, kept)
}}""")
