"""Decoupled knowledge distillation: separate weights for the target class and the other classes."""

import torch
import torch.nn.functional as F
from torch import Tensor


def decoupled_kd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,
    *,
    alpha: float = 1.0,
    beta: float = 2.0,
    temperature: float = 4.0,
) -> Tensor:
    """Return `T²·(α·KL of (target, rest) + β·KL among the other classes)`, averaged over the batch, without a term for labels.

    Args:
        student_logits: (N, classes), at least two classes.
        teacher_logits: (N, classes).
        target: class indices (N,).
        alpha: weight of the target class against the rest (TCKD).
        beta: weight of the other classes among themselves (NCKD).
        temperature: T, above zero.

    Returns:
        A scalar, in nats.

    Source:
        Zhao et al., Decoupled Knowledge Distillation, CVPR 2022. Computed from logarithms throughout, so that a very confident
        teacher gives no infinite loss (ours).

    Examples:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0, 1.0]])
        >>> decoupled_kd(logits, logits, torch.tensor([0])).item()
        0.0
    """
    student, teacher = (_decouple(logits / temperature, target) for logits in (student_logits, teacher_logits))
    target_class, others = (F.kl_div(s, t, reduction="batchmean", log_target=True) for s, t in zip(student, teacher, strict=True))
    return temperature**2 * (alpha * target_class + beta * others)


def _decouple(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return log-probabilities of (target, rest), (N, 2), and of the other classes among themselves, (N, classes - 1)."""
    target = target.unsqueeze(1)
    columns = torch.arange(logits.shape[1] - 1, device=logits.device)
    others = logits.gather(1, columns + (columns >= target))
    both = torch.cat([logits.gather(1, target), others.logsumexp(dim=1, keepdim=True)], dim=1)
    return F.log_softmax(both, dim=1), F.log_softmax(others, dim=1)
