"""Views: images resized as a camera would deliver them, one at a time or many at once."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from pixeldistill.data.crops import cut_long
from pixeldistill.recipe.camera import Camera

MAX_LENGTH = 4
MARGIN = 2


def jpeg_reduction(height: int, width: int, image_size: int) -> int:
    """Return the factor (1, 2, 4, 8) by which a JPEG may be decoded smaller, if a part of this size becomes a view.

    Twice the image size is kept in both directions, so that the antialiased resize still determines the view.

    >>> jpeg_reduction(1000, 900, 224), jpeg_reduction(800, 3000, 224)
    (2, 1)
    """
    return next((factor for factor in (8, 4, 2) if min(height, width) >= factor * MARGIN * image_size), 1)


def camera_view(image: NDArray[np.uint8], image_size: int, camera: Camera) -> Tensor:
    """Make the test image as a cheap camera would deliver it, from the whole original (H, W, 3): uint8 (3, side, side).

    The shorter side is resized to `image_size / camera.centre` (256 for 224), then the centre is cropped. Source: paper,
    schedule. An image that already has the view's size is used unchanged, as sent by a camera.
    """
    if image.shape[:2] == (image_size, image_size):
        return to_tensor(image)
    short = round(image_size / camera.centre)
    image = cut_long(image)
    height, width = image.shape[:2]
    rows, columns = (max(short, round(length * short / min(height, width))) for length in (height, width))
    tensor = resize(to_tensor(image), rows, columns, camera.kernel)
    view: Tensor = F.center_crop(tensor, [image_size, image_size])
    return view


def whole_view(image: NDArray[np.uint8], image_size: int, camera: Camera) -> Tensor:
    """Make the whole image (H, W, 3) as a camera delivers it for detection: uint8 (3, h, w), the shorter side `image_size`.

    The longer side is limited to `MAX_LENGTH` times the image size. Source: ours.
    """
    height, width = whole_size(image.shape[0], image.shape[1], image_size)
    return resize(to_tensor(image), height, width, camera.kernel)


def whole_size(height: int, width: int, image_size: int) -> tuple[int, int]:
    """Return the size of an image's whole view.

    >>> whole_size(480, 640, 240), whole_size(100, 2000, 240)
    ((240, 320), (48, 960))
    """
    divisor = max(MAX_LENGTH * min(height, width), height, width)
    return max(1, round(MAX_LENGTH * image_size * height / divisor)), max(1, round(MAX_LENGTH * image_size * width / divisor))


def resize(image: Tensor, height: int, width: int, kernel: str) -> Tensor:
    """Resize uint8 (..., 3, H, W), antialiased, to 8 bits again. An image that has the size already is returned unchanged."""
    if image.shape[-2:] == (height, width):
        return image
    if image.device.type == "cpu":  # in 8 bits throughout, on every processor: torchvision does so on those that it lists
        images = image.reshape(-1, *image.shape[-3:])
        resized = interpolate(images, (height, width), mode=kernel, align_corners=False, antialias=True)
        return resized.reshape(*image.shape[:-2], height, width)
    rounded: Tensor = F.resize(image, [height, width], interpolation=InterpolationMode(kernel), antialias=True)
    return rounded


def resize_image(image: NDArray[np.uint8], height: int, width: int, kernel: str) -> NDArray[np.uint8]:
    """Resize one image (H, W, 3), antialiased, to 8 bits again."""
    return resize(to_tensor(image), height, width, kernel).permute(1, 2, 0).numpy()


def resize_batch(images: Tensor, windows: Tensor, image_size: int, kernel: str) -> Tensor:
    """Resize and flip many crops of different sizes at once, on their device.

    An antialiased resize is one small matrix product from the left and one from the right, which accelerators compute fast.
    Between the two the image is 8-bit again, as in PyTorch's own resize. The result differs from PyTorch's by at most one
    level.

    Args:
        images: uint8 (N, 3, H, W). Of each image, only the upper left part of its window's size is used.
        windows: (N, 3): height and width of the crop, and whether it is flipped.
        image_size: size of the result in pixels.
        kernel: bilinear or bicubic.

    Returns:
        uint8 (N, 3, side, side).
    """
    rows = _resize_matrix(windows[:, 0], images.shape[2], image_size, kernel)
    columns = _resize_matrix(windows[:, 1], images.shape[3], image_size, kernel)
    columns = torch.where(windows[:, 2, None, None] > 0, columns.flip(1), columns)
    narrow = _to_levels(images.float() @ columns[:, None].transpose(2, 3))
    return _to_levels(rows[:, None] @ narrow).to(torch.uint8)


def _to_levels(values: Tensor) -> Tensor:
    """Round to whole grey levels, in place. Halves are rounded up, as in Pillow and PyTorch."""
    return values.add_(0.5).floor_().clamp_(0, 255)


def _resize_matrix(sizes: Tensor, longest: int, image_size: int, kernel: str) -> Tensor:
    """Return the matrix that resizes the first `size` of `longest` pixels to `image_size`: (N, side, longest), rows summing to 1.

    The weights are those of PyTorch's (and Pillow's) antialiased resize: the kernel, stretched by the factor of the reduction.
    """
    scale = (sizes.double() / image_size)[:, None, None]
    stretch = scale.clamp(min=1)
    centre = (torch.arange(image_size, device=sizes.device, dtype=torch.float64)[None, :, None] + 0.5) * scale
    pixel = torch.arange(longest, device=sizes.device, dtype=torch.float64)[None, None, :] + 0.5
    x = ((pixel - centre) / stretch).abs()
    if kernel == "bilinear":
        weights = (1 - x).clamp(min=0)
    else:
        near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
        weights = torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
    weights = weights * (pixel < sizes[:, None, None])
    return (weights / weights.sum(dim=2, keepdim=True)).float()


def to_unit(image: Tensor) -> Tensor:
    """Turn uint8 into float in [0, 1]."""
    return image.float().div_(255)


def to_image(view: Tensor) -> NDArray[np.uint8]:
    """Turn a tensor (3, H, W) into an image (H, W, 3)."""
    image: NDArray[np.uint8] = view.permute(1, 2, 0).contiguous().numpy()
    return image


def to_tensor(image: NDArray[np.uint8]) -> Tensor:
    """Turn an image (H, W, 3) into a tensor (3, H, W) of the same bytes in the same order."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)  # a copy: torch wants memory that it may write
