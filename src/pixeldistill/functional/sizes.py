"""Common size and precision of two maps."""

from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F
from torch import Tensor


def same_size(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Average-pool two maps (N, C, H, W) to the smaller height and the smaller width of the two."""
    size = (min(one.shape[2], other.shape[2]), min(one.shape[3], other.shape[3]))
    return _pool(one, size), _pool(other, size)


def full_precision(feature: Tensor) -> AbstractContextManager[object]:
    """Return a context without mixed precision, because sums over a whole map overflow in half precision. See `in_float32`."""
    return torch.autocast(feature.device.type, enabled=False)


def in_float32(feature: Tensor) -> Tensor:
    """Return a map in at least single precision."""
    return feature.to(torch.promote_types(feature.dtype, torch.float32))


def _pool(feature: Tensor, size: tuple[int, int]) -> Tensor:
    return feature if feature.shape[2:] == size else F.adaptive_avg_pool2d(feature, size)
