"""Comparison of features, value by value."""

import torch.nn.functional as F
from torch import Tensor

from pixeldistill.errors import ShapeError
from pixeldistill.functional.sizes import same_size


def upsampled_mse(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Return the mean squared difference after upsampling the student's map to the teacher's (assistant's) size, without adapter.

    Args:
        student_map: (N, C, h, w).
        teacher_map: (N, C, H, W).

    Returns:
        A scalar, in squared units of the maps.

    Raises:
        ShapeError: unequal channels.

    Source:
        L_up of the input-compression stage in Pixel Distillation's code: bilinear, align_corners=True.

    Examples:
        >>> import torch
        >>> upsampled_mse(torch.ones(1, 2, 2, 2), torch.ones(1, 2, 8, 8)).item()
        0.0
    """
    _check_channels(student_map, teacher_map, "use a `hint`, which projects, or give both the same architecture")
    upsampled = F.interpolate(student_map, teacher_map.shape[2:], mode="bilinear", align_corners=True)
    return F.mse_loss(upsampled, teacher_map)


def hint(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Return the mean squared difference of two maps. The larger map is average-pooled to the smaller one's size.

    Args:
        student_map: (N, C, h, w), projected to the teacher's channels.
        teacher_map: (N, C, h', w').

    Returns:
        A scalar, in squared units of the maps.

    Raises:
        ShapeError: unequal channels.

    Source:
        Romero et al., FitNets, ICLR 2015.

    Examples:
        >>> import torch
        >>> hint(torch.ones(1, 2, 4, 4), torch.ones(1, 2, 8, 8)).item()
        0.0
    """
    _check_channels(student_map, teacher_map, "project the student's first")
    return F.mse_loss(*same_size(student_map, teacher_map))


def _check_channels(student_map: Tensor, teacher_map: Tensor, fix: str) -> None:
    if student_map.shape[1] != teacher_map.shape[1]:
        raise ShapeError(f"maps of {student_map.shape[1]} and {teacher_map.shape[1]} channels cannot be subtracted: {fix}")
