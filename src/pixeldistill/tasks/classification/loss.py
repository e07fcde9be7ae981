"""Classification: its loss, and its labels softened or mixed."""

import torch
import torch.nn.functional as F
from torch import Tensor


def supervised_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy in nats; logits (N, classes), target indices (N,) or probabilities (N, classes)."""
    return F.cross_entropy(logits, target)


def smooth_labels(target: Tensor, classes: int, smoothing: float) -> Tensor:
    """Turn indices (N,) into probabilities (N, classes) that give `smoothing` to all classes alike; 0 changes nothing.

    >>> smooth_labels(torch.tensor([1]), 2, 0.5)
    tensor([[0.2500, 0.7500]])
    """
    if smoothing == 0:
        return target
    return F.one_hot(target, classes).float() * (1 - smoothing) + smoothing / classes


def mix_labels(target: Tensor, partner: Tensor, share: float, classes: int) -> Tensor:
    """Mix indices (N,) or probabilities (N, classes) with those of each one's partner, of which they keep a share.

    Returns:
        Probabilities (N, classes).

    >>> mix_labels(torch.tensor([0, 1]), torch.tensor([1, 0]), 0.75, 2)
    tensor([[0.7500, 0.2500],
            [0.2500, 0.7500]])
    """
    soft = target if target.ndim > 1 else F.one_hot(target, classes).float()
    mixed: Tensor = torch.lerp(soft[partner], soft, share)
    return mixed
