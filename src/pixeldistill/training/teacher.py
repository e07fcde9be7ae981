"""The frozen teacher: what it says of a view, asked live. The bank gives the same from disk."""

from typing import Protocol

import torch
from torch import Tensor

from pixeldistill.networks.classifier import Classifier
from pixeldistill.networks.folding import fold_norms
from pixeldistill.training.fabric import Fabric
from pixeldistill.types import FeatureSpec, Outputs


class Teacher(Protocol):
    """Says what the teacher thinks of a batch of views.

    `sees_image`: whether it must be given the images, or the keys (N, 2; epoch and index) are enough.
    """

    spec: FeatureSpec
    sees_image: bool

    def __call__(self, image: Tensor | None, keys: Tensor) -> Outputs:
        """Give the outputs for images (N, 3, H, W) in [0, 1], or for the views of these keys."""


class LiveTeacher:
    """A network asked anew at every step: frozen, in eval mode, on the device, its batch norms folded.

    Attributes:
        folded: how many batch norms were folded.
    """

    sees_image = True

    def __init__(self, network: Classifier, fabric: Fabric, *, channels_last: bool) -> None:
        network, self.folded = fold_norms(network.requires_grad_(False).eval())
        self.network = network.requires_grad_(False).eval().to(fabric.device)
        if channels_last:
            self.network.to(memory_format=torch.channels_last)
        self.spec = network.spec
        self._fabric = fabric

    @torch.no_grad()
    def __call__(self, image: Tensor | None, keys: Tensor) -> Outputs:
        """Run the network."""
        assert image is not None
        with self._fabric.autocast():
            outputs: Outputs = self.network(image)
        return outputs
