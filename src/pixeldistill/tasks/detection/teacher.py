"""What a detector knows on the levels that it exposes: said before students learn from it."""

from collections.abc import Callable, Sequence
from functools import cache

from pixeldistill.recipe.heads import heads
from pixeldistill.recipe.levels import exposed_levels
from pixeldistill.recipe.network import Network
from pixeldistill.tasks.base import Taught


def describe_exposed(score: Callable[[range | None], float], students: Sequence[Taught]) -> list[str]:
    """Return what a teacher's mAP on val is by the levels that correspond to its students' levels.

    Args:
        score: returns its mAP by some of its levels, or by all.
        students: whom it teaches.

    Returns:
        A line for each student; a warning where the student alone is as good as its teacher there.
    """
    lines: list[str] = []
    told: list[Network] = []
    score_on = cache(score)
    for student in students:
        network, numbers = student.network, student.teacher.seen.numbers
        exposed = exposed_levels(network.seen.numbers, network.side, numbers, student.teacher.side)
        if not exposed or network.plain in told:
            continue
        told.append(network.plain)
        reached = score_on(exposed)
        said = f"{student.name}: its teacher has mAP {100 * reached:.1f} on val with the levels it exposes"
        line = f"{said}, P{exposed[0]}–P{exposed[-1]}"
        if len(exposed) < len(numbers):
            line += f" ({100 * score_on(None):.1f} with all)"
        if student.alone is not None:
            line += f"; the student alone has {100 * student.alone:.1f}"
            if reached <= student.alone:
                anchors = ", or another `anchor`" if heads()[network.seen.head].anchored else ""
                better = len(exposed) < len(numbers) and score_on(None) > student.alone
                fix = f"choose finer levels for the student{anchors}" if better else "train it longer"
                line = f"warning: {line}: it has little to teach there; {fix}"
        lines.append(line)
    return lines
