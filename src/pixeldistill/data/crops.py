"""Crops: the random crop of a training view, and the centre of a very long image. No torch.

The randomness of a training view depends only on (view seed, epoch, index).
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixeldistill.recipe.data import Augmentation

MAX_ASPECT = 100


class Crop(NamedTuple):
    """A rectangle of the image in pixels, and whether it is flipped."""

    top: int
    left: int
    height: int
    width: int
    flip: bool

    def within(self, height: int, width: int, of: tuple[int, int]) -> "Crop":
        """Return the same part of a resized copy (height, width) of the image, rounded to pixels. `of` is the image's size."""
        if (height, width) == of:
            return self
        y, x = height / of[0], width / of[1]
        h, w = max(1, round(self.height * y)), max(1, round(self.width * x))
        return Crop(min(round(self.top * y), height - h), min(round(self.left * x), width - w), h, w, self.flip)


def cut_long(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut the middle out of an image (H, W, 3) that is over a hundred times as long as it is wide.

    Only its centre is used, so the rest must not be enlarged with it.
    """
    height, width = image.shape[:2]
    most = MAX_ASPECT * min(height, width)
    if max(height, width) <= most:
        return image
    top, left = max(0, (height - most) // 2), max(0, (width - most) // 2)
    return image[top : top + most, left : left + most]


def draw_crop(augmentation: Augmentation, epoch: int, index: int, height: int, width: int) -> Crop:
    """Draw a view's crop: random area and aspect ratio, ten tries, then the largest crop of a valid ratio at a random place.

    Source: the random resized crop of Szegedy et al., CVPR 2015, as in torchvision, except for the fallback. Torchvision's is
    the centre, which would hide the rest of long images. One seed per view (ours).
    """
    rng = np.random.default_rng([augmentation.seed, epoch, index])
    flip = bool(rng.random() < augmentation.flip)
    low, high = math.log(augmentation.ratio[0]), math.log(augmentation.ratio[1])
    for _ in range(10):
        area = height * width * rng.uniform(*augmentation.scale)
        ratio = math.exp(rng.uniform(low, high))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return Crop(int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w, flip)
    ratio = min(max(width / height, augmentation.ratio[0]), augmentation.ratio[1])
    w, h = max(1, min(width, round(height * ratio))), max(1, min(height, round(width / ratio)))
    return Crop(int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w, flip)
