"""Accuracy of an exported model on a split, and its speed compared with another model's."""

import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from pixeldistill.data.dataset import CameraImages, RawBatch
from pixeldistill.data.loading import default_workers, load
from pixeldistill.data.splits import Sample
from pixeldistill.evaluation.evaluate import original_size
from pixeldistill.inference.onnx import Pixels, open_session
from pixeldistill.networks.adapter import Adapter
from pixeldistill.recipe.camera import InputSpec
from pixeldistill.tasks import task_of

BATCH = 64
TURNS, WARM_UP = 30, 5


def measure_model(
    model: bytes, samples: Sequence[Sample], input_spec: InputSpec, network: Adapter, workers: int | None = None
) -> dict[str, Any]:
    """Measure an exported model on a split's camera images. Return the same figures as `evaluation.evaluate`."""
    task, session = task_of(network), open_session(model)
    images = CameraImages(samples, input_spec, task.view)
    workers = default_workers() if workers is None else workers
    size = task.together(BATCH)
    batches = [list(range(first, min(first + size, len(samples)))) for first in range(0, len(samples), size)]
    predictions: list[Any] = []
    for raw in load(images, batches, workers):
        assert isinstance(raw, RawBatch)
        outputs = session.run(None, {"image": raw.images.permute(0, 2, 3, 1).contiguous().numpy()})
        view = (raw.images.shape[2], raw.images.shape[3])
        sizes = [original_size(samples[int(index)]) for _, index in raw.keys]
        predictions += [
            task.from_arrays(a, view, of) for a, of in zip(task.split_outputs(outputs, len(sizes)), sizes, strict=True)
        ]
    return task.metrics(predictions, [sample.label for sample in samples], network.spec.classes)


def speed_up(slower: bytes, faster: bytes, image: Pixels) -> float:
    """Return how many times faster the second model is than the first on an image (H, W, 3): the median of alternating runs."""
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
