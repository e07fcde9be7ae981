"""Anchors and points of a pyramid's levels, and the boxes that they can be matched with."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pixeldistill.recipe.detector import DetectorSettings
from pixeldistill.tasks.detection.heads.base import Floats, head_named
from pixeldistill.tasks.detection.pyramid import Grid


@lru_cache(maxsize=64)
def level_anchors(settings: DetectorSettings, number: int, grid: Grid) -> Floats:
    """Make the anchors of a level, (H·W·A, 4), as x0, y0, x1, y1 in pixels. They are cached and read-only.

    Their centres are the cells' centres, so that a mirrored image has mirrored anchors (torchvision uses the cells' corners).
    Strides are nominal, and nothing is rounded (torchvision rounds, so its twins differ by up to 14 %).
    """
    stride = 2**number
    shapes = stride * np.array(head_named(settings.head).cell_shapes(settings), np.float64)
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
    """Return the share of boxes that the anchors of some levels can be matched with.

    An anchor covers a box if their intersection over union is at least 0.5. A point (FCOS) covers a box if it is responsible
    for it.

    Args:
        boxes: (M, 4), x0, y0, x1, y1 in pixels of the view.
        sizes: (M, 2), height and width of each box's view.
        settings: settings of the detector.
        numbers: numbers of the levels.
        ends: first and last of the levels that objects were matched with alone. By default all levels. Points of a
            pyramid's first and last level also take smaller and larger boxes.
    """
    if not len(boxes):
        return 1.0
    head, covered = head_named(settings.head), np.zeros(len(boxes), bool)
    for number in numbers:
        covered |= head.covers(boxes, -(-sizes // 2**number), settings, number, ends or settings.levels)
    return float(covered.mean())
