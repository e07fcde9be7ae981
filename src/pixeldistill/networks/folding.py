"""Folding of a frozen network's batch norms into its convolutions: the same outputs with less computation."""

import copy
from collections import Counter
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from pixeldistill.networks.adapter import Adapter
from pixeldistill.networks.input_tap import input_module
from pixeldistill.types import Outputs

Network = TypeVar("Network", bound=Adapter)


@torch.no_grad()
def fold_norms(network: Network) -> tuple[Network, int]:
    """Fold every batch norm that directly follows a convolution into the convolution. The input module stays unchanged.

    The norms are found by running the network once. The result is compared with the original. If its outputs differ (a
    convolution's output is also used elsewhere), the original is returned.

    Args:
        network: frozen network in eval mode.

    Returns:
        The folded copy, and the number of folded norms.
    """
    folded = copy.deepcopy(network)
    image = torch.rand(2, 3, *network.spec.image_size, generator=torch.Generator().manual_seed(0))
    image = image.to(next(network.parameters()).device)
    pairs = _pairs(folded, image)
    for name, convolution, norm in pairs:
        convolution.weight, convolution.bias = fuse_conv_bn_weights(
            convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )  # fmt: skip
        parent, _, child = name.rpartition(".")
        setattr(folded.net.get_submodule(parent), child, _rest(norm))
    folded.requires_grad_(False)
    before, after = (_tensors(n(image)) for n in (network, folded))
    if not pairs or not all(_close(a, b) for a, b in zip(before, after, strict=True)):
        return network, 0
    return folded, len(pairs)


def _tensors(outputs: Outputs) -> list[Tensor]:
    """Return a network's outputs as a list of tensors."""
    said = outputs.prediction
    parts = [said] if isinstance(said, Tensor) else [part for parts in said for part in parts]
    return [*parts, *outputs.features]


def _pairs(network: Adapter, image: Tensor) -> list[tuple[str, nn.Conv2d, Any]]:
    """List the norms, by name, whose input is a convolution's output. Both must run once in a forward pass."""
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # outputs are kept, so that no other tensor gets the same id
    found: list[tuple[str, nn.Conv2d, Any]] = []
    runs: Counter[nn.Module] = Counter()
    kept = input_module(network.backbone)[0]
    handles = []
    for name, module in network.net.named_modules():
        if isinstance(module, nn.Conv2d) and module is not kept:

            def after(conv: nn.Conv2d, args: Any, output: Tensor) -> None:  # noqa: ANN401
                runs[conv] += 1
                made[id(output)] = (conv, output)

            handles.append(module.register_forward_hook(after))
        elif isinstance(module, nn.BatchNorm2d) and module is not kept and module.running_mean is not None:

            def before(norm: nn.Module, args: tuple[Tensor, ...], name: str = name) -> None:
                runs[norm] += 1
                if id(args[0]) in made:
                    found.append((name, made[id(args[0])][0], norm))

            handles.append(module.register_forward_pre_hook(before))
    network(image)
    for handle in handles:
        handle.remove()
    return [pair for pair in found if runs[pair[1]] == 1 and runs[pair[2]] == 1]


def _rest(norm: nn.Module) -> nn.Module:
    """Return what remains of a norm after folding: timm's norms contain dropout and activation."""
    parts = [part for name in ("drop", "act") if isinstance(part := getattr(norm, name, None), nn.Module)]
    return nn.Sequential(*parts) if parts else nn.Identity()


def _close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-3, atol=1e-3 * float(a.abs().max()))
