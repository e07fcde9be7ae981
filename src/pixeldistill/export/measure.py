"""What an exported model reaches on a split, and how fast it is beside another."""

import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from pixeldistill.data.dataset import CameraImages, Raw
from pixeldistill.data.loading import default_workers, load
from pixeldistill.data.sources import Sample
from pixeldistill.exported import Pixels, open_session
from pixeldistill.inputs import Camera
from pixeldistill.networks.detector import Detector
from pixeldistill.networks.trained import AnyNetwork
from pixeldistill.tasks import classification
from pixeldistill.tasks.average_precision import Found, average_precision
from pixeldistill.tasks.detection import to_original
from pixeldistill.training.evaluate import annotation_of

BATCH = 64
TURNS, WARM_UP = 30, 5


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


def speed_up(slower: bytes, faster: bytes, image: Pixels) -> float:
    """Say how many times as fast the second model is as the first on an image (H, W, 3): the median of runs in turns."""
    sessions, ratios = [open_session(model) for model in (slower, faster)], []
    for turn in range(WARM_UP + TURNS):
        spent = []
        for session in sessions:
            start = time.perf_counter()
            session.run(None, {"image": np.ascontiguousarray(image)[None]})
            spent.append(time.perf_counter() - start)
        if turn >= WARM_UP:
            ratios.append(spent[0] / spent[1])
    return statistics.median(ratios)
