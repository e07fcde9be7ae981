"""Exported file of a detector: the camera's optics before the network, objects after it, comparison with PyTorch."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import onnx
import onnx.compose
import onnx_ir as ir
import torch
from torch import Tensor, nn
from torchvision.ops import box_iou

from pixeldistill.data.views import MAX_LENGTH, to_unit
from pixeldistill.graphs.assemble import Graph, Ops, build, finished
from pixeldistill.graphs.colour import coloured
from pixeldistill.graphs.compare import relative
from pixeldistill.graphs.resizing import image_lengths, quotient, resized
from pixeldistill.networks.adapter import Adapter
from pixeldistill.recipe.camera import Camera
from pixeldistill.tasks.base import Compared, Pixels
from pixeldistill.tasks.detection.deployed import DeployedDetector, fix_padding
from pixeldistill.tasks.detection.detector import Detector
from pixeldistill.tasks.detection.heads.base import head_named
from pixeldistill.tasks.detection.results import MIN_SCORE, MOST, Detections, find_objects, to_original

LONGEST = 2**14  # longest side of an image in pixels
APART = 0.01  # share of anchors that may be among a level's likeliest for only one of the two
NEXT_TO_NOTHING = 1e-3  # a smaller score may be missing in one of the two lists
SURE, SAME_BOX = 0.3, 0.9  # probability of objects that are matched, and overlap from which two are the same


def example(network: Adapter, deployed: nn.Module) -> tuple[Tensor, dict[int, Any], list[str]]:
    """Return an input, its dynamic dimensions, and the names of the outputs. See `Task.example`."""
    multiple, height = cast(Detector, network).multiple, network.spec.image_size[0]
    side = max(2 * multiple, height // multiple * multiple)
    image = torch.zeros(2, 3, side, side + multiple)
    fix_padding(cast(DeployedDetector, deployed), image)
    cells = [torch.export.Dim(name, min=1, max=LONGEST // multiple) for name in ("rows", "columns")]
    rows, columns = (multiple * count if multiple > 1 else count for count in cells)
    return image, {0: torch.export.Dim("batch", min=2, max=65536), 2: rows, 3: columns}, ["scores", "boxes"]


def assemble(converted: Graph, network: Adapter, camera: Camera, prefix: str) -> Graph:
    """Add the camera's optics before a converted network, and the postprocessing of its scores and boxes after it."""
    detector = cast(Detector, network)
    scores, boxes = f"{prefix}scores", f"{prefix}boxes"
    view = detector_view(network.spec.image_size[0], camera, network.mean, network.std, MAX_LENGTH, detector.multiple)
    outputs = ["view_size", "size", scores, boxes]
    viewed = onnx.compose.merge_models(view, converted, io_map=[("view", f"{prefix}image")], outputs=outputs)
    viewed = onnx.compose.add_prefix(viewed, "view/", rename_inputs=False, rename_outputs=False)
    prediction = detector_postprocess(detector.classes, MIN_SCORE, head_named(detector.settings.head).overlap, MOST)
    return finished(
        onnx.compose.merge_models(
            viewed, onnx.compose.add_prefix(prediction, "postprocess/", rename_outputs=False),
            io_map=[
                (scores, "postprocess/scores"), (boxes, "postprocess/boxes"),
                *((n, f"postprocess/{n}") for n in ("view_size", "size")),
            ],
        )
    )  # fmt: skip


@torch.inference_mode()
def compare(session: Any, prefix: str, network: Adapter, deployed: nn.Module, view: Tensor, image: Pixels) -> Compared:  # noqa: ANN401
    """Compare scores and boxes for one view, and objects for the whole path from the image. See `Task.compare`."""
    detector = cast(Detector, network)
    scores, boxes = deployed(network.prepare(to_unit(view)))
    fed = view.permute(0, 2, 3, 1).contiguous().numpy()
    raw_scores, raw_boxes = session.run([f"{prefix}scores", f"{prefix}boxes"], {"image": fed})
    both = (scores > 0).numpy() & (raw_scores > 0)  # rounding may decide which anchor is the last of a level's likeliest
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
    """Match confident objects. Return the largest difference of a probability, and the numbers of lost and of all objects."""
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
    image_size: int, camera: Camera, mean: Sequence[float], std: Sequence[float], longest: int, multiple: int
) -> Graph:  # fmt: skip
    """Make a graph of a detector's view: uint8 (batch, height, width, 3) → float, normalised and padded.

    It is the same as `data.views.whole_view` followed by the detector's `prepare`: the shorter side becomes `image_size`, the
    longer side at most `longest` times that, and both are padded to a `multiple`.
    """

    def view(ops: Ops, image: Any) -> Any:  # noqa: ANN401
        lengths, shorter, longer = image_lengths(ops, image)
        divisor = ops.Max(ops.Mul(shorter, [longest]), longer)
        size = ops.Max(quotient(ops, ops.Mul(lengths, [longest * image_size]), divisor), [1])
        shown = coloured(ops, camera, resized(ops, camera, image, size, [0, 0], size))
        unit = ops.Div(ops.Cast(shown, to=ir.DataType.FLOAT), 255.0)
        normalised = ops.Div(ops.Sub(unit, _of_channels(mean, "mean")), _of_channels(std, "std"))
        padding = ops.Concat([0, 0, 0, 0, 0, 0], ops.Mod(ops.Neg(size), [multiple]), axis=0)
        return ops.Pad(normalised, padding), size, ops.Identity(lengths)

    return build(
        view,
        {"image": (ir.DataType.UINT8, ("batch", "height", "width", 3))},
        {
            "view": (ir.DataType.FLOAT, ("batch", 3, "rows", "columns")),
            "view_size": (ir.DataType.INT64, (2,)),
            "size": (ir.DataType.INT64, (2,)),
        },
    )


def _of_channels(values: Sequence[float], name: str) -> ir.TensorProtocol:
    return ir.tensor(np.array(values, np.float32).reshape(1, 3, 1, 1), name=name)


def detector_postprocess(classes: int, least: float, overlap: float, most: int) -> Graph:
    """Make a graph from all anchors' scores and boxes to likely boxes, without duplicates.

    It returns boxes (found, 4), x0, y0, x1, y1 in pixels of the original images, their probabilities, their classes, and the
    number of each one's image. The likeliest come first. An image has at most `most`.
    """

    def objects(ops: Ops, scores: Any, boxes: Any, view_size: Any, size: Any) -> Any:  # noqa: ANN401
        view_ends, image_ends = (ops.Gather(ops.Cast(ends, to=ir.DataType.FLOAT), [1, 0, 1, 0]) for ends in (view_size, size))
        inside = ops.Min(ops.Relu(boxes), view_ends)
        spans = ops.Sub(ops.Slice(inside, [2], [4], [2]), ops.Slice(inside, [0], [2], [2]))
        visible = ops.Greater(ops.ReduceMin(spans, [2], keepdims=1), 0.0)
        by_class = ops.Transpose(ops.Where(visible, scores, 0.0), perm=[0, 2, 1])
        chosen = ops.NonMaxSuppression(inside, by_class, [most], [overlap], [least])  # rows of image, class, box
        likely = ops.GatherND(by_class, chosen)
        probabilities, order = ops.TopK(likely, ops.Shape(likely), axis=0, _outputs=2)
        image, class_, box = (ops.Gather(ops.Gather(chosen, order), [column], axis=1) for column in (0, 1, 2))
        numbers = ops.Reshape(image, [-1])
        members = ops.OneHot(numbers, ops.Slice(ops.Shape(scores), [0], [1]), [0, 1])
        ranks = ops.Reshape(ops.GatherElements(ops.CumSum(members, 0), image, axis=1), [-1])
        kept = ops.LessOrEqual(ranks, [most])
        original = ops.Mul(ops.GatherND(inside, ops.Concat(image, box, axis=1)), ops.Div(image_ends, view_ends))
        found = (original, probabilities, ops.Reshape(class_, [-1]), numbers)
        return [ops.Compress(values, kept, axis=0) for values in found]

    return build(
        objects,
        {
            "scores": (ir.DataType.FLOAT, ("batch", "anchors", classes)),
            "boxes": (ir.DataType.FLOAT, ("batch", "anchors", 4)),
            "view_size": (ir.DataType.INT64, (2,)),
            "size": (ir.DataType.INT64, (2,)),
        },
        {
            "objects": (ir.DataType.FLOAT, ("found", 4)),
            "probabilities": (ir.DataType.FLOAT, ("found",)),
            "classes": (ir.DataType.INT64, ("found",)),
            "images": (ir.DataType.INT64, ("found",)),
        },
    )
