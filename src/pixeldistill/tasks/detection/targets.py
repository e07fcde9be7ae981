"""Conversion of annotations to the target of a batch of views."""

from collections.abc import Sequence

import torch

from pixeldistill.data.boxes import VISIBLE, Annotation, through_crop
from pixeldistill.data.crops import Crop
from pixeldistill.types import BoxTarget


def shown_objects(
    labels: Sequence[Annotation], crops: Sequence[Crop], sizes: Sequence[tuple[int, int]], crop_size: int, visible: float | None
) -> BoxTarget:
    """Return the objects in views of crops. See `Task.collate`."""
    least = VISIBLE if visible is None else visible
    shown = [through_crop(label, crop, of, crop_size, least) for label, crop, of in zip(labels, crops, sizes, strict=True)]
    most = max(1, *(len(numbers) for _, numbers in shown))
    counts = tuple(len(numbers) for _, numbers in shown)
    target = BoxTarget(torch.zeros(len(shown), most, 4), torch.full((len(shown), most), -1), counts)
    for i, (boxes, numbers) in enumerate(shown):
        target.boxes[i, : len(boxes)] = torch.from_numpy(boxes)
        target.labels[i, : len(boxes)] = torch.from_numpy(numbers)
    return target
