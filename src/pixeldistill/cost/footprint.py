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
    """What a network takes at a side, for one image: parameters, multiply-accumulates, bytes of activations at the peak."""

    parameters: int
    macs: int
    activations: int


def parameters(network: Adapter) -> int:
    """Count the parameters of the deployed network."""
    return sum(p.numel() for p in network.net.parameters())


def macs(network: Adapter, view: tuple[int, int] | None = None) -> int:
    """Count the multiply-accumulates of one image: matrix products and convolutions, as is usual in the literature.

    Counted on the meta device, where fused attention is not missed as it is on the CPU.

    Args:
        network: any.
        view: height and width of the image; by default a square of the network's side.
    """
    return _count(copy.deepcopy(network).to(META).eval(), torch.empty(1, 3, *(view or network.spec.image_size), device=META))


def footprint(network: Network, classes: int, view: tuple[int, int] | None = None) -> Footprint:
    """Measure what a network takes that has not been trained, or even given weights.

    Args:
        network: as a recipe has it.
        classes: of its prediction.
        view: a detector's image, height and width; by default a square of its side.

    Raises:
        NetworkError: it cannot be served at its side.
    """
    deployed, image = task_of(network).without_weights(network, classes, view or (network.image_size, network.image_size))
    total = sum(p.numel() for p in deployed.parameters())
    return Footprint(total, _count(deployed, image), peak_activations(deployed, image))


def _count(net: nn.Module, image: Tensor) -> int:
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        net(image)
    return int(counter.get_total_flops() // 2)
