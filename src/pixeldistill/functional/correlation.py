"""Inter-channel correlation: the channels of a map that are active together."""

import torch.nn.functional as F
from torch import Tensor

from pixeldistill.errors import ShapeError
from pixeldistill.functional.sizes import full_precision, in_float32


def inter_channel_correlation(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Return the squared difference of two C×C channel correlations, with rows normalised to length one, summed over a row.

    Args:
        student_map: (N, C, h, w).
        teacher_map: (N, C, h', w'). Its size may differ from the student's, its channels may not.

    Returns:
        A scalar: the mean over the batch and the rows, 0 to 4.

    Raises:
        ShapeError: unequal channels (project the student's first).

    Source:
        Liu et al., Exploring Inter-Channel Correlation for Diversity-preserved Knowledge Distillation, ICCV 2021 (ICKD-C).

    Examples:
        >>> import torch
        >>> maps = torch.randn(2, 3, 4, 4)
        >>> inter_channel_correlation(maps, 2 * maps).item() < 1e-10
        True
    """
    if student_map.shape[1] != teacher_map.shape[1]:
        raise ShapeError(f"maps of {student_map.shape[1]} and {teacher_map.shape[1]} channels: project the student's first")
    difference = _correlation(student_map) - _correlation(teacher_map)
    return difference.square().sum(dim=2).mean()


def _correlation(feature: Tensor) -> Tensor:
    channels = in_float32(feature).flatten(2)
    with full_precision(channels):
        return F.normalize(channels @ channels.transpose(1, 2), dim=2)
