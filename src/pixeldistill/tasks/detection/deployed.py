"""Deployed detector: no intermediate maps, nothing that only training needs. It is exported, and its costs are measured."""

import copy
from typing import cast

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import get_same_padding
from torch import Tensor, nn

from pixeldistill.networks.adapter import Adapter
from pixeldistill.tasks.detection.anchors import level_anchors
from pixeldistill.tasks.detection.detector import Detector
from pixeldistill.tasks.detection.heads.base import head_named
from pixeldistill.tasks.detection.results import CANDIDATES


class DeployedDetector(nn.Module):
    """A detector: images float (N, 3, H, W), made by its `prepare` → (scores, boxes) of all anchors.

    Scores (N, A, classes) are probabilities. They are 0 except for the `CANDIDATES` likeliest ones of a level. Boxes (N, A, 4)
    are in pixels of the image, and not cut at its border.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector
        for number in detector.settings.numbers:
            cell = torch.tensor(level_anchors(detector.settings, number, (1, 1)))
            self.register_buffer(f"cell_{number}", cell, persistent=False)

    def forward(self, padded: Tensor) -> tuple[Tensor, Tensor]:
        """Run the network."""
        settings, scores, boxes = self.detector.settings, [], []
        decode = head_named(settings.head).decode
        for number, level in zip(settings.numbers, self.detector.levels(padded), strict=True):
            logits, deltas, *centerness = self.detector.finish(*self.detector.begin(level))
            likely = logits.sigmoid()
            if centerness:
                likely = (likely * centerness[0].sigmoid()).sqrt()
            scores.append(_likeliest(likely))
            boxes.append(decode(deltas, self._anchors(number, level.shape[2], level.shape[3])))
        return torch.cat(scores, dim=1), torch.cat(boxes, dim=1)

    def _anchors(self, number: int, height: int, width: int) -> Tensor:
        """Compute a level's anchors, (H·W·A, 4), for a size that is known only when the network runs."""
        cell = cast(Tensor, getattr(self, f"cell_{number}"))
        y, x = (torch.arange(n, device=cell.device) * 2**number for n in (height, width))
        corner = torch.stack([x[None, :].expand(height, width), y[:, None].expand(height, width)], dim=-1)
        return (torch.cat([corner, corner], dim=-1).view(-1, 1, 4) + cell).view(-1, 4)


def _likeliest(scores: Tensor) -> Tensor:
    """Set all scores of a level (N, A, classes) to 0 except the likeliest."""
    flat = scores.flatten(1)
    last = flat.topk(torch.sym_min(CANDIDATES, flat.shape[1])).values[:, -1:]
    return torch.where(scores >= last.unsqueeze(2), scores, 0.0)


def deploy(network: Adapter) -> DeployedDetector:
    """Return the deployed part of a detector: a copy in evaluation mode."""
    network = copy.deepcopy(network).eval().requires_grad_(False)
    network.tap.remove()
    return DeployedDetector(cast(Detector, network))


def fix_padding(net: DeployedDetector, example: Tensor) -> None:
    """Replace TensorFlow-style padding of convolutions by the fixed padding of an example, in place.

    For images that are padded to the detector's `multiple` it is always the same, so it needs no computation while the network
    runs.

    Args:
        net: the network.
        example: an input whose sides are such multiples.
    """
    assert not any(image_size % net.detector.multiple for image_size in example.shape[2:]), (
        "its padding would be that of this size alone"
    )
    found: dict[Conv2dSame, tuple[int, int, int, int]] = {}

    def note(module: Conv2dSame, args: tuple[Tensor]) -> None:
        sides = args[0].shape[2:]
        vertical, horizontal = (
            get_same_padding(sides[i], module.kernel_size[i], module.stride[i], module.dilation[i]) for i in (0, 1)
        )
        found[module] = (horizontal // 2, horizontal - horizontal // 2, vertical // 2, vertical - vertical // 2)

    same = [module for module in net.modules() if isinstance(module, Conv2dSame)]
    hooks = [module.register_forward_pre_hook(note) for module in same]
    with torch.no_grad():
        net(example)
    for hook in hooks:
        hook.remove()
    for parent in list(net.modules()):
        for name, module in parent.named_children():
            if isinstance(module, Conv2dSame) and module in found:
                setattr(parent, name, _padded(module, found[module]))


def _padded(module: Conv2dSame, padding: tuple[int, int, int, int]) -> nn.Module:
    plain = copy.copy(module)
    plain.__class__ = nn.Conv2d  # type: ignore[assignment]  # the same weights, but no padding
    plain.padding = (0, 0)
    return nn.Sequential(nn.ZeroPad2d(padding), plain)
