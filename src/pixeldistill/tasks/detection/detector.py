"""Detectors on any timm backbone: image in, `Outputs` (class and box maps, input feature, pyramid levels) out.

Backbone (timm) → feature pyramid (torchvision) → a head that all levels share (`heads`).
"""

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

from pixeldistill.errors import NetworkError
from pixeldistill.functional.reconstruction import normalise
from pixeldistill.networks.adapter import Adapter, FinishHead
from pixeldistill.networks.backbone import create_net, one_line
from pixeldistill.networks.input_tap import InputTap, find_patch_size
from pixeldistill.networks.weights.load import load_weights
from pixeldistill.recipe.architectures import TORCHVISION
from pixeldistill.recipe.detector import DetectorSettings
from pixeldistill.tasks.detection.heads.base import Head, head_named
from pixeldistill.tasks.detection.necks import CoarseLevels, SimplePyramid
from pixeldistill.types import FeatureSpec, MapSpec, Outputs, collect

MULTIPLE = 32  # of a backbone's input sides, so that every level has whole cells


class Detector(Adapter):
    """A detector for images of any size. See `Adapter`. Its features are the pyramid's levels.

    Attributes:
        net: backbone, pyramid and head.
        times: factor by which an image is enlarged first.
        built: settings of the pyramid and the head. Their levels count in pixels that the backbone reads.
        settings: the same settings, with levels in pixels of the original input, like boxes and anchors.
    """

    net: nn.ModuleDict

    def __init__(
        self, backbone: nn.Module, settings: DetectorSettings, classes: int, config: Mapping[str, Any], times: int = 1
    ) -> None:  # fmt: skip
        super().__init__()
        self.built, self.times, self.classes = settings, times, classes
        self.settings = settings.enlarged(times)
        self.mean, self.std = tuple(config["mean"]), tuple(config["std"])
        self.notes = []
        self.tap = InputTap(backbone)
        self._places: list[int] = []  # indices of the used maps of the backbone
        self.net = nn.ModuleDict({"backbone": backbone})

    def add_neck(self, maps: Mapping[int, tuple[int, int]]) -> None:
        """Build pyramid and head on the backbone's maps: each level's number, with its index among the maps and its channels."""
        first, last = self.built.levels
        deepest = max(maps)
        wanted = list(range(min(first, deepest), min(last, deepest) + 1))
        if len(maps) == 1:
            (number, (place, width)) = next(iter(maps.items()))
            wanted = list(range(min(first, number + 1), min(last, number + 1) + 1))
            simple = SimplePyramid(width, number, wanted)
            self.net["simple"] = simple
            self._places, channels = [place], simple.channels
        else:
            self._places, channels = [maps[number][0] for number in wanted], [maps[number][1] for number in wanted]
        coarse = CoarseLevels(self.settings.channels, range(wanted[-1] + 1, last + 1))
        self._names = [str(number) for number in wanted]
        _prune(self.backbone, self._places)
        self.net["fpn"] = FeaturePyramidNetwork(channels, self.settings.channels, extra_blocks=coarse)
        self.net["head"] = self._head.build(self.settings, self.classes)

    def train(self, mode: bool = True) -> "Detector":
        """Switch between training and evaluation. Frozen norms stay unchanged."""
        super().train(mode)
        if self.settings.freeze_norms:
            for module in self.backbone.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(self, image: Tensor) -> Outputs:
        """Run the network on images (N, 3, H, W) in [0, 1]."""
        height, width = image.shape[2:]
        padded = self.prepare(image)
        levels = self.levels(padded)
        feature = self.tap.take((padded.shape[2] * self.times, padded.shape[3] * self.times))
        stride = padded.shape[2] / feature.shape[2]
        feature = feature[:, :, : math.ceil(height / stride), : math.ceil(width / stride)]
        towers = tuple(self.begin(level) for level in levels)
        return Outputs(collect([self.finish(*tower) for tower in towers]), feature, levels, towers)

    @property
    def multiple(self) -> int:
        """Images are padded to a multiple of this number. Once enlarged, their sides are multiples of `MULTIPLE`."""
        return max(1, MULTIPLE // self.times)

    def prepare(self, image: Tensor) -> Tensor:
        """Normalise images, and pad them on the right and below."""
        right, below = -image.shape[3] % self.multiple, -image.shape[2] % self.multiple
        return F.pad(normalise(image, self.mean, self.std), (0, right, 0, below))

    def levels(self, padded: Tensor) -> tuple[Tensor, ...]:
        """Return the pyramid's levels for images from `prepare`."""
        if self.times > 1:
            padded = F.interpolate(padded, scale_factor=self.times, mode="bilinear")
        maps = cast(Any, self.backbone).forward_intermediates(
            padded, indices=self._places, output_fmt="NCHW", intermediates_only=True
        )  # fmt: skip
        if "simple" in self.net:
            maps = self.net["simple"](maps[0])
        pyramid = self.net["fpn"](OrderedDict(zip(self._names, maps, strict=True)))
        return tuple(pyramid[str(number)] for number in self.built.numbers)

    def begin(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output of the head's first convolutions for a level, for classes and for boxes. See `finish`."""
        classes, boxes = self._towers()
        return _through(classes[: self._handed], level), _through(boxes[: self._handed], level)

    @property
    def backbone(self) -> nn.Module:
        """The timm network."""
        return self.net["backbone"]

    @property
    def finish_head(self) -> FinishHead:
        """Function that finishes the head. See `finish`."""
        return self.finish

    @property
    def _handed(self) -> int:
        """Number of a tower's modules before another head may continue (`Head.handed`), without the last one's activation."""
        depth, modules = self.settings.depth, len(self._towers()[0])
        return max(0, min(self._head.handed, depth - 1) * (modules // depth) - 1)

    @property
    def _head(self) -> Head:
        return head_named(self.settings.head)

    def _towers(self) -> tuple[list[nn.Module], list[nn.Module]]:
        return self._head.towers(self.net["head"])

    def finish(self, classes: Tensor, boxes: Tensor) -> tuple[Tensor, ...]:
        """Finish the head from the output of its first convolutions for a level.

        Args:
            classes: (N, C, H, W), without the activation of the last of these convolutions.
            boxes: (N, C, H, W), likewise.

        Returns:
            For the level: logits (N, H·W·A, classes), deltas (N, H·W·A, 4) and, for points, centerness (N, H·W, 1).
        """
        towers = self._towers()
        if self._handed:
            classes, boxes = F.relu(classes), F.relu(boxes)
        rest = self._handed + bool(self._handed)
        classes, boxes = _through(towers[0][rest:], classes), _through(towers[1][rest:], boxes)
        return self._head.predict(self.net["head"], classes, boxes, self.classes)


def _through(modules: Iterable[nn.Module], maps: Tensor) -> Tensor:
    for module in modules:
        maps = module(maps)
    return maps


def build_detector(
    name: str,
    num_classes: int,
    image_size: int,
    settings: DetectorSettings,
    *,
    weights: str = "none",
    patch_size: int | None = None,
    options: Mapping[str, Any] | None = None,
    enlarge: int | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> Detector:
    """Build a detector on a timm backbone, with fresh pyramid and head, and check that it runs at its image size.

    Args:
        name: a timm architecture.
        num_classes: number of classes.
        image_size: side of the square training views in pixels. Images of other sizes are accepted too.
        settings: settings of its pyramid and head.
        weights: weights of the backbone: "none", "pretrained", or a classifier's file or run folder.
        patch_size: patch size of a ViT.
        options: passed on to the backbone's constructor.
        mean: mean of the images in [0, 1], red, green, blue. By default the architecture's.
        std: standard deviation of the images, likewise.
        enlarge: a control: images are enlarged first (bilinear) from `image_size` to this size, by a power of two.

    Raises:
        NetworkError: the name is unknown, the backbone lacks a level, or the network cannot take the image size.
        WeightsError: the weights cannot be read or do not fit.
    """
    if name.startswith(TORCHVISION):
        raise NetworkError(f"{name} gives no maps of its levels: choose a network of timm for a detector")
    built_for = enlarge or image_size
    times, rest = divmod(built_for, image_size)
    if rest or times & (times - 1):
        raise NetworkError(f"{name}: {built_for} is not 2, 4, … times {image_size}: a detector's levels shift by whole numbers")
    net, config = create_net(name, 1, built_for, weights, patch_size, dict(options or {}), flexible=True)
    notes = load_weights(net, weights, name, 1, trained=False)
    try:
        patch_size = find_patch_size(net) if hasattr(net, "dynamic_img_size") else None
        if patch_size and MULTIPLE % patch_size:
            raise NetworkError(f"its patches of {patch_size} do not divide {MULTIPLE} pixels: choose `patch_size` 8 or 16")
        detector = Detector(net, settings, num_classes, {"mean": mean or config["mean"], "std": std or config["std"]}, times)
        detector.notes += notes
        detector.add_neck(_usable_maps(net, built_for, settings))
        _check(detector, image_size)
    except NetworkError as error:
        raise NetworkError(f"{name} cannot detect at {image_size}×{image_size}: {error}") from error.__cause__
    except Exception as error:  # networks of other libraries may raise anything
        raise NetworkError(f"{name} cannot detect at {image_size}×{image_size}: {one_line(error)}") from error
    if settings.freeze_norms:
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.requires_grad_(False)
    return detector


def _prune(net: nn.Module, places: list[int]) -> None:
    """Remove the layers after the last used map, if the architecture supports it."""
    if hasattr(net, "prune_intermediate_layers"):
        cast(Any, net).prune_intermediate_layers(places, prune_norm=True, prune_head=True)


@torch.no_grad()
def _usable_maps(net: nn.Module, image_size: int, settings: DetectorSettings) -> dict[int, tuple[int, int]]:
    """Return the backbone's maps by level: its index among the maps (the deepest map of a level) and its channels."""
    image_size = max(image_size, 64) // MULTIPLE * MULTIPLE
    was_training = net.training
    maps = cast(Any, net.eval()).forward_intermediates(
        torch.zeros(1, 3, image_size, image_size), output_fmt="NCHW", intermediates_only=True
    )
    net.train(was_training)
    found: dict[int, tuple[int, int]] = {}
    for place, feature in enumerate(maps):
        level = math.log2(image_size / feature.shape[2])
        if abs(level - round(level)) < 1e-6:
            found[round(level)] = (place, feature.shape[1])
    if not found:
        raise NetworkError("its maps have no strides that are powers of two: choose `patch_size` 8 or 16")
    first, last = settings.levels
    needed = range(min(first, max(found)), min(last, max(found)) + 1)
    if len(found) > 1 and (lacking := [number for number in needed if number not in found]):
        strides = ", ".join(str(2**number) for number in sorted(found))
        raise NetworkError(
            f"its maps have strides {strides}, so it has no level {lacking[0]} (stride {2 ** lacking[0]}): "
            f"choose `levels` from {min(found)} on"
        )
    return found


@torch.no_grad()
def _check(detector: Detector, image_size: int) -> None:
    """Run the detector once, and set `spec`."""
    was_training = detector.training
    detector.eval()
    outputs = detector(torch.rand(1, 3, image_size, image_size, generator=torch.Generator().manual_seed(0)))
    try:
        for height, width in ((image_size, image_size + MULTIPLE), (image_size + 3 * MULTIPLE, image_size)):
            detector(torch.zeros(1, 3, height, width))
    except Exception as error:
        raise NetworkError(
            "it takes square images of one size alone, and what is to be found is in images of any shape"
        ) from error
    detector.spec = FeatureSpec(
        "detection", (image_size, image_size), detector.classes, MapSpec(*outputs.input_feature.shape[1:]),
        tuple(MapSpec(*level.shape[1:]) for level in outputs.features), detector=detector.settings,
        levels=detector.settings.numbers,
    )  # fmt: skip
    single = sum(level.shape[2] == 1 for level in outputs.features)
    if single > 1:
        first = detector.settings.levels[1] - single + 2
        detector.notes.append(f"from P{first} on levels have one cell, as P{first - 1} has: they add little at this image size")
    detector.train(was_training)
