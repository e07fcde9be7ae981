"""Similarity-preserving distillation: the samples of a batch that are alike."""

import torch.nn.functional as F
from torch import Tensor

from pixeldistill.functional.sizes import full_precision, in_float32


def similarity_preserving(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Return the mean squared difference of two N×N similarity matrices, with rows normalised to length one.

    Sizes and channels of the two maps may differ, because only the batch is compared.

    Args:
        student_map: (N, C, h, w).
        teacher_map: (N, C', h', w').

    Returns:
        A scalar, without unit; around 1e-4, hence the published weight of 3000.

    Source:
        Tung and Mori, Similarity-Preserving Knowledge Distillation, ICCV 2019.

    Examples:
        >>> import torch
        >>> maps = torch.randn(4, 2, 3, 3)
        >>> similarity_preserving(maps, 2 * maps).item() < 1e-12
        True
    """
    return F.mse_loss(_similarity(student_map), _similarity(teacher_map))


def _similarity(feature: Tensor) -> Tensor:
    rows = in_float32(feature).flatten(1)
    with full_precision(rows):
        return F.normalize(rows @ rows.T)
