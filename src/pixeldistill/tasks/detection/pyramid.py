"""Pyramid levels, and AFP: which level of one detector has its twin in another. Neither torch nor NumPy.

A level is named by the logarithm of its stride. Two levels of two detectors correspond when their strides, as fractions of the
image's side, are equal; with one ratio of anchor and stride for all detectors, each anchor of the one then has a twin in the
other that covers the same part of the image, and class and box maps can be compared element by element.

Source:
    AFP (aligned feature for preservation) of Pixel Distillation (TPAMI 2024) is published as one sentence; this rule is ours.
"""

import math

from pixeldistill.recipe.levels import EXACT, Pair

Grid = tuple[int, int]  # height and width of a map


def shared_grids(pair: Pair, student: Grid, teacher: Grid) -> tuple[Grid, Grid]:
    """Return the parts of two corresponding grids, from their common corner on, that show the same part of the image.

    Sides are padded to multiples of 32, of either image its own: beyond the other's grid there is nothing to compare with. Of the
    student's cells those are meant whose centres lie in the teacher's grid.

    >>> shared_grids(Pair(0, 0, 1.0), (8, 8), (6, 6)), shared_grids(Pair(0, 0, 0.78), (28, 28), (32, 32))
    (((6, 6), (6, 6)), ((25, 25), (32, 32)))
    """
    height, width = (min(a, math.ceil(b * pair.ratio - 0.5 - EXACT)) for a, b in zip(student, teacher, strict=True))
    covered = tuple(min(b, math.ceil(n / pair.ratio - EXACT)) for n, b in zip((height, width), teacher, strict=True))
    return (height, width), (covered[0], covered[1])
