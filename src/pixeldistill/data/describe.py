"""Description of a recipe's data in words."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pixeldistill.data.splits import Sample, Splits

MANY_CLASSES = 20  # with more classes, not all are listed


def describe_data(splits: Splits) -> list[str]:
    """Describe in lines the contents of the data and the decisions that were made about it."""
    counts = f"{len(splits.train)} train, {len(splits.val)} val, {len(splits.test)} test images"
    notes = [*splits.notes, describe_classes(splits)]
    return [f"data: {counts}, {len(splits.classes)} classes", *(f"data: {note}" for note in notes)]


def describe_classes(splits: Splits) -> str:
    """Count in one line each class's images in train, val and test. With many classes, list those with the fewest to learn from.

    A name that was mistyped in train becomes a class of its own, which shows here.
    """
    counted = [np.bincount(_labels(split), minlength=len(splits.classes)) for split in (splits.train, splits.val, splits.test)]
    order = np.arange(len(splits.classes))
    many = len(order) > MANY_CLASSES
    shown = np.argsort(counted[0], kind="stable")[:MANY_CLASSES] if many else order
    what = "boxes" if splits.train and splits.train[0].label.size else "images"
    told = ", ".join(f"{splits.classes[i]} {'/'.join(str(counts[i]) for counts in counted)}" for i in shown)
    return f"{what} in train/val/test{f', the {MANY_CLASSES} rarest classes' if many else ''}: {told}"


def _labels(samples: Sequence[Sample]) -> NDArray[np.int64]:
    """List the classes of images, or of all their boxes that are not crowds."""
    return np.array([number for sample in samples for number in sample.label.classes()], np.int64)
