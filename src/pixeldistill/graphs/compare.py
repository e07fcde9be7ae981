"""Comparison of an exported graph's outputs with PyTorch's."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def relative(ours: Tensor, theirs: NDArray[Any]) -> float:
    """Return the largest difference relative to our largest value (or 1). Return NaN if one of their values is NaN."""
    difference = (ours - torch.from_numpy(theirs)).abs().max().item()
    return difference / max(1.0, ours.abs().max().item())
