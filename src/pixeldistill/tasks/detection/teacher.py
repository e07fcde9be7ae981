"""Check of a detector on the levels that it shares with its student, before the student learns from it."""

from collections.abc import Callable, Sequence
from functools import cache

from pixeldistill.recipe.heads import heads
from pixeldistill.recipe.levels import shared_levels
from pixeldistill.recipe.network import Network
from pixeldistill.tasks.base import TaughtStudent


def describe_shared_levels(score: Callable[[range | None], float], students: Sequence[TaughtStudent]) -> list[str]:
    """Describe a teacher's mAP on val on the levels that correspond to its students' levels.

    Args:
        score: returns its mAP with some of its levels, or with all.
        students: students of the teacher.

    Returns:
        A line for each student; a warning if the student alone is as good as its teacher on these levels.
    """
    lines: list[str] = []
    told: list[Network] = []
    score_on = cache(score)
    for student in students:
        network, numbers = student.network, student.teacher.scaled_detector.numbers
        shared = shared_levels(network.scaled_detector.numbers, network.image_size, numbers, student.teacher.image_size)
        if not shared or network.plain in told:
            continue
        told.append(network.plain)
        reached = score_on(shared)
        said = f"{student.name}: its teacher has mAP {100 * reached:.1f} on val with the levels the student has too"
        line = f"{said}, P{shared[0]}–P{shared[-1]}"
        if len(shared) < len(numbers):
            line += f" ({100 * score_on(None):.1f} with all)"
        if student.supervised is not None:
            line += f"; the supervised student has {100 * student.supervised:.1f}"
            if reached <= student.supervised:
                anchors = ", or another `anchor`" if heads()[network.scaled_detector.head].anchored else ""
                better = len(shared) < len(numbers) and score_on(None) > student.supervised
                fix = f"choose finer levels for the student{anchors}" if better else "train it longer"
                line = f"warning: {line}: it has little to teach there; {fix}"
        lines.append(line)
    return lines
