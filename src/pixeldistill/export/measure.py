"""What an exported model reaches on a split."""

from collections.abc import Sequence
from typing import Any

import torch

from pixeldistill.data.dataset import CameraImages, Raw
from pixeldistill.data.loading import default_workers, load
from pixeldistill.data.sources import Sample
from pixeldistill.exported import open_session
from pixeldistill.inputs import Camera
from pixeldistill.networks.detector import Detector
from pixeldistill.networks.trained import AnyNetwork
from pixeldistill.tasks import classification
from pixeldistill.tasks.average_precision import Found, average_precision
from pixeldistill.tasks.detection import to_original
from pixeldistill.training.evaluate import annotation_of

BATCH = 64


def measure_model(
    model: bytes, samples: Sequence[Sample], camera: Camera, network: AnyNetwork, workers: int | None = None
) -> dict[str, Any]:
    """Measure an exported model on images as its camera delivers them; gives the figures of `training.evaluate`."""
    session, images = open_session(model), CameraImages(samples, camera)
    workers = default_workers() if workers is None else workers
    size = 1 if images.boxed else BATCH  # whole images differ in shape
    batches = [list(range(first, min(first + size, len(samples)))) for first in range(0, len(samples), size)]
    found: list[Found] = []
    answers, targets = [], []
    for raw in load(images, batches, workers):
        assert isinstance(raw, Raw)
        told = [torch.from_numpy(x) for x in session.run(None, {"image": raw.images.permute(0, 2, 3, 1).contiguous().numpy()})]
        if isinstance(network, Detector):
            ((_, index),) = raw.keys.tolist()
            boxes, scores, labels, _ = told
            size_of = annotation_of(samples[index]).size
            found.append((to_original(boxes, raw.images.shape[2:], size_of), scores, labels))
        else:
            assert isinstance(raw.target, torch.Tensor)
            answers.append(told[0])
            targets.append(raw.target)
    if isinstance(network, Detector):
        return average_precision(found, [annotation_of(sample) for sample in samples], network.classes)
    return classification.metrics(torch.cat(answers).log(), torch.cat(targets))
