"""Timing of steps, of contestants that take turns."""

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

LEAST = 3  # steps
Turn = Callable[[float], float]  # works for about so many seconds; gives images a second
Rates = dict[str, list[float]]  # of each contestant, round by round


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


def play(turns: Mapping[str, Turn], rounds: int, seconds: float) -> Rates:
    """Let all take turns, in another order every round; the first round warms up and does not count."""
    rates: Rates = {name: [] for name in turns}
    for number in range(rounds + 1):
        for name in random.Random(number).sample(list(turns), len(turns)):
            rate = turns[name](seconds if number else min(seconds, 2))
            if number:
                rates[name].append(rate)
        print(f"round {number} of {rounds}", flush=True)
    return rates


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Give the median and the range."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def ratio(rates: Rates, one: str, other: str) -> str:
    """Compare two contestants' rates within the rounds."""
    return spread([a / b for a, b in zip(rates[one], rates[other], strict=True)])


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
