"""RandAugment of a training view. The randomness depends only on (view seed, epoch, index)."""

from functools import cache

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode, RandAugment

from pixeldistill.recipe.data import Augmentation

_RANDAUGMENT = 3  # separates the random numbers from those of the crops, of mixing and of a camera's noise
GREY = 128  # of what comes into view when an image is moved


def alter(image: Tensor, augmentation: Augmentation, epoch: int, index: int) -> Tensor:
    """Apply two random operations of the recipe's magnitude to a view, uint8 (3, S, S): colours, contrast, shear, rotation, ….

    Source: RandAugment, Cubuk et al., NeurIPS 2020, as in torchvision. One seed for each view: ours.
    """
    (seed,) = np.random.SeedSequence([augmentation.seed, _RANDAUGMENT, epoch, index]).generate_state(1, np.uint64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
        altered: Tensor = _operations(augmentation.randaugment)(image)
    return altered


@cache
def _operations(magnitude: int) -> RandAugment:
    return RandAugment(magnitude=magnitude, interpolation=InterpolationMode.BILINEAR, fill=GREY)
