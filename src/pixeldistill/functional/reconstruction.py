"""Reconstruction of the large image."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(image: Tensor, mean: tuple[float, ...] = IMAGENET_MEAN, std: tuple[float, ...] = IMAGENET_STD) -> Tensor:
    """Normalise an image (N, 3, H, W) in [0, 1] channel by channel; ImageNet's statistics by default.

    >>> import torch
    >>> normalise(torch.full((1, 3, 1, 1), 0.5), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)).abs().max().item()
    0.0
    """
    return (image - _constant(mean, image.device, image.dtype)).div_(_constant(std, image.device, image.dtype))


@lru_cache
def _constant(values: tuple[float, ...], device: torch.device, kind: torch.dtype) -> Tensor:
    """Keep channels' constants (1, C, 1, 1) on the device: to send them in every step would wait for it."""
    return torch.tensor(values, device=device, dtype=kind).view(1, -1, 1, 1)


def reconstruction_l1(reconstruction: Tensor, image: Tensor) -> Tensor:
    """L1 between a reconstruction (N, 3, H, W) and the large image (N, 3, H, W) in [0, 1].

    The target is normalised by ImageNet's statistics whatever the networks use, so that the term's weight means the
    same for all of them (ours; with 0.5/0.5 the loss shrinks 2.2 times).

    Returns:
        A scalar, in ImageNet standard deviations.

    Source:
        L_ISRD of Pixel Distillation (TPAMI 2024).
    """
    return F.l1_loss(reconstruction, normalise(image))
