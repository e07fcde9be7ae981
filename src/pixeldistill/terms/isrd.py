"""Input spatial representation distillation: the input module must keep enough information to rebuild the large image."""

from math import ceil
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from pixeldistill.functional.reconstruction import reconstruction_l1
from pixeldistill.recipe.losses import ISRDTerm
from pixeldistill.types import Batch, FeatureSpec, Outputs

Size = int | tuple[int, int]


class InputReconstructor(nn.Module):
    """Decoder from the student's input feature to the large image: (N, C, h, w) → (N, 3, H, W).

    It consists of a 1×1 convolution without bias to 3·s² channels, pixel shuffle by `s = ceil(large / feature)`, and PReLU with
    one slope per channel. Then the shuffled image is fitted to the large size. It exists only in training.

    Args:
        channels: C of the input feature.
        feature_size: (h, w) of the input feature, or one int for a square.
        image_size: (H, W) of the large image in pixels, or one int for a square.
        fit: "resize" (ours: bilinear, antialiased) or "crop" (the published code: right and lower edge cut off, which misplaces
            the image unless h·s equals H).

    Source:
        ISRD of Pixel Distillation (TPAMI 2024) and its public code.

    >>> import torch
    >>> InputReconstructor(64, 28, 224)(torch.zeros(2, 64, 28, 28)).shape
    torch.Size([2, 3, 224, 224])
    """

    def __init__(self, channels: int, feature_size: Size, image_size: Size, *, fit: Literal["resize", "crop"] = "resize") -> None:
        super().__init__()
        feature, image = _pair(feature_size), _pair(image_size)
        self.image_size = image
        self.fit = fit
        self.scale = max(ceil(image[0] / feature[0]), ceil(image[1] / feature[1]))
        self.shuffled_size = (feature[0] * self.scale, feature[1] * self.scale)
        self.expand = nn.Conv2d(channels, 3 * self.scale**2, kernel_size=1, bias=False)
        self.shuffle = nn.PixelShuffle(self.scale)
        self.activation = nn.PReLU(3)

    def forward(self, input_feature: Tensor) -> Tensor:
        """Return the rebuilt image, in ImageNet-normalised units."""
        image: Tensor = self.activation(self.shuffle(self.expand(input_feature)))
        height, width = self.image_size
        if image.shape[-2:] == self.image_size:
            return image
        if self.fit == "crop":
            return image[..., :height, :width]
        return F.interpolate(image.float(), self.image_size, mode="bilinear", antialias=True)


class ISRD(nn.Module):
    """L_ISRD: L1 between the large (teacher's) view and its reconstruction from the student's input feature."""

    def __init__(self, config: ISRDTerm, student: FeatureSpec, teacher: FeatureSpec) -> None:
        super().__init__()
        channels, height, width = student.input_feature
        self.decoder = InputReconstructor(channels, (height, width), teacher.image_size, fit=config.fit)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Compare the reconstruction with the image of the teacher's view."""
        return reconstruction_l1(self.decoder(student.input_feature), batch.views["teacher"].image)

    def describe(self) -> str:
        """Describe in one line the decoder's steps from feature to image, for the dry run."""
        decoder = self.decoder
        shuffled = "×".join(map(str, decoder.shuffled_size))
        image = "×".join(map(str, decoder.image_size))
        fitted = "" if decoder.shuffled_size == decoder.image_size else f" → {decoder.fit} to {image}"
        return (f"1×1 convolution {decoder.expand.in_channels} → {decoder.expand.out_channels} channels, "
                f"pixel shuffle by {decoder.scale} → 3×{shuffled}{fitted}")  # fmt: skip


def _pair(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])
