"""Computation and memory of a network at an image size."""

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pixeldistill.cost.memory import peak_activations
from pixeldistill.errors import NetworkError
from pixeldistill.networks.backbone import create_net, one_line, set_stem_stride
from pixeldistill.networks.classifier import Classifier
from pixeldistill.networks.shipped import ShippedClassifier, ShippedDetector, ship
from pixeldistill.networks.trained import AnyNetwork, build_fresh
from pixeldistill.recipe import Network

META = torch.device("meta")


class Footprint(NamedTuple):
    """What a network takes at a side, for one image: parameters, multiply-accumulates, bytes of activations at the peak."""

    parameters: int
    macs: int
    activations: int


def parameters(network: AnyNetwork) -> int:
    """Count the parameters of the deployed network."""
    return sum(p.numel() for p in network.net.parameters())


def macs(network: AnyNetwork, view: tuple[int, int] | None = None) -> int:
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
    shipped, image = _ghost(network, classes, view or (network.side, network.side))
    total = sum(p.numel() for p in shipped.parameters())
    return Footprint(total, _count(shipped, image), peak_activations(shipped, image))


def _ghost(network: Network, classes: int, view: tuple[int, int]) -> tuple[nn.Module, Tensor]:
    """Build what is deployed of a network on the meta device, where nothing is computed; and its input."""
    if network.detector is not None:
        shipped = ship(build_fresh(network, classes)).to(META)
        assert isinstance(shipped, ShippedDetector)
        return shipped, torch.empty(1, 3, *(length + -length % shipped.detector.multiple for length in view), device=META)
    image = torch.empty(1, 3, network.side, network.side, dtype=torch.uint8, device=META)
    try:
        with META:
            ghost = _bare(network, classes)
            with torch.no_grad():
                ghost(image)
            return ghost, image
    except NetworkError:
        raise
    except Exception:  # some networks ask for values while they are built: those are built in earnest
        return ship(build_fresh(network, classes)).to(META), image


def _bare(network: Network, classes: int) -> ShippedClassifier:
    net, config = create_net(network.network, classes, network.built_for, "none", network.patch, dict(network.options))
    if network.stem_stride:
        set_stem_stride(net, network.network, network.stem_stride)
    try:
        shipped = ship(Classifier(net, tuple(config["mean"]), tuple(config["std"]), network.enlarge))
    except NetworkError as error:
        raise NetworkError(f"{network.network} cannot be served: {one_line(error)}") from error
    assert isinstance(shipped, ShippedClassifier)
    return shipped


def _count(net: nn.Module, image: Tensor) -> int:
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        net(image)
    return int(counter.get_total_flops() // 2)
