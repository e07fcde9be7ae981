"""Measuring a network on camera images, in one process or in several that share the images."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pixeldistill.data.dataset import CameraImages, RawBatch
from pixeldistill.data.loading import at_once, copied, load
from pixeldistill.data.splits import Sample
from pixeldistill.data.views import to_unit
from pixeldistill.networks.adapter import Adapter
from pixeldistill.recipe.camera import InputSpec
from pixeldistill.tasks import Task, task_of
from pixeldistill.training.fabric import Fabric

BATCH = 128  # images at 224
CACHE_BYTES = 2**28

Metrics = dict[str, Any]
Predictions = list[Any]  # one for every image, see `Task.postprocess`


class TestImages:
    """One process's share of a split, as a camera delivers it. It is kept in memory if it is small."""

    __test__ = False  # keeps pytest from collecting it as a test case

    def __init__(self, samples: tuple[Sample, ...], input_spec: InputSpec, task: Task, workers: int, fabric: Fabric) -> None:
        self.samples, self.total, self.workers = samples, len(samples), workers
        self.dataset = CameraImages(samples, input_spec, task.view)
        batch = task.together(at_once(BATCH, input_spec.image_size))
        share = -(-len(samples) // fabric.world_size)  # the same number in every process; surplus images are cut off later
        mine = [(fabric.global_rank + i * fabric.world_size) % len(samples) for i in range(share)]
        self._batches = [mine[i : i + batch] for i in range(0, share, batch)]
        pixels = (math.prod(task.view_size(original_size(samples[i]), input_spec.image_size)) for i in mine)
        self._small = sum(pixels) * 3 <= CACHE_BYTES
        self._kept: list[RawBatch] | None = None

    def __iter__(self) -> Iterator[RawBatch]:
        if self._kept is not None:
            return iter(self._kept)
        raws: Iterable[RawBatch] = load(self.dataset, self._batches, self.workers)
        if self._small:
            raws = self._kept = [copied(raw) for raw in raws]
        return iter(raws)


def original_size(sample: Sample) -> tuple[int, int]:
    """Return height and width of an image from its label. Return (0, 0) if the label does not depend on them."""
    return sample.label.size or (0, 0)


@torch.no_grad()
def evaluate(network: Adapter, images: TestImages, fabric: Fabric, levels: range | None = None) -> Metrics:
    """Measure a network on a split. All processes return the figures of the whole split. See `predict` and `figures`."""
    return figures(predict(network, images, fabric, levels), images, network)


@torch.no_grad()
def predict(network: Adapter, images: TestImages, fabric: Fabric, levels: range | None = None) -> Predictions:
    """Predict a split with a network.

    Args:
        network: network of any task.
        images: test images as the camera delivers them at the network's image size.
        fabric: Fabric of this process.
        levels: numbers of the pyramid levels to use. By default all.

    Returns:
        On every process, a prediction for each image in order, see `Task.postprocess`.
    """
    was_training, task = network.training, task_of(network)
    network.eval()
    found: dict[int, Any] = {}
    try:
        for raw in images:
            with fabric.autocast():
                outputs = network(to_unit(fabric.to_device(raw.images)))
            indices = [int(index) for _, index in raw.keys]
            sizes = [original_size(images.samples[index]) for index in indices]
            view = (raw.images.shape[2], raw.images.shape[3])
            found.update(zip(indices, task.postprocess(network, outputs, view, sizes, levels), strict=True))
    finally:
        network.train(was_training)
    found = _gathered(found, fabric)
    return [found[i] for i in range(images.total)]


def _gathered(found: dict[int, Any], fabric: Fabric) -> dict[int, Any]:
    """Return the predictions of all processes in the order of the images. Tensors of one shape are sent as one tensor."""
    if fabric.world_size == 1:
        return found
    values = list(found.values())
    alike = all(isinstance(value, Tensor) and value.shape == values[0].shape for value in values)
    shares: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(shares, (list(found), torch.stack(values).numpy() if alike else values))
    gathered: dict[int, Any] = {}
    for indices, predictions in shares:  # each process's share, as it was sent
        sent = torch.from_numpy(predictions) if isinstance(predictions, np.ndarray) else predictions
        gathered |= zip(indices, sent, strict=True)
    return gathered


def figures(predictions: Predictions, images: TestImages, network: Adapter) -> Metrics:
    """Measure predictions with the metrics of the network's task."""
    return task_of(network).metrics(predictions, [sample.label for sample in images.samples], network.spec.classes)
