"""Adapter for all classifiers: image in, `Outputs` (logits, input feature, maps) out.

The network runs once when it is built, to find its outputs. A network without the needed ones is refused, with the reason.
"""

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from pixeldistill.errors import NetworkError
from pixeldistill.functional.reconstruction import normalise
from pixeldistill.functional.sizes import in_float32
from pixeldistill.networks.adapter import Adapter
from pixeldistill.networks.backbone import create_net, one_line, set_stem_stride
from pixeldistill.networks.input_tap import InputTap, find_patch_size, input_module
from pixeldistill.networks.weights.load import load_weights
from pixeldistill.types import FeatureSpec, MapSpec, Outputs

MAX_MAPS = 6  # pyramids have at most this many; a plain ViT has one map a block, and four are kept


class Classifier(Adapter):
    """A classifier. See `Adapter`.

    Attributes:
        net: the network itself.
        enlarge: size that images are enlarged to first, if any.
    """

    def __init__(self, net: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], enlarge: int | None = None) -> None:
        super().__init__()
        self.net = net
        self.mean, self.std = mean, std
        self.enlarge = enlarge
        self.notes = []
        self._indices: list[int] | None = None
        self.tap = InputTap(net)

    def forward(self, image: Tensor) -> Outputs:
        """Run the network on images (N, 3, H, W) in [0, 1]."""
        normalised = self.prepare(image)
        if isinstance(self.net, torchvision.models.ShuffleNetV2):
            prediction, features = _run_shufflenet(self.net, normalised)
        else:
            net = cast(Any, self.net)
            last, features = net.forward_intermediates(normalised, indices=self._indices, output_fmt="NCHW")
            prediction = net.forward_head(last)
        return Outputs(
            in_float32(prediction), self.tap.take(), tuple(features)
        )  # with rounded logits, small losses would be lost to rounding

    @property
    def backbone(self) -> nn.Module:
        """The whole network."""
        return self.net

    def prepare(self, image: Tensor) -> Tensor:
        """Enlarge images if needed, and normalise them."""
        if self.enlarge:
            image = F.interpolate(image, (self.enlarge, self.enlarge), mode="bilinear")
        return normalise(image, self.mean, self.std)


def build_classifier(
    name: str,
    num_classes: int,
    image_size: int,
    *,
    weights: str = "none",
    patch_size: int | None = None,
    options: Mapping[str, Any] | None = None,
    classes: tuple[str, ...] | None = None,
    trained: bool = False,
    enlarge: int | None = None,
    stem_stride: int | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    task: str = "classification",
) -> Classifier:
    """Build a classifier, load its weights, and check that it can be distilled at its image size.

    Args:
        name: a timm architecture (`resnet18`, `vit_tiny_patch16_224`, ...), or `torchvision/shufflenet_v2_x1_0`.
        num_classes: number of classes to predict.
        image_size: side of the square image in pixels. Position embeddings are made or resampled for it.
        weights: "none", "pretrained" (an installed weights package, otherwise timm's download), a file, or a run folder.
        patch_size: patch size of a ViT. Its patch embedding is resampled.
        options: passed on to the constructor (`drop_path_rate`, ...).
        classes: names of the classes, compared with those of a former run.
        trained: require weights with a prediction layer for these classes (a frozen teacher). Otherwise a prediction layer
            of another size is replaced by a fresh one.
        enlarge: a control: images of `image_size` are enlarged to this size (bilinear), for which the network is built.
        stem_stride: a control: stride of the first convolution, 1 to keep a small image's resolution.
        mean: mean of the images in [0, 1], red, green, blue. By default the architecture's.
        std: standard deviation of the images, likewise.
        task: name of the task that it is for.

    Raises:
        NetworkError: the name is unknown, or the network has no usable input module or cannot take the image size.
        WeightsError: the weights cannot be read or do not fit.
    """
    built_for = enlarge or image_size
    net, config = create_net(name, num_classes, built_for, weights, patch_size, dict(options or {}))
    nominal = built_for
    if stem_stride:
        nominal = round(built_for * set_stem_stride(net, name, stem_stride) / stem_stride)
    notes = load_weights(net, weights, name, num_classes, trained=trained, image_size=built_for, classes=classes)
    try:
        classifier = Classifier(net, mean or tuple(config["mean"]), std or tuple(config["std"]), enlarge)
        classifier.notes += notes
        _check(classifier, name, image_size, nominal, task)
    except NetworkError as error:
        raise NetworkError(f"{name} cannot be used at {image_size}×{image_size}: {error}") from error.__cause__
    return classifier


def _run_shufflenet(net: torchvision.models.ShuffleNetV2, image: Tensor) -> tuple[Tensor, list[Tensor]]:
    stem = net.conv1(image)
    maps = [net.maxpool(stem)]
    for stage in (net.stage2, net.stage3, net.stage4):
        maps.append(stage(maps[-1]))
    return net.fc(net.conv5(maps[-1]).mean([2, 3])), [stem, *maps[1:]]


@torch.no_grad()
def _check(classifier: Classifier, name: str, image_size: int, nominal: int, task: str) -> None:
    """Run the network on noise. Set `spec`, whether the input feature must be copied, and which maps are kept."""
    net = classifier.net
    was_training = classifier.training
    classifier.eval()
    image = torch.rand(2, 3, image_size, image_size, generator=torch.Generator().manual_seed(0))
    try:
        outputs = classifier(image)
        if len(outputs.features) > MAX_MAPS:
            count = len(outputs.features)
            classifier._indices = [math.ceil(count * part / 4) - 1 for part in (1, 2, 3, 4)]
            outputs = classifier(image)
        if _overwritten(classifier, image, outputs.input_feature):
            classifier.tap.clone = True
            outputs = classifier(image)
        plain = net(classifier.prepare(image))
    except NetworkError:
        raise
    except Exception as error:  # networks of other libraries may raise anything
        raise NetworkError(f"it does not run there ({one_line(error)}); try a larger image or another network") from error
    maps = (outputs.input_feature, *outputs.features)
    if any(m.ndim != 4 or min(m.shape) < 1 for m in maps):
        raise NetworkError(f"its maps are not (N, C, h, w): {[tuple(m.shape) for m in maps]}")
    if not isinstance(plain, Tensor) or not torch.allclose(plain, outputs.logits, rtol=1e-3, atol=1e-4, equal_nan=True):
        raise NetworkError("its maps and its prediction do not come from one forward pass")
    classifier.spec = FeatureSpec(
        task,
        (image_size, image_size),
        outputs.logits.shape[1],
        MapSpec(*outputs.input_feature.shape[1:]),
        tuple(MapSpec(*m.shape[1:]) for m in outputs.features),
        nominal=nominal if nominal != image_size else None,
    )
    patch_size = find_patch_size(net)
    image_size = classifier.enlarge or image_size
    if patch_size and image_size % patch_size:
        classifier.notes.append(
            f"{name}: patches of {patch_size} leave {image_size % patch_size} of {image_size} pixels unseen; choose `patch_size`"
        )
    classifier.train(was_training)


def _overwritten(classifier: Classifier, image: Tensor, feature: Tensor) -> bool:
    """Return whether a later in-place operation (VGG's ReLU) changes the input feature after it was kept."""
    kept: list[Tensor] = []
    module, _ = input_module(classifier.net)
    handle = module.register_forward_hook(lambda _module, _args, output: kept.append(output.clone()))
    try:
        classifier(image)
    finally:
        handle.remove()
    return not torch.equal(classifier.tap.to_map(kept[0]), feature)
