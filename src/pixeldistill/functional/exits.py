"""Target of an exit branch: the teacher's prediction with an enlarged true class."""

import torch
import torch.nn.functional as F
from torch import Tensor


def exit_loss(
    student_logits: Tensor, teacher_logits: Tensor, target: Tensor, *, exponent: float = 1.5, temperature: float = 1.0
) -> Tensor:
    """Return the cross-entropy of an early exit with the teacher's softened prediction, whose true class is enlarged by a power.

    The loss is `-Σ_c w_c·log p_c`, with the teacher's probabilities q, `w = (q + 1)^ε - 1` at the true class and `w = q^ε`
    elsewhere. The less confident the teacher is, the more the label counts. Soft labels y over several classes give
    `(q + y)^ε - y^ε` (ours).

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
