"""Mixed views: mixup and CutMix of a training view with the view of another image.

The randomness depends only on (view seed, epoch, index), so a teacher cache can hold the outputs for exactly these views.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pixeldistill.recipe.data import Augmentation

_MIXING = 1  # separates the random numbers from those of the crops and of a camera's noise


class Mix(NamedTuple):
    """How a view is mixed: the other image's index, the share that the view keeps, and the rectangle that it gives up.

    Without a rectangle (top, left, bottom, right, in pixels), every pixel is mixed.
    """

    partner: int
    share: float
    box: tuple[int, int, int, int] | None


def draw_mix(augmentation: Augmentation, epoch: int, index: int, images: int, size: int) -> Mix:
    """Draw how a view is mixed. If the recipe has mixup and CutMix, each view has one of the two, with equal probability.

    Args:
        augmentation: settings. At least one of `mixup` and `cutmix` is not 0.
        epoch: the view's epoch.
        index: the view's image.
        images: number of images, any of which may be the partner.
        size: side of the view in pixels.

    Source: mixup, Zhang et al., ICLR 2018. CutMix, Yun et al., ICCV 2019. A partner and a share for each view: ours.
    """
    rng = np.random.default_rng([augmentation.seed, _MIXING, epoch, index])
    partner, coin = int(rng.integers(images)), rng.random()
    if augmentation.cutmix == 0 or (augmentation.mixup > 0 and coin < 0.5):
        return Mix(partner, float(rng.beta(augmentation.mixup, augmentation.mixup)), None)
    half = size * math.sqrt(1 - rng.beta(augmentation.cutmix, augmentation.cutmix)) / 2
    ends = [(round(centre - half), round(centre + half)) for centre in rng.uniform(0, size, 2)]
    (top, bottom), (left, right) = ((max(0, low), min(size, high)) for low, high in ends)
    return Mix(partner, 1 - (bottom - top) * (right - left) / size**2, (top, left, bottom, right))


def mix_images(images: Tensor, partners: Tensor, mixes: Sequence[Mix]) -> None:
    """Mix views with those of their partners, uint8 (N, 3, S, S), in place."""
    for image, partner, mix in zip(images, partners, mixes, strict=True):
        if mix.box is None:
            image.copy_(torch.lerp(partner.float(), image.float(), mix.share).round_())
        else:
            top, left, bottom, right = mix.box
            image[:, top:bottom, left:right] = partner[:, top:bottom, left:right]
