"""Latency of a deployed network: the exported file, run by ONNX Runtime on the CPU."""

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pixeldistill.exporting.convert import PREFIX, convert
from pixeldistill.inference.onnx import open_session
from pixeldistill.machine import cores
from pixeldistill.recipe.network import Network
from pixeldistill.tasks import task_of
from pixeldistill.tasks.networks import build_fresh

WARM_UP, LEAST, MOST, SECONDS = 5, 30, 300, 2.0


class Latency(NamedTuple):
    """Median and 95th percentile of the seconds for one image, and the number of threads."""

    median: float
    p95: float
    threads: int


def measure_latency(
    network: Network, classes: int, threads: int | None = None, view: tuple[int, int] | None = None
) -> Latency:  # fmt: skip
    """Measure the latency of an untrained network, from the received 8-bit image to the prediction.

    Args:
        network: the network of a recipe.
        classes: number of classes to predict.
        threads: number of threads. By default all cores.
        view: height and width of a detector's image. By default a square of its image size.

    Raises:
        NetworkError, ExportError: the network cannot run at its image size, or cannot be exported.
    """
    torch.manual_seed(0)
    built = build_fresh(network, classes).eval()
    model = task_of(network).assemble(convert(built), built, network.input_spec.camera, PREFIX).SerializeToString()
    image = np.random.default_rng(0).integers(0, 256, (1, *(view or (network.image_size, network.image_size)), 3), np.uint8)
    return time_model(model, image, threads)


def time_model(model: bytes | Path, image: NDArray[np.uint8], threads: int | None = None) -> Latency:
    """Time a model on images (N, H, W, 3): a fixed number of times, or as often as two seconds allow."""
    threads = threads or cores()
    session = open_session(model, threads)
    for _ in range(WARM_UP):
        session.run(None, {"image": image})
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < LEAST or (len(times) < MOST and time.perf_counter() - began < SECONDS):
        start = time.perf_counter()
        session.run(None, {"image": image})
        times.append(time.perf_counter() - start)
    return Latency(float(np.median(times)), float(np.quantile(times, 0.95)), threads)
