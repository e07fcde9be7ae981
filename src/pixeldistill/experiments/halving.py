"""Successive halving of a sweep's dominated students: which ones are stopped, and when."""

import math
from collections.abc import Mapping, Sequence

from pixeldistill.recipe.search import Halving


def rungs(halving: Halving, epochs: int) -> list[int]:
    """List the epochs after which students are stopped. The last epoch is never one of them.

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
    """Return each student's margin below the best one that costs no more: 0 on the front, or within a standard error of it.

    Args:
        scores: each student's figure on val, a share.
        costs: each student's costs on the axes that count.
        images: number of images in val, for the standard error of a share.

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
    """Return which students are stopped, and after which epoch. It is a pure function of the measured figures.

    The students on that epoch's front continue: each is the best of those that cost no more. Of the others, one in `reduction`
    continues, the nearest to the front first, but at least one.

    Args:
        histories: each student's figures on val, epoch by epoch.
        costs: see `margins`.
        halving: how many students are stopped, and when.
        epochs: number of epochs in the whole schedule.
        images: number of images in val.

    Source:
        Successive halving (Jamieson and Talwalkar, AISTATS 2016). Comparing margins below the front instead of accuracies is
        ours: with accuracies, only the most expensive students would be left.
    """
    lost: dict[str, int] = {}
    for epoch in rungs(halving, epochs):
        scores = {name: own[epoch - 1] for name, own in histories.items() if len(own) >= epoch and name not in lost}
        behind = {name: margin for name, margin in margins(scores, costs, images).items() if margin < 0}
        kept = max(1, len(behind) // halving.reduction)
        least = sorted(behind.values(), reverse=True)[:kept]
        lost |= {name: epoch for name, margin in behind.items() if margin < least[-1]}
    return lost
