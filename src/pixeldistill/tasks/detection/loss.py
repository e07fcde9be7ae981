"""Loss of a detector: the matching of anchors with objects, and their targets.

It is computed without waiting for the device, and equals torchvision's.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from pixeldistill.recipe.detector import DetectorSettings
from pixeldistill.tasks.detection.anchors import level_anchors
from pixeldistill.tasks.detection.heads.base import IGNORED, head_named
from pixeldistill.types import BoxMaps, BoxTarget

Grids = tuple[tuple[int, int], ...]


@lru_cache(maxsize=8)  # a view of 1024 pixels with P2 has anchors of 17 MB
def anchors_of(settings: DetectorSettings, grids: Grids, device: torch.device) -> tuple[Tensor, ...]:
    """Return the anchors (or points) of all levels, (H·W·A, 4) each, on a device. They are cached there."""
    return tuple(
        torch.tensor(level_anchors(settings, number, grid), device=device)
        for number, grid in zip(settings.numbers, grids, strict=True)
    )


def supervised_loss(
    prediction: BoxMaps, target: BoxTarget, settings: DetectorSettings, grids: Grids, shared_levels: tuple[int, int] | None = None
) -> Tensor:
    """Return the loss of a detector's prediction against the objects in its view. See the `loss` of its head.

    Args:
        prediction: prediction of the network.
        target: objects in pixels of the view.
        settings: settings of the detector.
        grids: height and width of every level.
        shared_levels: first and last of the levels that objects are matched with as if there were no others. So a student on
            small images, whose levels correspond to these, gets the same target at each twin (AFP, ours). Other levels are
            matched as usual.
    """
    levels = anchors_of(settings, grids, target.boxes.device)
    part = (
        None
        if shared_levels is None
        else slice(settings.numbers.index(shared_levels[0]), settings.numbers.index(shared_levels[1]) + 1)
    )
    matched = match(levels, target, settings, part)
    return head_named(settings.head).loss(prediction, target, torch.cat(levels), matched)


def counted(target: BoxTarget, settings: DetectorSettings, grids: Grids) -> tuple[list[Tensor], Tensor]:
    """Return which anchors (or points) count in a comparison on the objects of a view, and the divisor of its sum.

    Returns:
        For every level, (N, H·W·A, 1): 0 for anchors that are neither an object's nor background. And the head's `weight_sum`.

    Source:
        The label weights and the averaging factor of CrossKD's code (Wang et al., CVPR 2024).
    """
    levels = anchors_of(settings, grids, target.boxes.device)
    matched = match(levels, target, settings)
    weights = list(torch.split((matched != IGNORED).float().unsqueeze(2), [len(anchors) for anchors in levels], dim=1))
    return weights, head_named(settings.head).weight_sum(target, torch.cat(levels), matched)


def match(levels: Sequence[Tensor], target: BoxTarget, settings: DetectorSettings, part: slice | None = None) -> Tensor:
    """Match the anchors or points of all levels with objects, (N, A). See the `match` of the detector's head.

    Args:
        levels: anchors (A', 4) of each level.
        target: objects in pixels of the view.
        settings: settings of the detector.
        part: levels that are matched as if there were no others.
    """
    head = head_named(settings.head)
    matched = torch.cat([head.match(levels, image) for image in target.images()])  # or a crowded image would slow all others
    if part is None:
        return matched
    before, own = (sum(map(len, levels[: part.start])), sum(map(len, levels[part])))
    shared = match(levels[part], target, settings)
    return torch.cat([matched[:, :before], shared, matched[:, before + own :]], dim=1)
