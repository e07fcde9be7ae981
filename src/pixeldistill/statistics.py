"""Means with intervals, and even selection from a sequence."""

import math
from collections.abc import Sequence
from typing import TypeVar


def interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and the half width of its 95 % interval (Student's t). The half width is None for a single value.

    >>> interval([0.5])
    (0.5, None)
    """
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, None
    from scipy.stats import t

    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
    return mean, float(t.ppf(0.975, len(values) - 1)) * deviation / math.sqrt(len(values))


T = TypeVar("T")


def spread(items: Sequence[T], most: int) -> list[T]:
    """Choose up to `most` items, evenly spread over a sequence.

    >>> spread("abcdefg", 3), spread("ab", 3)
    (['a', 'c', 'e'], ['a', 'b'])
    """
    count = min(most, len(items))
    return [items[place * len(items) // count] for place in range(count)]
