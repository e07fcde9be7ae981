"""Input module of a network. ISRD rebuilds the large image from its output."""

import math
from typing import Any, cast

import torchvision
from torch import Tensor, nn

from pixeldistill.errors import NetworkError


class InputTap:
    """Hook that keeps the output of a network's input module in a forward pass.

    Attributes:
        clone: whether the output must be copied, because a later operation overwrites it (VGG's ReLU).
    """

    def __init__(self, net: nn.Module) -> None:
        self.net, self.clone = net, False
        self._kept: Tensor | None = None
        module, self._tokens = input_module(net)
        self._hook = module.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, args: Any, output: Tensor) -> None:  # noqa: ANN401
        self._kept = output.clone() if self.clone else output

    def remove(self) -> None:
        """Remove the hook. A deployed network does not need it."""
        self._hook.remove()

    def take(self, size: tuple[int, int] | None = None) -> Tensor:
        """Return the input feature of the last forward pass as a map (N, C, h, w). See `to_map`."""
        feature, self._kept = self._kept, None
        assert feature is not None
        return self.to_map(feature, size)

    def to_map(self, feature: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Convert tokens (N, prefix + h·w, C) or (N, h, w, C) to a map (N, C, h, w). A map is returned unchanged.

        Args:
            feature: output of the input module.
            size: the image's height and width, if the network was built for others.
        """
        if not self._tokens:
            return feature
        if feature.ndim == 4:
            return feature.permute(0, 3, 1, 2)
        patch_size = find_patch_size(self.net)
        height, width = (
            (size[0] // patch_size, size[1] // patch_size) if size and patch_size else _grid(self.net, feature.shape[1])
        )
        grid = feature[:, feature.shape[1] - height * width :]
        return grid.transpose(1, 2).reshape(feature.shape[0], -1, height, width)


def input_module(net: nn.Module) -> tuple[nn.Module, bool]:
    """Return the module whose output is the input feature, and whether that output consists of tokens.

    For a CNN, this is the first convolution. For a ViT, it is the position embedding's dropout, so that both patch and position
    are included. For ShuffleNetV2, it is convolution and norm. Source: docs/concepts/isrd.md.
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


def _grid(net: nn.Module, tokens: int) -> tuple[int, int]:
    """Return the grid (h, w) of a ViT's tokens, without prefix tokens (class, distillation, register)."""
    size = getattr(getattr(net, "patch_embed", None), "grid_size", None)
    prefixes = {0, int(getattr(net, "num_prefix_tokens", 0))}
    if size and tokens - size[0] * size[1] in prefixes:
        return int(size[0]), int(size[1])
    for prefix in sorted(prefixes, reverse=True):  # images padded to whole patches have a grid of another size
        side = math.isqrt(tokens - prefix)
        if side * side == tokens - prefix:
            return side, side
    raise NetworkError(f"its {tokens} tokens form no grid")


def find_patch_size(net: nn.Module) -> int | None:
    """Return a ViT's patch size if images are not padded to it."""
    size = getattr(getattr(net, "patch_embed", None), "patch_size", None)
    flexible = getattr(getattr(net, "patch_embed", None), "dynamic_img_pad", False)
    return int(size[0]) if isinstance(size, tuple) and not flexible else None
