"""Levels of feature pyramids, and the pairing of two detectors' levels. Neither torch nor NumPy."""

import math
from collections.abc import Sequence
from typing import NamedTuple

EXACT = 1e-6


class Pair(NamedTuple):
    """Two levels that correspond, by their positions in their pyramids.

    `ratio`: size of the teacher's cells divided by the student's, both as fractions of the image. It is 1 if they are twins.
    """

    student: int
    teacher: int
    ratio: float

    @property
    def exact(self) -> bool:
        """Whether the two levels' cells cover the same parts of the image."""
        return abs(self.ratio - 1) < EXACT


def size_shift(large: int, small: int) -> int:
    """Return m, the number of levels by which a large image size is ahead of a small one (rounded to a whole number).

    >>> size_shift(512, 256), size_shift(512, 128), size_shift(512, 192)
    (1, 2, 1)
    """
    return round(math.log2(large / small))


def assistant_levels(teacher: tuple[int, int], student: tuple[int, int], shift: int) -> tuple[int, int]:
    """Return the levels that an assistant is trained on: the teacher's, and those that correspond to the student's.

    Args:
        teacher: first and last level of the teacher, at the assistant's image size.
        student: first and last level of the student.
        shift: see `size_shift`.

    >>> assistant_levels((3, 7), (3, 7), 1)
    (3, 8)
    """
    return min(teacher[0], student[0] + shift), max(teacher[1], student[1] + shift)


def pair_levels(student: Sequence[int], student_size: int, teacher: Sequence[int], teacher_size: int) -> list[Pair]:
    """Pair every level of the student with the level of the teacher whose cells have the nearest size as fractions of the image.

    A level whose nearest level is more than half an octave away has no partner. Levels are given by their numbers.

    >>> pair_levels(range(3, 8), 256, range(3, 8), 512)[0]
    Pair(student=0, teacher=1, ratio=1.0)
    """
    pairs = []
    for place, number in enumerate(student):
        wanted = number + math.log2(teacher_size / student_size)
        nearest = min(range(len(teacher)), key=lambda i: abs(teacher[i] - wanted))
        if abs(teacher[nearest] - wanted) <= 0.5 + EXACT:
            pairs.append(Pair(place, nearest, 2.0 ** (teacher[nearest] - wanted)))
    return pairs


def shared_levels(student: Sequence[int], student_size: int, teacher: Sequence[int], teacher_size: int) -> range:
    """Return the teacher's levels, by number, from the first to the last one that pairs with a student's level. It may be empty.

    >>> shared_levels(range(3, 8), 256, range(3, 9), 512)
    range(4, 9)
    """
    met = [teacher[pair.teacher] for pair in pair_levels(student, student_size, teacher, teacher_size)]
    return range(min(met), max(met) + 1) if met else range(0)
