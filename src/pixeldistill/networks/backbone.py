"""What classifiers and detectors have in common: the bare network of timm or torchvision, and its input module."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import timm
import torchvision
from torch import Tensor, nn

from pixeldistill.architectures import TORCHVISION, likely_name
from pixeldistill.errors import NetworkError, nearest
from pixeldistill.functional.reconstruction import IMAGENET_MEAN, IMAGENET_STD
from pixeldistill.networks.heads import start_heads
from pixeldistill.networks.weights import load_weights, package_of, packaged_weights

SHUFFLENETS = [f"{TORCHVISION}{model}" for model in torchvision.models.list_models(include="shufflenet_v2*")]
_FLEXIBLE: tuple[dict[str, Any], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})


class InputTap:
    """Keeps what a network's input module gives in a forward pass.

    Attributes:
        clone: whether it must be copied, as a later operation overwrites it (VGG's ReLU).
    """

    def __init__(self, net: nn.Module) -> None:
        self.net, self.clone = net, False
        self._kept: Tensor | None = None
        module, self._tokens = input_module(net)
        self._hook = module.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, args: Any, output: Tensor) -> None:  # noqa: ANN401
        self._kept = output.clone() if self.clone else output

    def remove(self) -> None:
        """Stop keeping anything: a network that is shipped has no use for it."""
        self._hook.remove()

    def take(self, size: tuple[int, int] | None = None) -> Tensor:
        """Give the input feature of the forward pass that just was, as a map (N, C, h, w); see `to_map`."""
        feature, self._kept = self._kept, None
        assert feature is not None
        return self.to_map(feature, size)

    def to_map(self, feature: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Lay tokens (N, prefix + h·w, C), or a grid of them (N, h, w, C), out as a map (N, C, h, w); a map is one already.

        Args:
            feature: of the input module.
            size: the image's height and width, where they are not those that the network was built for.
        """
        if not self._tokens:
            return feature
        if feature.ndim == 4:
            return feature.permute(0, 3, 1, 2)
        patch = patch_size(self.net)
        height, width = (size[0] // patch, size[1] // patch) if size and patch else _grid(self.net, feature.shape[1])
        grid = feature[:, feature.shape[1] - height * width :]
        return grid.transpose(1, 2).reshape(feature.shape[0], -1, height, width)


def create_net(
    name: str, num_classes: int, side: int, weights: str, patch: int | None, options: dict[str, Any], *, flexible: bool = False
) -> tuple[nn.Module, dict[str, Any]]:
    """Make the bare network; returns it with its configuration (mean and std).

    Args:
        name: of the architecture.
        num_classes: of its prediction.
        side: of its images in pixels.
        weights: "pretrained" downloads timm's, unless a package has them; anything else leaves them fresh.
        patch: patch size of a ViT.
        options: passed on to the constructor.
        flexible: whether images of other sizes must be taken too.

    Raises:
        NetworkError: an unknown name, a network that cannot be built so, or pretrained weights that cannot be had.
    """
    download = weights == "pretrained" and packaged_weights(name) is None
    if patch is not None:
        options["patch_size"] = patch
    if name.startswith(TORCHVISION):
        if name not in SHUFFLENETS:
            raise NetworkError(f"unknown network {name!r}: of torchvision, {nearest(name, SHUFFLENETS)}; timm has the rest")
        create: Callable[[bool], nn.Module] = partial(_create_torchvision, name, num_classes, options)
    elif timm.is_model(name):
        create = partial(_create_timm, name, num_classes, side, options, flexible)
    else:
        raise NetworkError(f"unknown network {name!r}: {nearest(likely_name(name), timm.list_models())}")
    try:
        net = create(download)
    except Exception as error:  # theirs, which may be anything: a misspelt layer is a KeyError
        if download and _succeeds(create):
            raise NetworkError(
                f"the pretrained weights of {name} could not be had ({type(error).__name__}): connect to the network"
                f"{_installable(name)}, or set the `weights` of {name} to a file, a former run or none"
            ) from error
        what = f"{name} cannot be built at {side}×{side} with {options or 'no options'}"
        raise NetworkError(f"{what}: {one_line(error)}") from error
    return net, getattr(net, "pretrained_cfg", {"mean": IMAGENET_MEAN, "std": IMAGENET_STD})


def _installable(name: str) -> str:
    package = package_of(name)
    return f", `pip install {package}`" if package else ""


def _succeeds(create: Callable[[bool], nn.Module]) -> bool:
    """Tell whether a network can be built where nothing is downloaded."""
    try:
        create(False)
    except Exception:  # the caller has an error to report
        return False
    return True


def _create_timm(name: str, num_classes: int, side: int, options: dict[str, Any], flexible: bool, download: bool) -> nn.Module:
    """Create a timm network, telling it the image size, and that others will come, if it wants to know."""
    settings = {"pretrained": download, "num_classes": num_classes, **options}
    for told in [{"img_size": side} | ways for ways in (_FLEXIBLE if flexible else ({},))] + [{}]:
        try:
            net = timm.create_model(name, **told, **settings)
        except TypeError as error:
            if not any(setting in str(error) for setting in told):
                raise
            continue
        if not (download and num_classes == getattr(net, "pretrained_cfg", {}).get("num_classes")):
            start_heads(net)
        return net
    raise AssertionError("the last of them is plain")


def _create_torchvision(name: str, num_classes: int, options: dict[str, Any], download: bool) -> nn.Module:
    net = torchvision.models.get_model(name.removeprefix(TORCHVISION), weights="DEFAULT" if download else None, **options)
    net.fc = nn.Linear(net.fc.in_features, num_classes)
    start_heads(net)
    return cast(nn.Module, net)


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


def set_stem_stride(net: nn.Module, name: str, stride: int) -> int:
    """Set the first convolution's stride; gives the one that it had."""
    module = net.conv1[0] if isinstance(net, torchvision.models.ShuffleNetV2) else input_module(net)[0]
    if not isinstance(module, nn.Conv2d):
        raise NetworkError(f"{name} has patches, no convolution whose stride could be set: choose `patch` instead")
    before = int(module.stride[0])
    module.stride = (stride, stride)
    return before


def create_backbone(
    name: str, num_classes: int, side: int, weights: str, patch: int | None, options: dict[str, Any], *, flexible: bool = False
) -> tuple[nn.Module, Any, list[str]]:
    """Make the bare network and load its weights, if they are pretrained or a file; see `create_net` and `load_weights`.

    Its prediction, for another number of classes than the weights', is fresh. Gives the network, its configuration, and notes.
    """
    net, config = create_net(name, num_classes, side, weights, patch, options, flexible=flexible)
    if weights == "pretrained" and (package := packaged_weights(name)):
        load_weights(net, package, name, num_classes, trained=False)
    elif weights not in ("none", "pretrained"):
        return net, config, load_weights(net, weights, name, num_classes, trained=False)
    return net, config, []


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


def patch_size(net: nn.Module) -> int | None:
    """Give a ViT's patch size, if images are not padded to it."""
    size = getattr(getattr(net, "patch_embed", None), "patch_size", None)
    flexible = getattr(getattr(net, "patch_embed", None), "dynamic_img_pad", False)
    return int(size[0]) if isinstance(size, tuple) and not flexible else None


def one_line(error: BaseException) -> str:
    """Give what a library said of an error, short enough for a line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
