"""Detection: its loss, its boxes from what a network predicts. Its metrics: `tasks.average_precision`.

Losses are computed without a look at the device; they equal torchvision's.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image, generalized_box_iou_loss, sigmoid_focal_loss

from pixeldistill.detectors import DetectorSettings
from pixeldistill.functional.boxes import decode_boxes, decode_sides, encode_boxes, encode_sides
from pixeldistill.networks.anchors import FCOS_RADIUS, FCOS_RANGE, level_anchors
from pixeldistill.types import BoxMaps, BoxTarget, Outputs

MATCHED, UNMATCHED = 0.5, 0.4  # overlap from which an anchor is an object's, and below which it is background's
BACKGROUND, IGNORED = -1, -2
MIN_SCORE, CANDIDATES, MOST = 0.05, 1000, 100  # of a level, of an image
OVERLAP = {"retinanet": 0.5, "fcos": 0.6}  # at which of two boxes of a class the less likely one is dropped

Grids = tuple[tuple[int, int], ...]


class Detections(NamedTuple):
    """The objects found in an image, the likeliest first: boxes (K, 4) in pixels, probabilities (K,), class indices (K,)."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


@lru_cache(maxsize=8)  # a view of 1024 pixels with P2 has 17 MB of them
def anchors_of(settings: DetectorSettings, grids: Grids, device: torch.device) -> tuple[Tensor, ...]:
    """Give the anchors (or points) of all levels, (H·W·A, 4) each, on a device; they are kept there."""
    return tuple(
        torch.tensor(level_anchors(settings, number, grid), device=device)
        for number, grid in zip(settings.numbers, grids, strict=True)
    )


def supervised_loss(
    prediction: BoxMaps, target: BoxTarget, settings: DetectorSettings, grids: Grids, exposed: tuple[int, int] | None = None
) -> Tensor:
    """Compare a detector's prediction with the objects in its view.

    RetinaNet: focal loss of the classes and L1 of the matched boxes, each per matched anchor of an image, averaged over images.
    FCOS: focal loss, generalised IoU and cross-entropy of the centerness, each per matched point of the batch.

    Args:
        prediction: of the network.
        target: objects in pixels of the view.
        settings: of the detector.
        grids: height and width of every level.
        exposed: first and last of the levels that objects are matched with as if there were no others, so that a student on
            small images, whose levels correspond to these, is told the same at each twin (AFP, ours); the rest as usual.

    Source:
        Lin et al., Focal Loss for Dense Object Detection, ICCV 2017; Tian et al., FCOS, ICCV 2019; as in torchvision.
    """
    levels = anchors_of(settings, grids, target.boxes.device)
    part = None if exposed is None else slice(settings.numbers.index(exposed[0]), settings.numbers.index(exposed[1]) + 1)
    matched = match(levels, target, settings, part)
    logits, deltas = (torch.cat(maps, dim=1).float() for maps in (prediction.logits, prediction.deltas))
    if settings.head == "retinanet":
        return _retinanet_loss(logits, deltas, torch.cat(levels), target, matched)
    return _fcos_loss(logits, deltas, torch.cat(prediction.centerness, dim=1).float(), torch.cat(levels), target, matched)


def counted(target: BoxTarget, settings: DetectorSettings, grids: Grids) -> tuple[list[Tensor], Tensor]:
    """Say which anchors (or points) count in a comparison with the objects in a view, and by what its sum is divided.

    Returns:
        Of every level, (N, H·W·A, 1): 0 of anchors that are neither an object's nor background's. And the number of matched
        anchors (at least one), of points the sum of their centerness.

    Source:
        The label weights and the averaging factor of CrossKD's code (Wang et al., CVPR 2024).
    """
    levels = anchors_of(settings, grids, target.boxes.device)
    matched = match(levels, target, settings)
    weights = list(torch.split((matched != IGNORED).float().unsqueeze(2), [len(anchors) for anchors in levels], dim=1))
    found = matched >= 0
    if settings.head == "retinanet":
        return weights, found.sum().clamp(min=1)
    central = _centerness(encode_sides(_boxes(matched, target), torch.cat(levels)))
    return weights, torch.where(found, central, 0.0).sum().clamp(min=1e-6)


def match(levels: Sequence[Tensor], target: BoxTarget, settings: DetectorSettings, part: slice | None = None) -> Tensor:
    """Match the anchors or points of all levels with objects: (N, A); see `match_anchors` and `match_points`.

    Args:
        levels: the anchors (A', 4) of each.
        target: objects in pixels of the view.
        settings: of the detector.
        part: the levels that are matched as if there were no others.
    """
    by_image = target.images()  # so that a crowded one makes no other pay
    if settings.head == "fcos":
        matched = torch.cat([match_points(levels, image) for image in by_image])
    else:
        matched = torch.cat([match_anchors(torch.cat(tuple(levels)), image) for image in by_image])
    if part is None:
        return matched
    before, own = (sum(map(len, levels[: part.start])), sum(map(len, levels[part])))
    exposed = match(levels[part], target, settings)
    return torch.cat([matched[:, :before], exposed, matched[:, before + own :]], dim=1)


def _retinanet_loss(logits: Tensor, deltas: Tensor, anchors: Tensor, target: BoxTarget, matched: Tensor) -> Tensor:
    found = matched >= 0
    count = found.sum(dim=1).clamp(min=1)
    focal = sigmoid_focal_loss(logits, _classes(matched, target, logits), reduction="none").sum(dim=2)
    classes = torch.where(matched != IGNORED, focal, 0.0).sum(dim=1) / count
    distance = (deltas - encode_boxes(_boxes(matched, target), anchors)).abs().sum(dim=2)
    boxes = torch.where(found, distance, 0.0).sum(dim=1) / count
    total: Tensor = classes + boxes
    return total.mean()


def _fcos_loss(
    logits: Tensor, sides: Tensor, centerness: Tensor, points: Tensor, target: BoxTarget, matched: Tensor
) -> Tensor:  # fmt: skip
    found = matched >= 0
    count = found.sum().clamp(min=1)
    boxes = _boxes(matched, target)
    focal = sigmoid_focal_loss(logits, _classes(matched, target, logits), reduction="sum")
    overlap = generalized_box_iou_loss(decode_sides(sides, points), boxes, reduction="none")
    wanted = _centerness(encode_sides(boxes, points))
    central = binary_cross_entropy_with_logits(centerness.squeeze(2), wanted, reduction="none")
    total: Tensor = focal + torch.where(found, overlap + central, 0.0).sum()
    return total / count


def _centerness(sides: Tensor) -> Tensor:
    """Say how near a point is to the middle of its box: 1 there, 0 at its edge."""
    ends = sides.clamp(min=1e-6)
    ratios = [torch.minimum(ends[..., i], ends[..., i + 2]) / torch.maximum(ends[..., i], ends[..., i + 2]) for i in (0, 1)]
    return (ratios[0] * ratios[1]).sqrt()


def _classes(matched: Tensor, target: BoxTarget, logits: Tensor) -> Tensor:
    """Give the classes (N, A, classes) that matched anchors are to say, as 0 and 1."""
    labels = torch.where(matched >= 0, target.labels.gather(1, matched.clamp(min=0)), BACKGROUND)
    return (labels.unsqueeze(2) == torch.arange(logits.shape[2], device=logits.device)).to(logits.dtype)


def _boxes(matched: Tensor, target: BoxTarget) -> Tensor:
    """Give the box (N, A, 4) that each anchor is matched with; of unmatched ones some other."""
    return target.boxes.gather(1, matched.clamp(min=0).unsqueeze(2).expand(-1, -1, 4))


def match_anchors(anchors: Tensor, target: BoxTarget) -> Tensor:
    """Match anchors (A, 4) with objects by overlap: (N, A), the object's number, or BACKGROUND, or IGNORED in between.

    Every object is matched with the anchors that it overlaps most, however little that is.
    """
    count, most = target.labels.shape
    overlap = box_iou(anchors, target.boxes.flatten(0, 1)).view(-1, count, most).transpose(0, 1)
    overlap = torch.where(target.labels.unsqueeze(1) >= 0, overlap, -1.0)
    best, number = overlap.max(dim=2)
    matched = torch.where(best >= MATCHED, number, torch.where(best >= UNMATCHED, IGNORED, BACKGROUND))
    wanted = (overlap == overlap.amax(dim=1, keepdim=True)) & (overlap > 0)
    return torch.where(wanted.any(dim=2), number, matched)


def match_points(levels: Sequence[Tensor], target: BoxTarget) -> Tensor:
    """Match points with objects around them of their level's size: (N, A), the smallest one's number, or BACKGROUND."""
    points = torch.cat(tuple(levels))
    stride = points[:, 2] - points[:, 0]
    low, high = FCOS_RANGE[0] * stride, FCOS_RANGE[1] * stride
    low[: len(levels[0])] = 0
    high[-len(levels[-1]) :] = torch.inf
    boxes = target.boxes.unsqueeze(1)  # (N, 1, M, 4)
    centre, stride = ((points[:, :2] + points[:, 2:]) / 2)[:, None], stride[:, None]  # (A, 1, 2), (A, 1)
    near = ((boxes[..., :2] + boxes[..., 2:]) / 2 - centre).abs().amax(dim=-1) < FCOS_RADIUS * stride
    ends = torch.cat([centre - boxes[..., :2], boxes[..., 2:] - centre], dim=-1)
    farthest = ends.amax(dim=-1)
    fits = near & (ends.amin(dim=-1) > 0) & (farthest > low[:, None]) & (farthest < high[:, None])
    fits &= target.labels.unsqueeze(1) >= 0
    area = (target.boxes[..., 2:] - target.boxes[..., :2]).prod(dim=-1).unsqueeze(1)
    smallest, number = torch.where(fits, area, torch.inf).min(dim=2)
    return torch.where(smallest.isfinite(), number, BACKGROUND)


@torch.no_grad()
def find_objects(
    outputs: Outputs, settings: DetectorSettings, size: Sequence[int], levels: range | None = None
) -> list[Detections]:  # fmt: skip
    """Give the objects that a detector's outputs tell of, image by image, in pixels of the view.

    Args:
        outputs: of a batch.
        settings: of the detector.
        size: height and width of the view in pixels, at which boxes are cut; those in the padding beyond are dropped.
        levels: numbers of the levels to look at; by default all.
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
        keep = batched_nms(boxes, scores, labels, OVERLAP[settings.head])[:MOST]
        images.append(Detections(boxes[keep], scores[keep], labels[keep]))
    return images


def to_original(boxes: Tensor, view: Sequence[int], size: Sequence[int]) -> Tensor:
    """Turn boxes (K, 4) in pixels of a view, (height, width), into those of the original."""
    return boxes * boxes.new_tensor([size[1] / view[1], size[0] / view[0]] * 2)


def _candidates(prediction: BoxMaps, settings: DetectorSettings, anchors: Tensor, level: int, image: int) -> Detections:
    """Give the likeliest boxes of a level, before they are compared with each other."""
    scores = prediction.logits[level][image].float().sigmoid()
    if prediction.centerness:
        scores = (scores * prediction.centerness[level][image].float().sigmoid()).sqrt()
    classes = scores.shape[1]
    likely, place = scores.flatten().topk(min(CANDIDATES, scores.numel()))
    likely, place = likely[likely > MIN_SCORE], place[likely > MIN_SCORE]
    row = place.div(classes, rounding_mode="floor")
    decode = decode_sides if settings.head == "fcos" else decode_boxes
    return Detections(decode(prediction.deltas[level][image][row].float(), anchors[row]), likely, place % classes)
