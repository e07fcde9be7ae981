"""RetinaNet's head: anchors of several shapes at every place."""

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models.detection import retinanet
from torchvision.ops import box_iou, sigmoid_focal_loss

from pixeldistill.functional.boxes import decode_boxes, encode_boxes
from pixeldistill.functional.mimicking import box_kd
from pixeldistill.recipe.detector import DetectorSettings
from pixeldistill.tasks.detection.heads.base import (
    BACKGROUND,
    IGNORED,
    Floats,
    Head,
    joined,
    matched_boxes,
    matched_classes,
    nearest_cells,
    rows,
)
from pixeldistill.types import BoxMaps, BoxTarget

MATCHED, UNMATCHED = 0.5, 0.4  # overlap from which an anchor belongs to an object, and below which to the background


class RetinaNetHead(Head):
    """Head of RetinaNet. See `Head`.

    Source:
        Lin et al., Focal Loss for Dense Object Detection, ICCV 2017; losses as in torchvision.
    """

    handed = 3  # as published for CrossKD

    def build(self, settings: DetectorSettings, classes: int) -> nn.Module:
        """Return torchvision's head, with `depth` convolutions."""
        head: nn.Module = retinanet.RetinaNetHead(settings.channels, settings.shapes, classes)
        for part in head.children():
            part.conv = cast(nn.Sequential, part.conv)[: settings.depth]
        return head

    def predict(self, head: nn.Module, classes: Tensor, boxes: Tensor, number: int) -> tuple[Tensor, ...]:
        """Return logits and deltas."""
        parts = cast(Any, head)
        return rows(parts.classification_head.cls_logits(classes), number), rows(parts.regression_head.bbox_reg(boxes), 4)

    def cell_shapes(self, settings: DetectorSettings) -> list[tuple[float, float]]:
        """Return the anchors' shapes.

        >>> RetinaNetHead().cell_shapes(DetectorSettings(aspects=(1,), scales=2))
        [(4.0, 4.0), (5.656854249492381, 5.656854249492381)]
        """
        sizes = [settings.anchor * 2 ** (i / settings.scales) for i in range(settings.scales)]
        return [(size * math.sqrt(aspect), size / math.sqrt(aspect)) for aspect in settings.aspects for size in sizes]

    def encode(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """Encode boxes. See `functional.boxes.encode_boxes`."""
        return encode_boxes(boxes, anchors)

    def decode(self, deltas: Tensor, anchors: Tensor) -> Tensor:
        """Decode boxes. See `functional.boxes.decode_boxes`."""
        return decode_boxes(deltas, anchors)

    def move(self, deltas: Tensor, away: Tensor, ratio: float, shapes: Tensor) -> Tensor:
        """Shift the centres, in anchor sizes, and scale the boxes with the cells."""
        return torch.cat([(deltas[..., :2] + away / shapes) * ratio, deltas[..., 2:] + math.log(ratio)], dim=-1)

    def match(self, levels: Sequence[Tensor], target: BoxTarget) -> Tensor:
        """Match by overlap. Between the two thresholds an anchor is IGNORED.

        Every object is also matched with the anchors of its largest overlap, however small that is.
        """
        anchors = torch.cat(tuple(levels))
        count, most = target.labels.shape
        overlap = box_iou(anchors, target.boxes.flatten(0, 1)).view(-1, count, most).transpose(0, 1)
        overlap = torch.where(target.labels.unsqueeze(1) >= 0, overlap, -1.0)
        best, number = overlap.max(dim=2)
        matched = torch.where(best >= MATCHED, number, torch.where(best >= UNMATCHED, IGNORED, BACKGROUND))
        wanted = (overlap == overlap.amax(dim=1, keepdim=True)) & (overlap > 0)
        return torch.where(wanted.any(dim=2), number, matched)

    def loss(self, prediction: BoxMaps, target: BoxTarget, anchors: Tensor, matched: Tensor) -> Tensor:
        """Return the focal loss of the classes plus L1 of the matched boxes, per matched anchor, averaged over the images."""
        logits, deltas, found = joined(prediction.logits), joined(prediction.deltas), matched >= 0
        count = found.sum(dim=1).clamp(min=1)
        focal = sigmoid_focal_loss(logits, matched_classes(matched, target, logits), reduction="none").sum(dim=2)
        classes = torch.where(matched != IGNORED, focal, 0.0).sum(dim=1) / count
        distance = (deltas - encode_boxes(matched_boxes(matched, target), anchors)).abs().sum(dim=2)
        boxes = torch.where(found, distance, 0.0).sum(dim=1) / count
        total: Tensor = classes + boxes
        return total.mean()

    def weight_sum(self, target: BoxTarget, anchors: Tensor, matched: Tensor) -> Tensor:
        """Return the number of matched anchors, at least one."""
        return (matched >= 0).sum().clamp(min=1)

    def mimic(self, ours: Tensor, theirs: Tensor, central: tuple[Tensor, Tensor] | None, weight: Tensor) -> Tensor:
        """Return the loss of `functional.mimicking.box_kd`."""
        return box_kd(ours, theirs, weight)

    def covers(
        self, boxes: Floats, grid: NDArray[np.int64], settings: DetectorSettings, number: int, ends: tuple[int, int]
    ) -> NDArray[np.bool_]:
        """Return which boxes an anchor overlaps by at least a half."""
        covered = np.zeros(len(boxes), bool)
        for shape in self.cell_shapes(settings):
            covered |= _best_iou(boxes, grid, 2**number, shape) >= MATCHED
        return covered

    def describe(self, settings: DetectorSettings) -> str:
        """Describe the number of anchors at one place."""
        return f"{settings.shapes} anchors a place, the smallest {settings.anchor:g} strides"


def _best_iou(boxes: Floats, grid: NDArray[np.int64], stride: int, shape: tuple[float, float]) -> NDArray[np.float64]:
    """Return each box's largest overlap with anchors of one shape, which is that of the nearest anchor along both axes."""
    centres = (nearest_cells(boxes, grid, stride) + 0.5) * stride
    half = stride * np.array(shape[::-1]) / 2
    overlap = np.minimum(boxes[:, 2:], centres + half) - np.maximum(boxes[:, :2], centres - half)
    shared = overlap.clip(0).prod(axis=1)
    return np.asarray(shared / ((boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + 4 * half.prod() - shared))
