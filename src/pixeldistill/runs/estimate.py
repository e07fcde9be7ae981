"""Estimate of a recipe's training time on this machine. Some steps are timed, nothing is trained."""

import time
from collections.abc import Callable, Sequence

import torch

from pixeldistill.data.splits import Splits
from pixeldistill.data.views import to_tensor
from pixeldistill.networks.adapter import Adapter
from pixeldistill.recipe.network import Network, ShapeKey
from pixeldistill.recipe.stage import Stage
from pixeldistill.runs.provenance import used_views
from pixeldistill.statistics import spread
from pixeldistill.tasks.networks import build_fresh
from pixeldistill.types import Outputs

BATCH, SECONDS, DECODED = 8, 1.5, 16
BACKWARD = 3.0  # cost of a training step in forward passes


def estimate(stages: Sequence[Stage], splits: Splits, workers: int) -> float:
    """Return the approximate seconds of a recipe's trainings, all seeds together, if nothing else runs.

    The optimiser, the views and the figures of val and test are not included.

    Args:
        stages: stages of the recipe.
        splits: splits of its data.
        workers: number of loader processes, which decode while the networks train.
    """
    forward: dict[ShapeKey, float] = {}

    def cost(network: Network) -> float:
        key = network.shape_key
        if key not in forward:
            forward[key] = _forward(build_fresh(network, len(splits.classes)), network.image_size)
        return forward[key]

    decoding = _decoding(splits) / max(1, workers)
    total = 0.0
    for stage in stages:
        epochs = len(stage.seeds) * stage.schedule.epochs
        asked = used_views(stage) if stage.teacher_cache else epochs
        total += len(splits.train) * (
            epochs * max(BACKWARD * cost(stage.student), decoding) + asked * sum(map(cost, stage.teachers))
        )
    return total


def _forward(network: Adapter, image_size: int) -> float:
    """Time a forward pass with gradients, in seconds an image."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = torch.rand(BATCH, 3, image_size, image_size, device=device).contiguous(memory_format=torch.channels_last)
    network.train().to(device).to(memory_format=torch.channels_last)

    def run() -> Outputs:
        outputs: Outputs = network(images)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return outputs

    return _timed(run) / BATCH


def _decoding(splits: Splits) -> float:
    """Time the decoding of an image, in seconds."""
    samples = spread(splits.train, DECODED)
    start = time.perf_counter()
    for sample in samples:
        to_tensor(sample.read())
    return (time.perf_counter() - start) / len(samples)


def _timed(call: Callable[[], object]) -> float:
    """Return the shortest time of several calls, in seconds."""
    call()
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < 2 or time.perf_counter() - began < SECONDS:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)
