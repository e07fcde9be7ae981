"""Comparison of two detectors' predictions, anchor by anchor.

Most anchors are background, where both detectors agree. So the losses are divided by the sum of the teacher's confidences
above a threshold (at least one an image), as a detector's own loss is divided by the number of matched anchors.
CrossKD's losses (`quality_focal`, `overlap_kd`) are sums. They are divided by the number of matched anchors, as published.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss

CONFIDENT = 0.1
TINY = 1e-6  # as published, added to a deviation or an overlap


def confidence(teacher_logits: Tensor, threshold: float = CONFIDENT) -> Tensor:
    """Return the teacher's largest probability at every anchor, (..., A). It is 0 below the threshold.

    Args:
        teacher_logits: (..., A, classes), of independent classes (sigmoid).
        threshold: smallest probability that counts.

    Examples:
        >>> confidence(torch.tensor([[0.0, -9.0], [-9.0, -9.0]]))
        tensor([0.5000, 0.0000])
    """
    likely = teacher_logits.sigmoid().amax(dim=-1)
    return torch.where(likely >= threshold, likely, 0.0)


def _seen(weight: Tensor) -> Tensor:
    """Return the sum of the confidences (N, ...), at least one an image, so that a blind teacher causes no division by zero."""
    return weight.sum().clamp(min=len(weight))


def class_map_kd(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float = 4.0) -> Tensor:
    """Return the loss between two detectors' class maps: softened binary KL of every class at every anchor.

    The loss is `T²·Σ w·KL(σ(t/T) ‖ σ(s/T)) / Σ confidence`, with `w = (σ(t) - σ(s))²` without gradient. Without this weight,
    the many anchors where both predict background would outweigh the few that matter.

    Args:
        student_logits: (..., A, classes).
        teacher_logits: (..., A, classes).
        temperature: T, above zero.

    Returns:
        A scalar, in nats for each unit of the teacher's confidence.

    Source:
        our reading of Pixel Distillation for sigmoid heads (binary KL with the same T). Weight and normaliser are ours.
        The weight follows the quality focal loss (Li et al., Generalized Focal Loss, NeurIPS 2020).

    Examples:
        >>> class_map_kd(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3)).item()
        0.0
    """
    weight = (teacher_logits.sigmoid() - student_logits.detach().sigmoid()).square()
    teacher, student = teacher_logits / temperature, student_logits / temperature
    target = teacher.sigmoid()
    # KL = cross-entropy with the teacher minus the teacher's own entropy, so that it is zero where both agree.
    divergence = F.binary_cross_entropy_with_logits(student, target, reduction="none") - F.binary_cross_entropy_with_logits(
        teacher, target, reduction="none"
    )
    return temperature**2 * (weight * divergence).sum() / _seen(confidence(teacher_logits))


def quality_focal(student_logits: Tensor, teacher_logits: Tensor, weight: Tensor, *, power: float = 1.0) -> Tensor:
    """Return the sum of the cross-entropy with the teacher's probabilities, weighted by the distance: `|σ(t) - σ(s)|^power · CE`.

    Args:
        student_logits: (..., A, classes).
        teacher_logits: (..., A, classes).
        weight: (..., A), weight of each anchor.
        power: exponent of the distance.

    Returns:
        A scalar, in nats, summed over anchors and classes. Divide it by the number of matched anchors.

    Source:
        Li et al., Generalized Focal Loss, NeurIPS 2020; as the mimicking loss in the code of CrossKD (Wang et al., CVPR 2024),
        which has the power 1.
    """
    target = teacher_logits.sigmoid()
    distance = (target - student_logits.sigmoid()).abs() ** power
    entropy = F.binary_cross_entropy_with_logits(student_logits, target, reduction="none")
    return (weight.unsqueeze(-1) * distance * entropy).sum()


def overlap_kd(student_boxes: Tensor, teacher_boxes: Tensor, weight: Tensor, *, logarithm: bool = False) -> Tensor:
    """Return the sum of two detectors' box disagreements: one minus generalised IoU, or the negative logarithm of IoU.

    Args:
        student_boxes: (..., A, 4), x0, y0, x1, y1, in any unit, as long as both detectors have the same at each anchor.
        teacher_boxes: (..., A, 4).
        weight: (..., A), weight of each anchor.
        logarithm: use the negative logarithm of IoU.

    Returns:
        A scalar, summed over anchors. Divide it by the number of matched anchors.

    Source:
        As in the code of CrossKD (Wang et al., CVPR 2024): GIoU for RetinaNet, the logarithm for FCOS.
    """
    if not logarithm:
        loss: Tensor = (weight * generalized_box_iou_loss(student_boxes, teacher_boxes, reduction="none")).sum()
        return loss
    corner = torch.maximum(student_boxes[..., :2], teacher_boxes[..., :2])
    shared = (torch.minimum(student_boxes[..., 2:], teacher_boxes[..., 2:]) - corner).clamp(min=0).prod(dim=-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(dim=-1) for boxes in (student_boxes, teacher_boxes)]
    overlap = shared / (areas[0] + areas[1] - shared).clamp(min=TINY)
    return -(weight * overlap.clamp(min=TINY).log()).sum()


def align_statistics(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Return a map whose channels have the mean and the deviation of another map's, over the batch and the places.

    Args:
        student_map: (N, C, H, W).
        teacher_map: (N, C, H', W').

    Source:
        As in the code of CrossKD (Wang et al., CVPR 2024), where a student's features enter the teacher's head.

    Examples:
        >>> maps = torch.randn(2, 3, 4, 4)
        >>> torch.allclose(align_statistics(5 * maps + 1, maps), maps, atol=1e-4)
        True
    """
    dims = (0, 2, 3)
    mean, deviation = teacher_map.mean(dims, keepdim=True), teacher_map.std(dims, keepdim=True)
    return _standardised(student_map) * deviation + mean


def box_kd(student_deltas: Tensor, teacher_deltas: Tensor, weight: Tensor) -> Tensor:
    """Return the L1 distance between two detectors' boxes relative to twin anchors, weighted by the teacher's confidence.

    Args:
        student_deltas: (..., A, 4).
        teacher_deltas: (..., A, 4).
        weight: (..., A), see `confidence`.

    Returns:
        A scalar, in anchors' sizes and logarithms of growth, summed over the four, for each unit of the teacher's confidence.

    Source:
        ours (box regression distilled weighted by the teacher's class confidence); threshold and normaliser are ours.
    """
    return (weight * (student_deltas - teacher_deltas).abs().sum(dim=-1)).sum() / _seen(weight)


def sides_kd(student_sides: Tensor, teacher_sides: Tensor, weight: Tensor) -> Tensor:
    """Return the generalised IoU loss of two detectors' boxes around the same points, weighted by the teacher's confidence.

    Args:
        student_sides: (..., A, 4), left, top, right, bottom in strides.
        teacher_sides: (..., A, 4).
        weight: (..., A), see `confidence`.

    Returns:
        A scalar, 0 to 2.

    Source:
        As `box_kd`, for FCOS.
    """
    signs = student_sides.new_tensor([-1, -1, 1, 1])
    distance = generalized_box_iou_loss(student_sides * signs, teacher_sides * signs, reduction="none")
    total: Tensor = (weight * distance).sum() / _seen(weight)
    return total


def pearson(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Return half the mean squared difference of two maps whose channels are standardised over the batch and the places.

    This is one minus the channels' correlation. Scale and offset of a channel have no effect.

    Args:
        student_map: (N, C, H, W).
        teacher_map: (N, C, H, W).

    Returns:
        A scalar, 0 to 2 (except for a relative error of one over the number of a channel's values).

    Source:
        Cao et al., PKD: General Distillation Framework for Object Detectors via Pearson Correlation Coefficient, NeurIPS 2022;
        deviations as in its code (of a sample, 1e-6 added).

    Examples:
        >>> maps = torch.randn(2, 3, 4, 4)
        >>> pearson(maps, 5 * maps + 1).item() < 1e-6
        True
    """
    return F.mse_loss(_standardised(student_map), _standardised(teacher_map)) / 2


def _standardised(feature: Tensor) -> Tensor:
    dims = (0, 2, 3)
    return (feature - feature.mean(dims, keepdim=True)) / (feature.std(dims, keepdim=True) + TINY)
