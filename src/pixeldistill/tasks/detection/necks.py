"""Layers between a backbone's maps and a detector's head. They add the levels that the backbone lacks."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock


class CoarseLevels(ExtraFPNBlock):  # type: ignore[misc]  # torchvision has no types
    """Levels beyond the backbone's last map, each a 3×3 convolution of stride 2 on the previous level.

    They are like torchvision's P6 and P7 (on P5), but for any number of levels: an assistant may have coarser ones than a usual
    detector. They are named by their number, so that detectors with other levels can share their weights.
    """

    def __init__(self, channels: int, numbers: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleDict({str(number): nn.Conv2d(channels, channels, 3, 2, 1) for number in numbers})
        for level in self.levels.values():
            assert isinstance(level, nn.Conv2d) and level.bias is not None
            nn.init.kaiming_uniform_(level.weight, a=1)
            nn.init.zeros_(level.bias)

    def forward(self, results: list[Tensor], x: list[Tensor], names: list[str]) -> tuple[list[Tensor], list[str]]:
        """Add the coarse levels to a pyramid."""
        results, names = list(results), list(names)
        for place, (number, level) in enumerate(self.levels.items()):
            results.append(level(F.relu(results[-1]) if place else results[-1]))
            names.append(number)
        return results, names


class SimplePyramid(nn.Module):
    """Maps of several strides from the single map of a plain ViT.

    Finer maps come from transposed convolutions of stride 2, coarser ones from pooling.

    Source:
        Li et al., Exploring Plain Vision Transformer Backbones for Object Detection, ECCV 2022.
    """

    def __init__(self, channels: int, number: int, wanted: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleDict({str(other): _branch(channels, number - other) for other in wanted})
        self.channels = [channels >> max(0, number - other) for other in wanted]

    def forward(self, feature: Tensor) -> list[Tensor]:
        """Return a map for every wanted level."""
        return [branch(feature) for branch in self.branches.values()]


def _branch(channels: int, finer: int) -> nn.Module:
    """Make the layers that change a map's stride by a number of octaves."""
    layers: list[nn.Module] = [nn.MaxPool2d(2) for _ in range(-finer)]
    for step in range(finer):
        width = channels >> step
        layers += [nn.GELU()] if step else []
        layers += [nn.ConvTranspose2d(width, width // 2, 2, 2), nn.GroupNorm(1, width // 2)]
    return nn.Sequential(*layers)
