"""Measuring a network on camera images: on one process, or on several that share the images."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from pixeldistill.data.boxes import Annotation
from pixeldistill.data.dataset import CameraImages, Raw
from pixeldistill.data.loading import copied, load
from pixeldistill.data.sources import Sample
from pixeldistill.data.views import to_unit, whole_size
from pixeldistill.inputs import Camera
from pixeldistill.networks.classifier import Classifier
from pixeldistill.networks.detector import Detector
from pixeldistill.networks.trained import AnyNetwork
from pixeldistill.tasks import classification
from pixeldistill.tasks.average_precision import average_precision
from pixeldistill.tasks.detection import Detections, find_objects, to_original
from pixeldistill.training.fabric import Fabric

BATCH = 128  # of images at 224
CACHE_BYTES = 2**28

Metrics = dict[str, Any]
Answers = Tensor | list[Detections]


class TestImages:
    """One process's share of a split, as a camera delivers it; kept in memory when it is small."""

    __test__ = False  # no test case, whatever pytest thinks of its name

    def __init__(self, samples: tuple[Sample, ...], camera: Camera, workers: int, fabric: Fabric) -> None:
        self.samples, self.total, self.workers = samples, len(samples), workers
        self.dataset = CameraImages(samples, camera)
        batch = 1 if self.dataset.boxed else at_once(BATCH, camera.side)  # whole images differ in shape
        share = -(-len(samples) // fabric.world_size)  # every process the same number: what is too many is cut off again
        mine = [(fabric.global_rank + i * fabric.world_size) % len(samples) for i in range(share)]
        self._batches = [mine[i : i + batch] for i in range(0, share, batch)]
        self._small = sum(_pixels(samples[i], camera.side) for i in mine) * 3 <= CACHE_BYTES
        self._kept: list[Raw] | None = None

    def __iter__(self) -> Iterator[Raw]:
        if self._kept is not None:
            return iter(self._kept)
        raws: Iterable[Raw] = load(self.dataset, self._batches, self.workers)
        if self._small:
            raws = self._kept = [copied(raw) for raw in raws]
        return iter(raws)


def at_once(images: int, side: int) -> int:
    """Say how many images of a side take no more memory than so many at 224; no more than that.

    >>> at_once(128, 112), at_once(128, 448), at_once(128, 8000)
    (128, 32, 1)
    """
    return max(1, min(images, images * 224**2 // side**2))


def _pixels(sample: Sample, side: int) -> int:
    """Count the pixels of an image as a network of a side is fed it: a detector's are whole."""
    label = sample.label
    return math.prod(whole_size(*label.size, side)) if isinstance(label, Annotation) else side**2


@torch.no_grad()
def evaluate(network: AnyNetwork, images: TestImages, fabric: Fabric, levels: range | None = None) -> Metrics:
    """Measure a network on a split. All processes get the whole split's figures; see `answer` and `figures`."""
    return figures(answer(network, images, fabric, levels), images, network)


@torch.no_grad()
def answer(network: AnyNetwork, images: TestImages, fabric: Fabric, levels: range | None = None) -> Answers:
    """Ask a network about a split.

    Args:
        network: a classifier or a detector.
        images: as the camera delivers them at its side.
        fabric: of this process.
        levels: of a detector, the numbers of those to look at; by default all.

    Returns:
        On every process, of all images in order: a classifier's logits (N, classes), or the objects that were found, in pixels of
        the originals.
    """
    was_training = network.training
    network.eval()
    try:
        if isinstance(network, Detector):
            return _detect(network, images, fabric, levels)
        return _classify(network, images, fabric)
    finally:
        network.train(was_training)


def figures(answers: Answers, images: TestImages, network: AnyNetwork) -> Metrics:
    """Measure answers: see `tasks.classification.metrics` and `tasks.average_precision`."""
    if isinstance(answers, Tensor):
        return classification.metrics(answers, torch.tensor([sample.label for sample in images.samples]))
    return average_precision(answers, [annotation_of(sample) for sample in images.samples], network.spec.classes)


def _classify(network: Classifier, images: TestImages, fabric: Fabric) -> Tensor:
    logits = []
    for raw in images:
        image = to_unit(fabric.to_device(raw.images))
        with fabric.autocast():
            logits.append(network(image).logits.float())
    return _gather(fabric, torch.cat(logits), images.total)


def _detect(network: Detector, images: TestImages, fabric: Fabric, levels: range | None) -> list[Detections]:
    found: dict[int, Detections] = {}
    for raw in images:
        with fabric.autocast():
            outputs = network(to_unit(fabric.to_device(raw.images)))
        (detections,) = find_objects(outputs, network.settings, raw.images.shape[2:], levels)
        ((_, index),) = raw.keys.tolist()
        size, view = annotation_of(images.samples[index]).size, raw.images.shape[2:]
        found[index] = Detections(
            to_original(detections.boxes, view, size).cpu(), detections.scores.cpu(), detections.labels.cpu()
        )
    if fabric.world_size > 1:
        shares: list[Any] = [None] * fabric.world_size
        torch.distributed.all_gather_object(shares, found)
        found = {index: detections for share in shares for index, detections in share.items()}
    return [found[i] for i in range(images.total)]


def annotation_of(sample: Sample) -> Annotation:
    """Give a sample's boxes."""
    assert isinstance(sample.label, Annotation)
    return sample.label


def _gather(fabric: Fabric, mine: Tensor, total: int) -> Tensor:
    """Put the processes' shares (every world-th image) back into one order, on the CPU."""
    if fabric.world_size == 1:
        return mine.cpu()
    gathered = fabric.all_gather(mine)
    assert isinstance(gathered, Tensor)
    return gathered.transpose(0, 1).flatten(0, 1)[:total].cpu()
