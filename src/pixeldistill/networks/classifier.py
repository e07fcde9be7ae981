"""One adapter for all classifiers: image in, `Outputs` (logits, input feature, maps) out.

What it serves is decided by running the network once when it is built; what does not fit is refused with the reason.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from pixeldistill.errors import NetworkError, nearest
from pixeldistill.functional.reconstruction import IMAGENET_MEAN, IMAGENET_STD, normalise
from pixeldistill.networks.weights import load_weights, packaged_weights, read_card, weights_file
from pixeldistill.types import FeatureSpec, MapSpec, Outputs

TORCHVISION = "torchvision/"
MAX_MAPS = 6  # pyramids have at most this many; a plain ViT gives one map a block, of which four are kept


class Classifier(nn.Module):
    """A classifier whose call returns `Outputs`.

    Args (of `forward`): image (N, 3, H, W), RGB in [0, 1]; the network's own normalisation happens inside.

    Attributes:
        net: the network itself, with its own parameter names, as timm or torchvision would load them.
        spec: the shapes of the outputs at the built image size.
        mean, std: the network's normalisation.
        enlarge: the side to which images are enlarged first, if they are.
        notes: what a user should know of this network at this size.
    """

    spec: FeatureSpec

    def __init__(self, net: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], enlarge: int | None = None) -> None:
        super().__init__()
        self.net = net
        self.mean, self.std = mean, std
        self.enlarge = enlarge
        self.notes: list[str] = []
        self._clone_input = False
        self._indices: list[int] | None = None
        self._input: Tensor | None = None
        module, self._tokens = input_module(net)
        module.register_forward_hook(self._keep_input)

    def _keep_input(self, module: nn.Module, args: Any, output: Tensor) -> None:  # noqa: ANN401
        self._input = output.clone() if self._clone_input else output

    def forward(self, image: Tensor) -> Outputs:
        """Run the network on images (N, 3, H, W) in [0, 1]."""
        normalised = self._prepare(image)
        if isinstance(self.net, torchvision.models.ShuffleNetV2):
            prediction, features = _run_shufflenet(self.net, normalised)
        else:
            net = cast(Any, self.net)
            last, features = net.forward_intermediates(normalised, indices=self._indices, output_fmt="NCHW")
            prediction = net.forward_head(last)
        feature, self._input = self._input, None
        assert feature is not None
        return Outputs(prediction, self._to_map(feature), tuple(features))

    def _prepare(self, image: Tensor) -> Tensor:
        if self.enlarge:
            image = F.interpolate(image, (self.enlarge, self.enlarge), mode="bilinear")
        return normalise(image, self.mean, self.std)

    def _to_map(self, feature: Tensor) -> Tensor:
        """Lay tokens (N, prefix + h·w, C), or a grid of them (N, h, w, C), out as a map (N, C, h, w); a map is one already."""
        if not self._tokens:
            return feature
        if feature.ndim == 4:
            return feature.permute(0, 3, 1, 2)
        height, width = _grid(self.net, feature.shape[1])
        grid = feature[:, feature.shape[1] - height * width :]
        return grid.transpose(1, 2).reshape(feature.shape[0], -1, height, width)


def build_classifier(
    name: str,
    num_classes: int,
    image_size: int,
    *,
    weights: str = "none",
    patch: int | None = None,
    options: Mapping[str, Any] | None = None,
    classes: tuple[str, ...] | None = None,
    trained: bool = False,
    enlarge: int | None = None,
    stem_stride: int | None = None,
) -> Classifier:
    """Build a classifier, load its weights, and check that it can be distilled at its image size.

    Args:
        name: a timm architecture (`resnet18`, `vit_tiny_patch16_224`, ...), or `torchvision/shufflenet_v2_x1_0`.
        num_classes: size of the prediction.
        image_size: side of the square image in pixels; position embeddings are made or resampled for it.
        weights: "none", "pretrained" (an installed weights package, else timm's download), a file, or a run folder.
        patch: patch size of a ViT; its patch embedding is resampled.
        options: passed on to the constructor (`drop_path_rate`, ...).
        classes: names of the classes, compared with those of a former run.
        trained: the weights must hold the prediction for these classes (a frozen teacher); otherwise a classifier of
            another size is replaced by a fresh one.
        enlarge: a control: images of `image_size` are enlarged to this side (bilinear), for which the network is built.
        stem_stride: a control: stride of the first convolution, 1 to keep a small image's resolution.

    Raises:
        NetworkError: an unknown name, a network without a usable input module, a size it cannot take.
        WeightsError: weights that cannot be read or do not fit.
    """
    built_for = enlarge or image_size
    net, config = _create(name, num_classes, built_for, weights, patch, dict(options or {}))
    if stem_stride:
        _set_stem_stride(net, name, stem_stride)
    if weights == "pretrained" and (package := packaged_weights(name)):
        load_weights(net, package, name, num_classes, trained=False)
    elif weights not in ("none", "pretrained"):
        load_weights(net, weights, name, num_classes, trained=trained, side=built_for, classes=classes)
    try:
        classifier = Classifier(net, config["mean"], config["std"], enlarge)
        _check(classifier, name, image_size)
    except NetworkError as error:
        raise NetworkError(f"{name} cannot be served at {image_size}×{image_size}: {error}") from error.__cause__
    return classifier


def load_classifier(folder: Path, which: str = "last") -> Classifier:
    """Build the network of a finished training as its card says, with its last or its best weights.

    Raises:
        WeightsError: no such file, or one that does not fit the card.
    """
    card = read_card(folder)
    return build_classifier(
        card["network"], len(card["classes"]), card["side"], weights=str(weights_file(folder, which)), patch=card["patch"],
        options=card["options"], classes=tuple(card["classes"]), trained=True,
        enlarge=card.get("enlarge"), stem_stride=card.get("stem_stride"),
    )  # fmt: skip


def _create(
    name: str, num_classes: int, side: int, weights: str, patch: int | None, options: dict[str, Any]
) -> tuple[nn.Module, dict[str, Any]]:
    """Make the bare network; returns it with its configuration (mean and std)."""
    download = weights == "pretrained" and packaged_weights(name) is None
    if patch is not None:
        options["patch_size"] = patch
    try:
        if name.startswith(TORCHVISION):
            return _create_torchvision(name, num_classes, download, options)
        if not timm.is_model(name):
            raise NetworkError(f"unknown network {name!r}: {nearest(name.split('.', maxsplit=1)[0], timm.list_models())}")
        net = _create_timm(name, num_classes, side, download, options)
    except (AssertionError, ValueError, TypeError, RuntimeError, NotImplementedError) as error:
        raise NetworkError(f"{name} cannot be built at {side}×{side} with {options or 'no options'}: {_line(error)}") from error
    except Exception as error:
        if not download:
            raise
        raise NetworkError(
            f"the pretrained weights of {name} could not be downloaded ({type(error).__name__}): "
            f"connect to the network, or set the `weights` of {name} to a file, a former run or none"
        ) from error
    return net, cast(Any, net).pretrained_cfg


def _create_timm(name: str, num_classes: int, side: int, download: bool, options: dict[str, Any]) -> nn.Module:
    """Create a timm network, telling it the image size if it wants to know."""
    settings = {"pretrained": download, "num_classes": num_classes, **options}
    try:
        return timm.create_model(name, img_size=side, **settings)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
    return timm.create_model(name, **settings)


def _create_torchvision(name: str, num_classes: int, download: bool, options: dict[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    served = [f"{TORCHVISION}{model}" for model in torchvision.models.list_models(include="shufflenet_v2*")]
    if name not in served:
        raise NetworkError(f"unknown network {name!r}: of torchvision, {nearest(name, served)}; timm has the rest")
    net = torchvision.models.get_model(name.removeprefix(TORCHVISION), weights="DEFAULT" if download else None, **options)
    net.fc = nn.Linear(net.fc.in_features, num_classes)
    return net, {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}


def input_module(net: nn.Module) -> tuple[nn.Module, bool]:
    """Find the module whose output is the input feature, and tell whether that output is tokens.

    CNN: the first convolution. ViT: the position embedding's dropout, so that patch and position are both in.
    ShuffleNetV2: convolution and norm. Source: METHOD, "input module".
    """
    if isinstance(net, torchvision.models.ShuffleNetV2):
        return cast(nn.Module, net.conv1[1]), False
    first = cast(Any, net).pretrained_cfg.get("first_conv")
    if not isinstance(first, str):
        raise NetworkError(f"its input module is {'a set of several' if first else 'unknown'} ({first!r}), not one convolution")
    module = net.get_submodule(first)
    if not isinstance(module, nn.Conv2d):
        raise NetworkError(f"its input module {first!r} is a {type(module).__name__}, not a convolution")
    if not hasattr(net, "forward_intermediates"):
        raise NetworkError("it does not give its intermediate maps (forward_intermediates)")
    dropout = getattr(net, "pos_drop", None)
    if first.startswith("patch_embed") and isinstance(dropout, nn.Module):
        return dropout, True
    return module, False


def _set_stem_stride(net: nn.Module, name: str, stride: int) -> None:
    module = net.conv1[0] if isinstance(net, torchvision.models.ShuffleNetV2) else input_module(net)[0]
    if not isinstance(module, nn.Conv2d):
        raise NetworkError(f"{name} has patches, no convolution whose stride could be set: choose `patch` instead")
    module.stride = (stride, stride)


def _run_shufflenet(net: torchvision.models.ShuffleNetV2, image: Tensor) -> tuple[Tensor, list[Tensor]]:
    stem = net.conv1(image)
    maps = [net.maxpool(stem)]
    for stage in (net.stage2, net.stage3, net.stage4):
        maps.append(stage(maps[-1]))
    return net.fc(net.conv5(maps[-1]).mean([2, 3])), [stem, *maps[1:]]


def _grid(net: nn.Module, tokens: int) -> tuple[int, int]:
    """Tell the grid (h, w) that a ViT's tokens form, prefix tokens (class, distillation, register) left aside."""
    size = getattr(getattr(net, "patch_embed", None), "grid_size", None)
    prefixes = {0, int(getattr(net, "num_prefix_tokens", 0))}
    if size and tokens - size[0] * size[1] in prefixes:
        return int(size[0]), int(size[1])
    for prefix in sorted(prefixes, reverse=True):  # images padded to whole patches have a grid of another size
        side = math.isqrt(tokens - prefix)
        if side * side == tokens - prefix:
            return side, side
    raise NetworkError(f"its {tokens} tokens form no grid")


@torch.no_grad()
def _check(classifier: Classifier, name: str, side: int) -> None:
    """Run the network on noise: sets `spec`, whether the input feature must be copied, and which maps are kept."""
    net = classifier.net
    was_training = classifier.training
    classifier.eval()
    image = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    try:
        outputs = classifier(image)
        if len(outputs.features) > MAX_MAPS:
            count = len(outputs.features)
            classifier._indices = [math.ceil(count * part / 4) - 1 for part in (1, 2, 3, 4)]
            outputs = classifier(image)
        if _overwritten(classifier, image, outputs.input_feature):
            classifier._clone_input = True
            outputs = classifier(image)
        plain = net(classifier._prepare(image))
    except (
        RuntimeError,
        AssertionError,
        ValueError,
        TypeError,
        NotImplementedError,
        IndexError,
        AttributeError,
    ) as error:
        raise NetworkError(f"it does not run there ({_line(error)}); try a larger side or another network") from error
    maps = (outputs.input_feature, *outputs.features)
    if any(m.ndim != 4 or min(m.shape) < 1 for m in maps):
        raise NetworkError(f"its maps are not (N, C, h, w): {[tuple(m.shape) for m in maps]}")
    if not isinstance(plain, Tensor) or not torch.allclose(plain, outputs.prediction, rtol=1e-3, atol=1e-4):
        raise NetworkError("its maps and its prediction do not come from one forward pass")
    classifier.spec = FeatureSpec(
        (side, side),
        outputs.prediction.shape[1],
        MapSpec(*outputs.input_feature.shape[1:]),
        tuple(MapSpec(*m.shape[1:]) for m in outputs.features),
    )
    patch = _patch_size(net)
    side = classifier.enlarge or side
    if patch and side % patch:
        classifier.notes.append(f"{name}: patches of {patch} leave {side % patch} of {side} pixels unseen; choose `patch`")
    classifier.train(was_training)


def _overwritten(classifier: Classifier, image: Tensor, feature: Tensor) -> bool:
    """Tell whether a later in-place operation (VGG's ReLU) changes the input feature after it was kept."""
    kept: list[Tensor] = []
    module, _ = input_module(classifier.net)
    handle = module.register_forward_hook(lambda _module, _args, output: kept.append(output.clone()))
    try:
        classifier(image)
    finally:
        handle.remove()
    return not torch.equal(classifier._to_map(kept[0]), feature)


def _patch_size(net: nn.Module) -> int | None:
    size = getattr(getattr(net, "patch_embed", None), "patch_size", None)
    flexible = getattr(getattr(net, "patch_embed", None), "dynamic_img_pad", False)
    return int(size[0]) if isinstance(size, tuple) and not flexible else None


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
