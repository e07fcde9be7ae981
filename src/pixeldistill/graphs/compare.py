"""Comparing what an exported graph gives with what PyTorch does."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def relative(ours: Tensor, theirs: NDArray[Any]) -> float:
    """Return the largest difference, relative to our largest value (or 1); NaN where one of theirs is."""
    difference = (ours - torch.from_numpy(theirs)).abs().max().item()
    return difference / max(1.0, ours.abs().max().item())
