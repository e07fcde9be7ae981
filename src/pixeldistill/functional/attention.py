"""Attention transfer: the places in a map where a network is active."""

import torch.nn.functional as F
from torch import Tensor

from pixeldistill.functional.sizes import in_float32, same_size


def attention_transfer(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Return the mean squared difference of two attention maps: energy over the channels, normalised to length one.

    Args:
        student_map: (N, C, h, w).
        teacher_map: (N, C', h', w'); the larger of the two maps is average-pooled to the smaller one's size.

    Returns:
        A scalar, without unit; around 1e-4, hence the published weight of 1000.

    Source:
        Zagoruyko and Komodakis, Paying More Attention to Attention, ICLR 2017; pooling as in Pixel Distillation's code.

    Examples:
        >>> import torch
        >>> attention_transfer(torch.ones(1, 2, 4, 4), torch.ones(1, 5, 8, 8)).item()
        0.0
    """
    student_map, teacher_map = same_size(student_map, teacher_map)
    return F.mse_loss(_attention(student_map), _attention(teacher_map))


def _attention(feature: Tensor) -> Tensor:
    return F.normalize(in_float32(feature).square().mean(dim=1).flatten(1))
