"""Measuring a network on camera images: on one process, or on several that share the images."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from pixeldistill.data.dataset import CameraImages, Raw
from pixeldistill.data.loading import load
from pixeldistill.data.sources import Sample
from pixeldistill.data.views import to_unit
from pixeldistill.inputs import Imaging
from pixeldistill.networks.classifier import Classifier
from pixeldistill.tasks import classification
from pixeldistill.training.fabric import Fabric

BATCH = 128
CACHE_BYTES = 2**28

Metrics = dict[str, Any]


class TestImages:
    """One process's share of a split, as a camera of the given side delivers it; kept in memory when it is small."""

    __test__ = False  # no test case, whatever pytest thinks of its name

    def __init__(self, samples: tuple[Sample, ...], side: int, imaging: Imaging, workers: int, fabric: Fabric) -> None:
        self.total, self.side, self.workers = len(samples), side, workers
        self.dataset = CameraImages(samples, side, imaging)
        share = -(-len(samples) // fabric.world_size)  # every process the same number: what is too many is cut off again
        mine = [(fabric.global_rank + i * fabric.world_size) % len(samples) for i in range(share)]
        self._batches = [mine[i : i + BATCH] for i in range(0, share, BATCH)]
        self._small = share * 3 * side * side <= CACHE_BYTES
        self._kept: list[Raw] | None = None

    def __iter__(self) -> Iterator[Raw]:
        if self._kept is not None:
            return iter(self._kept)
        raws: Iterable[Raw] = load(self.dataset, self._batches, self.workers)
        if self._small:
            raws = self._kept = list(raws)
        return iter(raws)


@torch.no_grad()
def evaluate(network: Classifier, images: TestImages, fabric: Fabric) -> Metrics:
    """Measure a network on a split: see `tasks.classification.metrics`. All processes get the whole split's figures."""
    was_training = network.training
    network.eval()
    logits, targets = [], []
    for raw in images:
        image = to_unit(fabric.to_device(raw.images))
        with fabric.autocast():
            logits.append(network(image).logits.float())
        targets.append(fabric.to_device(raw.target))
    network.train(was_training)
    return classification.metrics(
        _gather(fabric, torch.cat(logits), images.total), _gather(fabric, torch.cat(targets), images.total)
    )


def _gather(fabric: Fabric, mine: Tensor, total: int) -> Tensor:
    """Put the processes' shares (every world-th image) back into one order, on the CPU."""
    if fabric.world_size == 1:
        return mine.cpu()
    gathered = fabric.all_gather(mine)
    assert isinstance(gathered, Tensor)
    return gathered.transpose(0, 1).flatten(0, 1)[:total].cpu()
