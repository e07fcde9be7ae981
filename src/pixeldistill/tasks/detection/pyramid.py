"""Pyramid levels, and AFP: the correspondence of two detectors' levels. Neither torch nor NumPy.

A level is named by the logarithm of its stride. Two levels of two detectors correspond if their strides are equal as fractions
of the image's side. If all detectors have the same ratio of anchor and stride, each anchor then has a twin in the other
detector that covers the same part of the image. So class and box maps can be compared element by element.

Source:
    AFP (aligned feature for preservation) of Pixel Distillation (TPAMI 2024) is published as one sentence; this rule is ours.
"""

import math

from pixeldistill.recipe.levels import EXACT, Pair

Grid = tuple[int, int]  # height and width of a map


def shared_grids(pair: Pair, student: Grid, teacher: Grid) -> tuple[Grid, Grid]:
    """Return the parts of two corresponding grids, from their common corner on, that show the same part of the image.

    Each image's sides are padded to multiples of 32. Beyond the other's grid there is nothing to compare with. A cell of the
    student counts if its centre lies in the teacher's grid.

    >>> shared_grids(Pair(0, 0, 1.0), (8, 8), (6, 6)), shared_grids(Pair(0, 0, 0.78), (28, 28), (32, 32))
    (((6, 6), (6, 6)), ((25, 25), (32, 32)))
    """
    height, width = (min(a, math.ceil(b * pair.ratio - 0.5 - EXACT)) for a, b in zip(student, teacher, strict=True))
    covered = tuple(min(b, math.ceil(n / pair.ratio - EXACT)) for n, b in zip((height, width), teacher, strict=True))
    return (height, width), (covered[0], covered[1])
