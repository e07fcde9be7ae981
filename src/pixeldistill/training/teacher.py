"""Frozen teacher: live predictions of views. The teacher cache returns the same from disk."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from pixeldistill.networks.adapter import Adapter, FinishHead
from pixeldistill.networks.folding import fold_norms
from pixeldistill.training.fabric import Fabric
from pixeldistill.types import BoxMaps, Outputs, WantedMap


class TeacherOutputs(NamedTuple):
    """A teacher's outputs for a batch: its prediction, and the maps that it was built to return."""

    prediction: Tensor | BoxMaps
    maps: Mapping[WantedMap, Tensor]
    towers: tuple[tuple[Tensor, Tensor], ...] = ()  # for a detector, see `Outputs`

    def outputs(self, wanted: Iterable[WantedMap]) -> Outputs:
        """Return the outputs that one student's terms need, with each map at its number and empty tensors for all others."""
        nothing = torch.empty(0)
        chosen = {want.number: self.maps[want] for want in wanted}
        features = tuple(chosen.get(i, nothing) for i in range(max(chosen, default=-1) + 1))
        return Outputs(self.prediction, nothing, features, self.towers)


def averaged(outputs: Sequence[TeacherOutputs]) -> TeacherOutputs:
    """Return one teacher's outputs unchanged; of several teachers the mean of the logits, and the first's maps. Source: ours.

    The mean of logits is the geometric mean of the probabilities, at every temperature.
    """
    first, *others = outputs
    if not others:
        return first
    logits = [said.prediction for said in outputs]
    return first._replace(prediction=torch.stack(logits).mean(dim=0))  # type: ignore[arg-type]


class Teacher(Protocol):
    """A teacher that predicts batches of views.

    `sees_image`: whether it needs the images, or only the keys (N, 2; epoch and index). `head`: for a detector, the function
    that finishes its head from a level's towers.
    """

    sees_image: bool

    @property
    def head(self) -> FinishHead | None:
        """Function that finishes a detector's head from a level's towers."""

    def __call__(self, image: Tensor | None, keys: Tensor) -> TeacherOutputs:
        """Return the teacher's outputs for a batch.

        Args:
            image: the images, (N, 3, H, W) in [0, 1]. None if `sees_image` is False.
            keys: the views, (N, 2): epoch and index. A cached teacher finds its outputs by them.
        """


class LiveTeacher:
    """A network that predicts anew at every step: frozen, in eval mode, on the device, with folded batch norms.

    Attributes:
        wanted: the maps that it returns, average-pooled.
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
