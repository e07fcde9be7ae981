"""Timing of steps."""

import time
from collections.abc import Callable
from typing import Any

import torch


def timed(step: Callable[[], Any], seconds: float, batch: int, most: int = 10**9) -> float:
    """Give images a second of a step on `batch` images, after two that warm up; at most `most` steps in all."""
    for _ in range(2):
        step()
    wait()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds and count < most - 2:
        step()
        count += 1
        if count % 20 == 0:
            wait()
    wait()
    return count * batch / (time.perf_counter() - began)


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
