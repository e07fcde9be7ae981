"""The bare network of timm or torchvision that a classifier or a detector is built on."""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import timm
import torchvision
from torch import nn

from pixeldistill.errors import NetworkError, nearest
from pixeldistill.functional.reconstruction import IMAGENET_MEAN, IMAGENET_STD
from pixeldistill.networks.heads import start_heads
from pixeldistill.networks.input_tap import input_module
from pixeldistill.networks.weights.load import package_of, packaged_weights
from pixeldistill.recipe.architectures import TORCHVISION, likely_name

SHUFFLENETS = [f"{TORCHVISION}{model}" for model in torchvision.models.list_models(include="shufflenet_v2*")]
_FLEXIBLE: tuple[dict[str, Any], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})


def create_net(
    name: str,
    num_classes: int,
    image_size: int,
    weights: str,
    patch_size: int | None,
    options: dict[str, Any],
    *,
    flexible: bool = False,
) -> tuple[nn.Module, dict[str, Any]]:
    """Create the bare network, and download its weights if asked to. Return it with its configuration (mean and std).

    Args:
        name: name of the architecture.
        num_classes: number of classes to predict.
        image_size: size of its images in pixels.
        weights: "pretrained" downloads timm's weights, unless an installed package has them. Anything else leaves them fresh.
        patch_size: patch size of a ViT.
        options: passed on to the constructor.
        flexible: whether the network must take images of other sizes too.

    Raises:
        NetworkError: the name is unknown, the network cannot be built this way, or pretrained weights are not available.
    """
    download = weights == "pretrained" and packaged_weights(name) is None
    if patch_size is not None:
        options["patch_size"] = patch_size
    if name.startswith(TORCHVISION):
        if name not in SHUFFLENETS:
            raise NetworkError(f"unknown network {name!r}: of torchvision, {nearest(name, SHUFFLENETS)}; timm has the rest")
        create: Callable[[bool], nn.Module] = partial(_create_torchvision, name, num_classes, options)
    elif timm.is_model(name):
        create = partial(_create_timm, name, num_classes, image_size, options, flexible)
    else:
        raise NetworkError(f"unknown network {name!r}: {nearest(likely_name(name), timm.list_models())}")
    try:
        net = create(download)
    except Exception as error:  # other libraries may raise anything: a misspelt layer is a KeyError
        if download and _succeeds(create):
            raise NetworkError(
                f"the pretrained weights of {name} could not be had ({type(error).__name__}): connect to the network"
                f"{_installable(name)}, or set the `weights` of {name} to a file, a former run or none"
            ) from error
        what = f"{name} cannot be built at {image_size}×{image_size} with {options or 'no options'}"
        raise NetworkError(f"{what}: {one_line(error)}") from error
    return net, getattr(net, "pretrained_cfg", {"mean": IMAGENET_MEAN, "std": IMAGENET_STD})


def _installable(name: str) -> str:
    package = package_of(name)
    return f", `pip install {package}`" if package else ""


def _succeeds(create: Callable[[bool], nn.Module]) -> bool:
    """Return whether a network can be built without downloading weights."""
    try:
        create(False)
    except Exception:  # the caller already has an error to report
        return False
    return True


def _create_timm(
    name: str, num_classes: int, image_size: int, options: dict[str, Any], flexible: bool, download: bool
) -> nn.Module:
    """Create a timm network. Pass it the image size, and whether other sizes will come, if it has such options."""
    settings = {"pretrained": download, "num_classes": num_classes, **options}
    for told in [{"img_size": image_size} | ways for ways in (_FLEXIBLE if flexible else ({},))] + [{}]:
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


def set_stem_stride(net: nn.Module, name: str, stride: int) -> int:
    """Set the first convolution's stride, and return the former one."""
    module = net.conv1[0] if isinstance(net, torchvision.models.ShuffleNetV2) else input_module(net)[0]
    if not isinstance(module, nn.Conv2d):
        raise NetworkError(f"{name} has patches, no convolution whose stride could be set: choose `patch_size` instead")
    before = int(module.stride[0])
    module.stride = (stride, stride)
    return before


def one_line(error: BaseException) -> str:
    """Return a library's error message, shortened to one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
