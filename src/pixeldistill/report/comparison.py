"""A comparison's table: every method's mean and interval, paired differences to the controls, share of the gap. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from pixeldistill.display.tables import TableData, make_table
from pixeldistill.statistics import interval

COLUMNS = (
    "method",
    "seeds",
    "epochs",
    "cost",
    "val",
    "test",
    "test best",
    "vs supervised",
    "vs pkd",
    "vs best loss",
    "gap recovered",
)
_NOTES = (
    "val, test: {figure} in %, last epoch (test best: best epoch by val), mean ± half of the 95 % interval over seeds",
    "vs: paired difference on test over the seeds that both have, in points, ± half of its 95 % interval",
    "best loss: the single published loss from the teacher with the best mean on test; chosen so, it is favoured by chance",
    "gap recovered: of the points between the supervised student and the teacher",
    "cost: multiply-accumulates of the training, a trained (not a given) assistant's too, over those of the supervised student",
)


def notes(figure: str) -> list[str]:
    """Explain the columns of a table of a figure (top-1, mAP)."""
    return [note.format(figure=figure) for note in _NOTES]


@dataclass(frozen=True)
class MethodScores:
    """Results of a method for one student: top-1 (or mAP) by seed, as shares.

    `single`: whether the method uses one published loss in one stage.
    """

    method: str
    epochs: int
    cost: float
    val: Mapping[int, float]
    test: Mapping[int, float]
    test_best: Mapping[int, float]
    single: bool = False


def rows(teacher: float, methods: Sequence[MethodScores]) -> list[tuple[str, ...]]:
    """Return the table's rows for one student, one row a method.

    Args:
        teacher: the teacher's figure on test, at its own image size.
        methods: methods in the order of the rows. "supervised" and "pkd" are the controls, if present.
    """
    controls = {trained.method: trained for trained in methods if trained.method in ("supervised", "pkd")}
    supervised = controls.get("supervised")
    singles = [trained for trained in methods if trained.single and trained.test]
    best = max(singles, key=lambda trained: sum(trained.test.values()) / len(trained.test), default=None)
    table = []
    for trained in methods:
        gap = None
        if supervised and trained is not supervised:
            shared = [seed for seed in trained.test if seed in supervised.test]
            base = sum(supervised.test[seed] for seed in shared) / len(shared) if shared else None
            if base is not None and teacher > base:
                gap = (sum(trained.test[seed] for seed in shared) / len(shared) - base) / (teacher - base)
        table.append(
            (
                trained.method,
                str(len(trained.test)),
                str(trained.epochs),
                f"{trained.cost / supervised.cost:.1f}" if supervised else "–",
                *(_mean(values) for values in (trained.val, trained.test, trained.test_best)),
                *(_difference(trained, control) for control in (supervised, controls.get("pkd"), best)),
                "–" if gap is None else f"{round(100 * gap)} %",
            )
        )
    return table


def to_rich(title: str, teacher: float, methods: Sequence[MethodScores]) -> Table:
    """Make the table for the terminal, with the columns that fit into 80 characters."""
    shown = ("method", "seeds", "epochs", "cost", "test", "vs supervised", "vs pkd", "gap recovered")
    return make_table(title, shown, [[row[COLUMNS.index(column)] for column in shown] for row in rows(teacher, methods)])


def to_sheet(title: str, teacher: float, methods: Sequence[MethodScores]) -> TableData:
    """Make the whole table as data."""
    return TableData(title, COLUMNS, rows(teacher, methods))


def _mean(values: Mapping[int, float]) -> str:
    if not values:
        return "–"
    mean, half = interval(list(values.values()))
    return f"{100 * mean:.1f}" + ("" if half is None else f" ± {100 * half:.1f}")


def _difference(trained: MethodScores, control: MethodScores | None) -> str:
    if control is None or trained is control:
        return "–"
    pairs = [trained.test[seed] - control.test[seed] for seed in trained.test if seed in control.test]
    if not pairs:
        return "–"
    mean, half = interval(pairs)
    return f"{round(100 * mean, 1) + 0.0:+.1f}" + ("" if half is None else f" ± {100 * half:.1f}")
