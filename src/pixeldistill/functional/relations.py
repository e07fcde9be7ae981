"""Relations instead of values: a strong teacher's prediction of classes and samples relative to each other."""

from torch import Tensor


def relational_kd(
    student_logits: Tensor, teacher_logits: Tensor, *, beta: float = 1.0, gamma: float = 1.0, temperature: float = 1.0
) -> Tensor:
    """Return the loss of DIST: one minus the correlation of the softened predictions, within a sample and within a class.

    The loss is `T²·(β·(1 - r(rows)) + γ·(1 - r(columns)))`, r the mean of Pearson's correlations. The student must match the
    teacher's order and proportions, not its values. So the teacher may be much stronger.

    Args:
        student_logits: (N, classes); N above one, or the second part is constant.
        teacher_logits: (N, classes).
        beta: weight of the relations between classes.
        gamma: weight of the relations within a class.
        temperature: T, above zero.

    Returns:
        A scalar, without unit, 0 to `2·T²·(β + γ)`.

    Source:
        Huang et al., Knowledge Distillation from A Stronger Teacher, NeurIPS 2022.

    Examples:
        >>> import torch
        >>> logits = torch.randn(4, 3)
        >>> bool(relational_kd(logits, logits).abs() < 1e-5)
        True
    """
    student, teacher = ((logits / temperature).softmax(dim=1) for logits in (student_logits, teacher_logits))
    between, within = (1 - _correlation(student, teacher, dim) for dim in (1, 0))
    return temperature**2 * (beta * between + gamma * within)


def _correlation(a: Tensor, b: Tensor, dim: int) -> Tensor:
    """Return the mean of Pearson's correlations along a dimension."""
    a, b = (x - x.mean(dim=dim, keepdim=True) for x in (a, b))
    product, squares = (a * b).sum(dim), a.square().sum(dim) * b.square().sum(dim)
    correlation: Tensor = product / (squares + 1e-16).sqrt()
    return correlation.mean()
