"""Distillation of the prediction."""

import torch.nn.functional as F
from torch import Tensor


def prediction_kd(
    student_logits: Tensor, teacher_logits: Tensor, target: Tensor, *, temperature: float = 4.0, alpha: float = 0.9
) -> Tensor:
    """Return the loss of prediction distillation: cross-entropy with the labels plus KL divergence to the softened teacher.

    `(1-α)·CE(student, target) + α·T²·KL(softmax(teacher/T) ‖ softmax(student/T))`, KL summed over the classes and
    averaged over the batch.

    Args:
        student_logits: (N, classes).
        teacher_logits: (N, classes).
        target: class indices (N,), or class probabilities (N, classes).
        temperature: T, without unit, above zero.
        alpha: share of the teacher, 0 to 1.

    Returns:
        A scalar, in nats.

    Source:
        Hinton et al., arXiv 1503.02531; as L_PKD of Pixel Distillation (TPAMI 2024), Eq. 3.

    Examples:
        >>> import torch
        >>> same = torch.tensor([[2.0, 0.0]])
        >>> prediction_kd(same, same, torch.tensor([0]), alpha=1.0).item()
        0.0
    """
    label_loss = F.cross_entropy(student_logits, target)
    student = F.log_softmax(student_logits / temperature, dim=1)
    teacher = F.log_softmax(teacher_logits / temperature, dim=1)
    divergence = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
    return (1 - alpha) * label_loss + alpha * temperature**2 * divergence
