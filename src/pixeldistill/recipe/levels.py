"""Levels of feature pyramids, and which of one detector has its twin in another. Neither torch nor NumPy."""

import math
from collections.abc import Sequence
from typing import NamedTuple

EXACT = 1e-6


class Pair(NamedTuple):
    """Two levels that correspond, by their places in their pyramids.

    `ratio`: size of the teacher's cells over the student's, both as fractions of the image; 1 where they are twins.
    """

    student: int
    teacher: int
    ratio: float

    @property
    def exact(self) -> bool:
        """Whether the two levels' cells are the same parts of the image."""
        return abs(self.ratio - 1) < EXACT


def size_shift(large: int, small: int) -> int:
    """Return m, by how many levels a detector of the large side is ahead of one of the small side (the nearest, if none fits).

    >>> size_shift(512, 256), size_shift(512, 128), size_shift(512, 192)
    (1, 2, 1)
    """
    return round(math.log2(large / small))


def assistant_levels(teacher: tuple[int, int], student: tuple[int, int], shift: int) -> tuple[int, int]:
    """Return the levels that an assistant is trained on: the teacher's, and those that the student has too.

    Args:
        teacher: first and last level of the teacher, at the assistant's side.
        student: first and last level of the student.
        shift: see `size_shift`.

    >>> assistant_levels((3, 7), (3, 7), 1)
    (3, 8)
    """
    return min(teacher[0], student[0] + shift), max(teacher[1], student[1] + shift)


def pair_levels(student: Sequence[int], student_size: int, teacher: Sequence[int], teacher_size: int) -> list[Pair]:
    """Pair every level of the student with that of the teacher whose cells are nearest in size as fractions of the image.

    A level whose nearest is more than half an octave away has no partner. Levels are given by their numbers.

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
    """Return the teacher's levels, by number, from the first to the last that a student's level meets; none may.

    >>> shared_levels(range(3, 8), 256, range(3, 9), 512)
    range(4, 9)
    """
    met = [teacher[pair.teacher] for pair in pair_levels(student, student_size, teacher, teacher_size)]
    return range(min(met), max(met) + 1) if met else range(0)
