"""The frozen teacher: what it says of a view, asked live. The teacher cache gives the same from disk."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from pixeldistill.networks.adapter import Adapter, FinishHead
from pixeldistill.networks.folding import fold_norms
from pixeldistill.training.fabric import Fabric
from pixeldistill.types import BoxMaps, Outputs, WantedMap


class TeacherOutputs(NamedTuple):
    """What a teacher says of a batch: its prediction, and the maps that it was built to give."""

    prediction: Tensor | BoxMaps
    maps: Mapping[WantedMap, Tensor]
    towers: tuple[tuple[Tensor, Tensor], ...] = ()  # of a detector, see `Outputs`

    def outputs(self, wanted: Iterable[WantedMap]) -> Outputs:
        """Return one student's terms what they want: maps at their numbers, nothing in between."""
        nothing = torch.empty(0)
        chosen = {want.number: self.maps[want] for want in wanted}
        features = tuple(chosen.get(i, nothing) for i in range(max(chosen, default=-1) + 1))
        return Outputs(self.prediction, nothing, features, self.towers)


class Teacher(Protocol):
    """A teacher, asked about a batch of views.

    `sees_image`: whether it must be given the images, or the keys (N, 2; epoch and index) are enough. `head`: of a detector, what
    finishes its head from a level's towers.
    """

    sees_image: bool

    @property
    def head(self) -> FinishHead | None:
        """See above."""

    def __call__(self, image: Tensor | None, keys: Tensor) -> TeacherOutputs:
        """Answer for images (N, 3, H, W) in [0, 1], or for the views of these keys."""


class LiveTeacher:
    """A network asked anew at every step: frozen, in eval mode, on the device, its batch norms folded.

    Attributes:
        wanted: the maps that it gives, average-pooled.
    """

    sees_image = True

    def __init__(self, network: Adapter, fabric: Fabric, wanted: Iterable[WantedMap], *, channels_last: bool) -> None:
        network, _ = fold_norms(network.requires_grad_(False).eval())
        self.network = network.requires_grad_(False).eval().to(fabric.device)
        self.head = self.network.finish_head
        if channels_last:
            self.network.to(memory_format=torch.channels_last)
        self.spec, self.wanted = network.spec, tuple(wanted)
        self._fabric = fabric

    @torch.no_grad()
    def __call__(self, image: Tensor | None, keys: Tensor) -> TeacherOutputs:
        """Run the network."""
        assert image is not None
        with self._fabric.autocast():
            outputs: Outputs = self.network(image)
            maps = {want: F.adaptive_avg_pool2d(outputs.features[want.number], want[1:]) for want in self.wanted}
        return TeacherOutputs(outputs.prediction, maps, outputs.towers)
