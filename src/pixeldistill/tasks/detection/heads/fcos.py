"""FCOS's head: one point at every place, and its centerness in the box."""

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision.models.detection import fcos
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from pixeldistill.functional.boxes import decode_sides, encode_sides
from pixeldistill.functional.mimicking import sides_kd
from pixeldistill.recipe.detector import DetectorSettings
from pixeldistill.tasks.detection.heads.base import (
    BACKGROUND,
    Floats,
    Head,
    joined,
    matched_boxes,
    matched_classes,
    nearest_cells,
    rows,
)
from pixeldistill.types import BoxMaps, BoxTarget

RANGE = (4.0, 8.0)  # a point is responsible for boxes whose farthest side is this many strides away
RADIUS = 1.5  # and whose centre is at most this many strides away


class FCOSHead(Head):
    """Head of FCOS. See `Head`.

    Source:
        Tian et al., FCOS, ICCV 2019; losses and matching as in torchvision.
    """

    handed = 2  # as published for CrossKD, like the next two
    mimic_weights = (0.4, 0.75)
    mimic_by_logarithm = True
    overlap = 0.6

    def build(self, settings: DetectorSettings, classes: int) -> nn.Module:
        """Return torchvision's head."""
        head: nn.Module = fcos.FCOSHead(settings.channels, 1, classes, settings.depth)
        return head

    def predict(self, head: nn.Module, classes: Tensor, boxes: Tensor, number: int) -> tuple[Tensor, ...]:
        """Return logits, the distances to the box's sides in strides, and the centerness."""
        parts = cast(Any, head)
        logits = rows(parts.classification_head.cls_logits(classes), number)
        sides, central = parts.regression_head.bbox_reg(boxes).relu(), parts.regression_head.bbox_ctrness(boxes)
        return logits, rows(sides, 4), rows(central, 1)

    def cell_shapes(self, settings: DetectorSettings) -> list[tuple[float, float]]:
        """Return one square of one stride."""
        return [(1.0, 1.0)]

    def encode(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """Encode boxes. See `functional.boxes.encode_sides`."""
        return encode_sides(boxes, anchors)

    def decode(self, deltas: Tensor, anchors: Tensor) -> Tensor:
        """Decode boxes. See `functional.boxes.decode_sides`."""
        return decode_sides(deltas, anchors)

    def move(self, deltas: Tensor, away: Tensor, ratio: float, shapes: Tensor) -> Tensor:
        """Shift the point, and convert to the student's strides."""
        return torch.cat([deltas[..., :2] - away, deltas[..., 2:] + away], dim=-1) * ratio

    def match(self, levels: Sequence[Tensor], target: BoxTarget) -> Tensor:
        """Match points with the objects around them that suit their level's size. Of several objects, take the smallest."""
        points = torch.cat(tuple(levels))
        stride = points[:, 2] - points[:, 0]
        low, high = RANGE[0] * stride, RANGE[1] * stride
        low[: len(levels[0])] = 0
        high[-len(levels[-1]) :] = torch.inf
        boxes = target.boxes.unsqueeze(1)  # (N, 1, M, 4)
        centre, stride = ((points[:, :2] + points[:, 2:]) / 2)[:, None], stride[:, None]  # (A, 1, 2), (A, 1)
        near = ((boxes[..., :2] + boxes[..., 2:]) / 2 - centre).abs().amax(dim=-1) < RADIUS * stride
        ends = torch.cat([centre - boxes[..., :2], boxes[..., 2:] - centre], dim=-1)
        farthest = ends.amax(dim=-1)
        fits = near & (ends.amin(dim=-1) > 0) & (farthest > low[:, None]) & (farthest < high[:, None])
        fits &= target.labels.unsqueeze(1) >= 0
        area = (target.boxes[..., 2:] - target.boxes[..., :2]).prod(dim=-1).unsqueeze(1)
        smallest, number = torch.where(fits, area, torch.inf).min(dim=2)
        return torch.where(smallest.isfinite(), number, BACKGROUND)

    def loss(self, prediction: BoxMaps, target: BoxTarget, anchors: Tensor, matched: Tensor) -> Tensor:
        """Return the sum of focal loss, GIoU loss and centerness cross-entropy, each per matched point of the batch."""
        logits, sides, centerness = joined(prediction.logits), joined(prediction.deltas), joined(prediction.centerness)
        found = matched >= 0
        count = found.sum().clamp(min=1)
        boxes = matched_boxes(matched, target)
        focal = sigmoid_focal_loss(logits, matched_classes(matched, target, logits), reduction="sum")
        overlap = generalized_box_iou_loss(decode_sides(sides, anchors), boxes, reduction="none")
        wanted = _centerness(encode_sides(boxes, anchors))
        central = binary_cross_entropy_with_logits(centerness.squeeze(2), wanted, reduction="none")
        total: Tensor = focal + torch.where(found, overlap + central, 0.0).sum()
        return total / count

    def weight_sum(self, target: BoxTarget, anchors: Tensor, matched: Tensor) -> Tensor:
        """Return the sum of the matched points' centerness."""
        central = _centerness(encode_sides(matched_boxes(matched, target), anchors))
        return torch.where(matched >= 0, central, 0.0).sum().clamp(min=1e-6)

    def mimic(self, ours: Tensor, theirs: Tensor, central: tuple[Tensor, Tensor] | None, weight: Tensor) -> Tensor:
        """Return the loss of `functional.mimicking.sides_kd`, plus the cross-entropy of the centerness."""
        assert central is not None
        own, wanted = central
        entropy = binary_cross_entropy_with_logits(own, wanted.sigmoid(), reduction="none").squeeze(2)
        return sides_kd(ours, theirs, weight) + (weight * entropy).sum() / weight.sum().clamp(min=len(weight))

    def covers(
        self, boxes: Floats, grid: NDArray[np.int64], settings: DetectorSettings, number: int, ends: tuple[int, int]
    ) -> NDArray[np.bool_]:
        """Return which boxes a point is responsible for. The first and the last level also take smaller and larger boxes."""
        stride = 2**number
        low = 0.0 if number == ends[0] else RANGE[0] * stride
        high = math.inf if number == ends[1] else RANGE[1] * stride
        centres, nearest = (boxes[:, :2] + boxes[:, 2:]) / 2, nearest_cells(boxes, grid, stride)
        found = np.zeros(len(boxes), bool)
        for step in np.ndindex(5, 5):
            cell = nearest + np.array(step) - 2
            inside = ((cell >= 0) & (cell < grid[:, ::-1])).all(axis=1)
            point = (cell + 0.5) * stride
            distances = np.concatenate([point - boxes[:, :2], boxes[:, 2:] - point], axis=1)
            near = np.abs(point - centres).max(axis=1) < RADIUS * stride
            farthest = distances.max(axis=1)
            found |= inside & near & (distances.min(axis=1) > 0) & (farthest > low) & (farthest < high)
        return found

    def describe(self, settings: DetectorSettings) -> str:
        """Return the word for points."""
        return "points"


def _centerness(sides: Tensor) -> Tensor:
    """Return a point's centerness in its box: 1 in the middle, 0 at the edge."""
    ends = sides.clamp(min=1e-6)
    ratios = [torch.minimum(ends[..., i], ends[..., i + 2]) / torch.maximum(ends[..., i], ends[..., i + 2]) for i in (0, 1)]
    return (ratios[0] * ratios[1]).sqrt()
