"""Distillation of the prediction."""

import torch.nn.functional as F
from torch import Tensor


def prediction_kd(
    student_logits: Tensor, teacher_logits: Tensor, target: Tensor, *, temperature: float = 4.0, alpha: float = 0.9,
    standardised: bool = False,
) -> Tensor:  # fmt: skip
    """Return the loss of prediction distillation: cross-entropy with the labels plus KL divergence to the softened teacher.

    `(1-α)·CE(student, target) + α·T²·KL(softmax(teacher/T) ‖ softmax(student/T))`, KL summed over the classes and
    averaged over the batch.

    Args:
        student_logits: (N, classes).
        teacher_logits: (N, classes).
        target: class indices (N,), or class probabilities (N, classes).
        temperature: T, without unit, above zero.
        alpha: share of the teacher, 0 to 1.
        standardised: whether an image's logits are first brought to mean 0 and deviation 1 over the classes, in the teacher's
            part. Then the student must match the teacher's proportions, and not its confidence.

    Returns:
        A scalar, in nats.

    Source:
        Hinton et al., arXiv 1503.02531; as L_PKD of Pixel Distillation (TPAMI 2024), Eq. 3. Standardised: Sun et al., Logit
        Standardization in Knowledge Distillation, CVPR 2024.

    Examples:
        >>> import torch
        >>> same = torch.tensor([[2.0, 0.0]])
        >>> prediction_kd(same, same, torch.tensor([0]), alpha=1.0).item()
        0.0
    """
    label_loss = F.cross_entropy(student_logits, target)
    pair = (student_logits, teacher_logits)
    student, teacher = (F.log_softmax((standard(x) if standardised else x) / temperature, dim=1) for x in pair)
    divergence = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
    return (1 - alpha) * label_loss + alpha * temperature**2 * divergence


def standard(logits: Tensor) -> Tensor:
    """Bring each row (N, classes) to mean 0 and deviation 1. A row of equal values becomes 0.

    >>> import torch
    >>> standard(torch.tensor([[3.0, 1.0], [2.0, 2.0]]))
    tensor([[ 1.0000, -1.0000],
            [ 0.0000,  0.0000]])
    """
    return F.layer_norm(logits, logits.shape[1:], eps=1e-6)
