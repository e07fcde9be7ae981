"""Views: one random crop and flip at the large side, from which every smaller view is made; and the cheap camera's image.

A view's randomness is a function of (view seed, epoch, index) and of nothing else.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from pixeldistill.recipe import Imaging, Views

MAX_ASPECT = 100


class Crop(NamedTuple):
    """A rectangle of the image in pixels, and whether it is flipped."""

    top: int
    left: int
    height: int
    width: int
    flip: bool


def draw_crop(views: Views, epoch: int, index: int, height: int, width: int) -> Crop:
    """Draw a view's crop: area and aspect ratio at random, ten tries, then the largest centre crop of a valid ratio.

    Source: the random resized crop of Szegedy et al., CVPR 2015, as torchvision draws it; seeded per view (ours).
    """
    rng = np.random.default_rng([views.seed, epoch, index])
    flip = bool(rng.random() < views.flip)
    low, high = math.log(views.ratio[0]), math.log(views.ratio[1])
    for _ in range(10):
        area = height * width * rng.uniform(*views.scale)
        ratio = math.exp(rng.uniform(low, high))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return Crop(int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w, flip)
    ratio = min(max(width / height, views.ratio[0]), views.ratio[1])
    w, h = max(1, min(width, round(height * ratio))), max(1, min(height, round(width / ratio)))
    return Crop((height - h) // 2, (width - w) // 2, h, w, flip)


def large_view(image: NDArray[np.uint8], crop: Crop, side: int, kernel: str) -> Tensor:
    """Cut the crop out of an image (H, W, 3), resize and flip it: uint8 (3, side, side)."""
    part = image[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    view = resize(_to_tensor(part), side, side, kernel)
    return view.flip(-1) if crop.flip else view


def camera_view(image: NDArray[np.uint8], side: int, imaging: Imaging) -> Tensor:
    """Make the test image as a cheap camera would deliver it, from the whole original (H, W, 3): uint8 (3, side, side).

    The shorter side is resized to `side / imaging.crop` (256 for 224), then the centre is taken. Source: METHOD, schedule.
    """
    short = round(side / imaging.crop)
    height, width = image.shape[:2]
    if max(height, width) > MAX_ASPECT * min(height, width):  # only the centre will be seen: do not enlarge the rest
        most = MAX_ASPECT * min(height, width)
        top, left = max(0, (height - most) // 2), max(0, (width - most) // 2)
        image = image[top : top + most, left : left + most]
        height, width = image.shape[:2]
    scale = short / min(height, width)
    tensor = resize(_to_tensor(image), max(short, round(height * scale)), max(short, round(width * scale)), imaging.kernel)
    view: Tensor = F.center_crop(tensor, [side, side])
    return view


def resize(image: Tensor, height: int, width: int, kernel: str) -> Tensor:
    """Resize uint8 (..., 3, H, W), antialiased, to 8 bits again; a no-op at the size it has."""
    if image.shape[-2:] == (height, width):
        return image
    resized: Tensor = F.resize(image, [height, width], interpolation=InterpolationMode(kernel), antialias=True)
    return resized


def to_unit(image: Tensor) -> Tensor:
    """Turn uint8 into float in [0, 1]."""
    return image.float().div_(255)


def _to_tensor(image: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)  # a copy: torch wants memory that it may write
