"""Which students of a sweep are given up, and when: successive halving, of what is dominated."""

import math
from collections.abc import Mapping, Sequence

from pixeldistill.recipe.search import Halving


def rungs(halving: Halving, epochs: int) -> list[int]:
    """List the epochs after which students are given up; never after the last one.

    >>> rungs(Halving(first=2, reduction=3), 20)
    [2, 6, 18]
    """
    found = []
    epoch = halving.first
    while epoch < epochs:
        found.append(epoch)
        epoch *= halving.reduction
    return found


def margins(scores: Mapping[str, float], costs: Mapping[str, Sequence[float]], images: int) -> dict[str, float]:
    """Return how far each student is below the best that costs no more: 0 on the front, or within a standard error of it.

    Args:
        scores: each one's figure on val, a share.
        costs: of each, what it costs on the axes that count.
        images: of val, for the standard error of a share.

    >>> margins({"dear": 0.9, "cheap": 0.5, "poor": 0.4}, {"dear": (9,), "cheap": (1,), "poor": (2,)}, 10**6)["poor"] < -0.09
    True
    """
    found = {}
    for name, score in scores.items():
        best = max(s for other, s in scores.items() if all(a <= b for a, b in zip(costs[other], costs[name], strict=True)))
        error = math.sqrt(max(0.0, score * (1 - score)) / images)
        found[name] = min(0.0, score - best + error)
    return found


def lost_students(
    histories: Mapping[str, Sequence[float]],
    costs: Mapping[str, Sequence[float]],
    halving: Halving,
    epochs: int,
    images: int,
) -> dict[str, int]:
    """Return which students are given up, and after which epoch; a pure function of what has been measured so far.

    The front of that epoch, the best of those that cost no more, goes on. Of the rest one in `reduction` does, the nearest to the
    front; of fewer the nearest one.

    Args:
        histories: of each student its figure on val, epoch by epoch.
        costs: see `margins`.
        halving: how many, and when.
        epochs: of the whole schedule.
        images: of val.

    Source:
        Successive halving (Jamieson and Talwalkar, AISTATS 2016); that margins below the front are compared,
        not accuracies, is ours: by accuracy alone only the dearest would be left.
    """
    lost: dict[str, int] = {}
    for epoch in rungs(halving, epochs):
        scores = {name: own[epoch - 1] for name, own in histories.items() if len(own) >= epoch and name not in lost}
        behind = {name: margin for name, margin in margins(scores, costs, images).items() if margin < 0}
        kept = max(1, len(behind) // halving.reduction)
        least = sorted(behind.values(), reverse=True)[:kept]
        lost |= {name: epoch for name, margin in behind.items() if margin < least[-1]}
    return lost
