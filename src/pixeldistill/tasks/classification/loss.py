"""Loss of classification, and its smoothed or mixed labels."""

import torch
import torch.nn.functional as F
from torch import Tensor


def supervised_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropy in nats. Logits (N, classes), target indices (N,) or probabilities (N, classes)."""
    return F.cross_entropy(logits, target)


def smooth_labels(target: Tensor, classes: int, smoothing: float) -> Tensor:
    """Convert indices (N,) to probabilities (N, classes) with `smoothing` spread evenly over all classes. 0 changes nothing.

    >>> smooth_labels(torch.tensor([1]), 2, 0.5)
    tensor([[0.2500, 0.7500]])
    """
    if smoothing == 0:
        return target
    return F.one_hot(target, classes).float() * (1 - smoothing) + smoothing / classes


def mix_labels(target: Tensor, partner: Tensor, share: Tensor, classes: int) -> Tensor:
    """Mix indices (N,) or probabilities (N, classes) with those of each one's partner. Each keeps its `share` (N,).

    Returns:
        Probabilities (N, classes).

    >>> mix_labels(torch.tensor([0, 1]), torch.tensor([1, 1]), torch.tensor([0.75, 0.5]), 2)
    tensor([[0.7500, 0.2500],
            [0.0000, 1.0000]])
    """
    own, other = (soft if soft.ndim > 1 else F.one_hot(soft, classes).float() for soft in (target, partner))
    mixed: Tensor = torch.lerp(other, own, share[:, None])
    return mixed
