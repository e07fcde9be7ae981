"""Timing of steps."""

import time
from collections.abc import Callable
from typing import Any

import torch


LEAST = 3  # steps


def timed(step: Callable[[], Any], seconds: float, batch: int) -> float:
    """Give images a second of a step on `batch` images: so many seconds, no fewer than three steps, after two to warm up."""
    for _ in range(2):
        step()
    wait()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds or count < LEAST:
        step()
        count += 1
        if count % 20 == 0:
            wait()
    wait()
    return count * batch / (time.perf_counter() - began)


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
