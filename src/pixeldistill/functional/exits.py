"""What an exit branch is told: the teacher's prediction with the true class enlarged."""

import torch
import torch.nn.functional as F
from torch import Tensor


def exit_loss(
    student_logits: Tensor, teacher_logits: Tensor, target: Tensor, *, exponent: float = 1.5, temperature: float = 1.0
) -> Tensor:
    """Cross-entropy of an early exit with the teacher's softened prediction, its true class enlarged by a power.

    `-Σ_c w_c·log p_c` with `w = (q + 1)^ε - 1` at the true class and `w = q^ε` elsewhere, q the teacher's probabilities:
    the less sure the teacher, the more counts the label. Labels that classes share, y, give `(q + y)^ε - y^ε` (ours).

    Args:
        student_logits: (N, classes), of the exit.
        teacher_logits: (N, classes).
        target: class indices (N,), or class probabilities (N, classes).
        exponent: ε, 1 or more.
        temperature: above zero.

    Returns:
        A scalar, in nats.

    Source:
        Hao et al., One-for-All: Bridge the Gap Between Heterogeneous Architectures in Knowledge Distillation, NeurIPS 2023.
        With ε = 1 this is plain cross-entropy with the teacher.

    Examples:
        >>> import torch
        >>> sure = torch.tensor([[50.0, 0.0]])
        >>> round(exit_loss(sure, sure, torch.tensor([0])).item(), 6)
        0.0
    """
    labels = target if target.ndim > 1 else F.one_hot(target, student_logits.shape[1])
    teacher = (teacher_logits / temperature).softmax(dim=1)
    enlarged = (teacher + labels) ** exponent - labels**exponent
    return -(enlarged * torch.log_softmax(student_logits / temperature, dim=1)).sum(dim=1).mean()
