"""Computation and memory of a network at an image size."""

import copy

import torch
from torch.utils.flop_counter import FlopCounterMode

from pixeldistill.networks.trained import AnyNetwork


def parameters(network: AnyNetwork) -> int:
    """Count the parameters of the deployed network."""
    return sum(p.numel() for p in network.net.parameters())


def macs(network: AnyNetwork) -> int:
    """Count the multiply-accumulates of one image: matrix products and convolutions, as is usual in the literature.

    Counted on the meta device, where fused attention is not missed as it is on the CPU.
    """
    ghost = copy.deepcopy(network).to("meta").eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        ghost(torch.empty(1, 3, *network.spec.image_size, device="meta"))
    return int(counter.get_total_flops() // 2)
