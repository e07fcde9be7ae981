"""The anchors and points of a pyramid's levels, and which boxes they can be matched with. No torch."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pixeldistill.detectors import DetectorSettings
from pixeldistill.networks.pyramid import Grid

FCOS_RANGE = (4.0, 8.0)  # a point is responsible for boxes whose farthest side is that many strides away
FCOS_RADIUS = 1.5  # and whose centre is that many strides away

Floats = NDArray[np.float32]


def cell_shapes(settings: DetectorSettings) -> list[tuple[float, float]]:
    """List the (height, width) of the anchors of a place, in strides; an FCOS point counts as one stride.

    >>> cell_shapes(DetectorSettings(aspects=(1,), scales=2))
    [(4.0, 4.0), (5.656854249492381, 5.656854249492381)]
    """
    if settings.head == "fcos":
        return [(1.0, 1.0)]
    sizes = [settings.anchor * 2 ** (i / settings.scales) for i in range(settings.scales)]
    return [(size * math.sqrt(aspect), size / math.sqrt(aspect)) for aspect in settings.aspects for size in sizes]


@lru_cache(maxsize=64)
def level_anchors(settings: DetectorSettings, number: int, grid: Grid) -> Floats:
    """Make the anchors of a level, (H·W·A, 4), as x0, y0, x1, y1 in pixels; they are kept, and not to be written to.

    Their centres are the cells' centres, so that a mirrored image has mirrored anchors (torchvision: the cells' corners); strides
    are nominal, and nothing is rounded (torchvision rounds, and its twins are wrong by up to 14 %).
    """
    stride = 2**number
    shapes = stride * np.array(cell_shapes(settings), np.float64)
    y, x = np.meshgrid(*((np.arange(n) + 0.5) * stride for n in grid), indexing="ij")
    centres = np.stack([x, y], axis=-1).reshape(-1, 1, 2)
    half = shapes[None, :, ::-1] / 2
    anchors = np.concatenate([centres - half, centres + half], axis=-1).reshape(-1, 4).astype(np.float32)
    anchors.flags.writeable = False
    return anchors


def coverage(
    boxes: Floats, sizes: NDArray[np.int64], settings: DetectorSettings, numbers: Sequence[int],
    ends: tuple[int, int] | None = None,
) -> float:  # fmt: skip
    """Give the share of boxes that the anchors of some levels can be matched with.

    An anchor covers a box at an intersection over union of 0.5 or more; a point (FCOS) covers one for which it is responsible.

    Args:
        boxes: (M, 4), x0, y0, x1, y1 in pixels of the view.
        sizes: (M, 2), height and width of each box's view.
        settings: of the detector.
        numbers: of the levels.
        ends: of the levels that objects were matched with as if there were no others; by default all. A pyramid's first and last
            points take what is smaller and larger, too.
    """
    if not len(boxes):
        return 1.0
    covered = np.zeros(len(boxes), bool)
    for number in numbers:
        grid = -(-sizes // 2**number)
        if settings.head == "fcos":
            first, last = ends or settings.levels
            covered |= _in_reach(boxes, grid, number, first=number == first, last=number == last)
        else:
            for shape in cell_shapes(settings):
                covered |= _best_iou(boxes, grid, 2**number, shape) >= 0.5
    return float(covered.mean())


def _nearest(boxes: Floats, grid: NDArray[np.int64], stride: int) -> NDArray[np.float64]:
    """Give the cells' numbers (x, y) that are nearest to the boxes' centres."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.clip(np.round(centres / stride - 0.5), 0, grid[:, ::-1] - 1)


def _best_iou(boxes: Floats, grid: NDArray[np.int64], stride: int, shape: tuple[float, float]) -> NDArray[np.float64]:
    """Give the largest overlap of each box with the anchors of one shape: that of the nearest, along both axes."""
    centres = (_nearest(boxes, grid, stride) + 0.5) * stride
    half = stride * np.array(shape[::-1]) / 2
    overlap = np.minimum(boxes[:, 2:], centres + half) - np.maximum(boxes[:, :2], centres - half)
    shared = overlap.clip(0).prod(axis=1)
    return np.asarray(shared / ((boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + 4 * half.prod() - shared))


def _in_reach(boxes: Floats, grid: NDArray[np.int64], number: int, *, first: bool, last: bool) -> NDArray[np.bool_]:
    """Tell which boxes some point of a level is responsible for, by torchvision's rule."""
    stride = 2**number
    low, high = (0.0 if first else FCOS_RANGE[0] * stride), (math.inf if last else FCOS_RANGE[1] * stride)
    centres, nearest = (boxes[:, :2] + boxes[:, 2:]) / 2, _nearest(boxes, grid, stride)
    found = np.zeros(len(boxes), bool)
    for step in np.ndindex(5, 5):
        cell = nearest + np.array(step) - 2
        inside = ((cell >= 0) & (cell < grid[:, ::-1])).all(axis=1)
        point = (cell + 0.5) * stride
        distances = np.concatenate([point - boxes[:, :2], boxes[:, 2:] - point], axis=1)
        near = np.abs(point - centres).max(axis=1) < FCOS_RADIUS * stride
        farthest = distances.max(axis=1)
        found |= inside & near & (distances.min(axis=1) > 0) & (farthest > low) & (farthest < high)
    return found
