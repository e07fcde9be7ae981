"""Deployed classifier: no intermediate maps, nothing that only training needs. It is exported, and its costs are measured."""

import copy
from typing import cast

import torch
from torch import Tensor, nn

from pixeldistill.errors import NetworkError
from pixeldistill.networks.adapter import Adapter
from pixeldistill.networks.backbone import create_net, one_line, set_stem_stride
from pixeldistill.networks.classifier import Classifier, build_classifier
from pixeldistill.recipe.network import Network

META = torch.device("meta")


class DeployedClassifier(nn.Module):
    """A classifier: images uint8 (N, 3, image_size, image_size) → logits (N, classes)."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, image: Tensor) -> Tensor:
        """Run the network."""
        logits: Tensor = self.classifier.net(self.classifier.prepare(image.float() / 255))
        return logits


def deploy(network: Adapter) -> DeployedClassifier:
    """Return the deployed part of a classifier: a copy in evaluation mode."""
    network = copy.deepcopy(network).eval().requires_grad_(False)
    network.tap.remove()
    return DeployedClassifier(cast(Classifier, network))


def without_weights(network: Network, classes: int) -> tuple[nn.Module, Tensor]:
    """Return the deployed part of a classifier on the meta device, and an input. See `Task.without_weights`."""
    image = torch.empty(1, 3, network.image_size, network.image_size, dtype=torch.uint8, device=META)
    try:
        with META:
            ghost = _ghost(network, classes)
            with torch.no_grad():
                ghost(image)
            return ghost, image
    except NetworkError:
        raise
    except Exception:  # some networks read values while they are built: these are built on the CPU
        built = build_classifier(
            network.network, classes, network.image_size, patch_size=network.patch_size, options=network.options,
            enlarge=network.enlarge, stem_stride=network.stem_stride, mean=network.mean, std=network.std,
        )  # fmt: skip
        return deploy(built).to(META), image


def _ghost(network: Network, classes: int) -> DeployedClassifier:
    net, config = create_net(network.network, classes, network.built_for, "none", network.patch_size, dict(network.options))
    if network.stem_stride:
        set_stem_stride(net, network.network, network.stem_stride)
    try:
        return deploy(Classifier(net, tuple(config["mean"]), tuple(config["std"]), network.enlarge))
    except NetworkError as error:
        raise NetworkError(
            f"{network.network} cannot be used as a classifier ({one_line(error)}): choose another network"
        ) from error
