"""Conversion of a detector's prediction to the objects in an image."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image

from pixeldistill.recipe.detector import DetectorSettings
from pixeldistill.tasks.detection.heads.base import head_named
from pixeldistill.tasks.detection.loss import anchors_of
from pixeldistill.types import BoxMaps, Outputs

MIN_SCORE, CANDIDATES, MOST = 0.05, 1000, 100  # candidates are counted a level, objects an image


class Detections(NamedTuple):
    """The objects found in an image, the likeliest first: boxes (K, 4) in pixels, probabilities (K,), class indices (K,)."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


@torch.no_grad()
def find_objects(
    outputs: Outputs, settings: DetectorSettings, size: Sequence[int], levels: range | None = None
) -> list[Detections]:  # fmt: skip
    """Return the objects in a detector's outputs, image by image, in pixels of the view.

    Args:
        outputs: outputs for a batch.
        settings: settings of the detector.
        size: height and width of the view in pixels. Boxes are cut there, and boxes in the padding beyond are dropped.
        levels: numbers of the levels to use. By default all.
    """
    prediction = outputs.boxes
    chosen = [i for i, number in enumerate(settings.numbers) if levels is None or number in levels]
    grids = tuple((level.shape[2], level.shape[3]) for level in outputs.features)
    anchors = anchors_of(settings, grids, prediction.logits[0].device)
    images = []
    for n in range(len(prediction.logits[0])):
        found = [_candidates(prediction, settings, anchors[i], i, n) for i in chosen]
        boxes, scores, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
        boxes = clip_boxes_to_image(boxes, (size[0], size[1]))
        boxes, scores, labels = (values[(boxes[:, 2:] > boxes[:, :2]).all(dim=1)] for values in (boxes, scores, labels))
        keep = batched_nms(boxes, scores, labels, head_named(settings.head).overlap)[:MOST]
        images.append(Detections(boxes[keep], scores[keep], labels[keep]))
    return images


def to_original(boxes: Tensor, view: Sequence[int], size: Sequence[int]) -> Tensor:
    """Convert boxes (K, 4) from pixels of a view, (height, width), to pixels of the original."""
    return boxes * boxes.new_tensor([size[1] / view[1], size[0] / view[0]] * 2)


def _candidates(prediction: BoxMaps, settings: DetectorSettings, anchors: Tensor, level: int, image: int) -> Detections:
    """Return the likeliest boxes of a level, before duplicates are removed."""
    scores = prediction.logits[level][image].float().sigmoid()
    if prediction.centerness:
        scores = (scores * prediction.centerness[level][image].float().sigmoid()).sqrt()
    classes = scores.shape[1]
    likely, place = scores.flatten().topk(min(CANDIDATES, scores.numel()))
    likely, place = likely[likely > MIN_SCORE], place[likely > MIN_SCORE]
    row = place.div(classes, rounding_mode="floor")
    boxes = head_named(settings.head).decode(prediction.deltas[level][image][row].float(), anchors[row])
    return Detections(boxes, likely, place % classes)
