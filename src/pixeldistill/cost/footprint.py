"""Computation and memory of a network at an image size."""

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pixeldistill.cost.memory import peak_activations
from pixeldistill.networks.adapter import Adapter
from pixeldistill.recipe.network import Network
from pixeldistill.tasks import task_of

META = torch.device("meta")


class Footprint(NamedTuple):
    """Footprint of a network at an image size, for one image: parameters, multiply-accumulates, peak bytes of activations."""

    parameters: int
    macs: int
    activations: int


def parameters(network: Adapter) -> int:
    """Count the parameters of the deployed network."""
    return sum(p.numel() for p in network.net.parameters())


def macs(network: Adapter, view: tuple[int, int] | None = None) -> int:
    """Count the multiply-accumulates of one image: matrix products and convolutions, as is usual in the literature.

    Operations are counted on the meta device, where fused attention is included. On the CPU it would be missing.

    Args:
        network: any network.
        view: height and width of the image. By default a square of the network's image size.
    """
    return _count(copy.deepcopy(network).to(META).eval(), torch.empty(1, 3, *(view or network.spec.image_size), device=META))


def footprint(network: Network, classes: int, view: tuple[int, int] | None = None) -> Footprint:
    """Measure the footprint of an untrained network. It needs no weights.

    Args:
        network: the network of a recipe.
        classes: number of classes to predict.
        view: height and width of a detector's image. By default a square of its image size.

    Raises:
        NetworkError: the network cannot run at its image size.
    """
    deployed, image = task_of(network).without_weights(network, classes, view or (network.image_size, network.image_size))
    total = sum(p.numel() for p in deployed.parameters())
    return Footprint(total, _count(deployed, image), peak_activations(deployed, image))


def _count(net: nn.Module, image: Tensor) -> int:
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        net(image)
    return int(counter.get_total_flops() // 2)
