"""Table of a run's figures. No torch."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.table import Table

from pixeldistill.display.metric_names import decisive, headline, metric_title
from pixeldistill.display.tables import make_table
from pixeldistill.statistics import interval

Figures = Mapping[str, Any]


def by_stage(figures: Iterable[tuple[str, Figures]]) -> dict[str, list[Figures]]:
    """Group the figures of trainings by their stage's name, in the given order.

    >>> by_stage([("supervised", {"seed": 0}), ("supervised", {"seed": 1})])
    {'supervised': [{'seed': 0}, {'seed': 1}]}
    """
    found: dict[str, list[Figures]] = {}
    for name, training in figures:
        found.setdefault(name, []).append(training)
    return found


COLUMNS = (
    "stage", "network", "image_size", "sent as", "bytes", "MACs", "parameters", "seeds",
    "val last", "val best", "test last", "test best",
)  # fmt: skip
# Of detectors, after the last epoch on test, or on val if there is no test split.
DETAILS = ("ap50", "voc_ap", "ap75", "ap_small", "ap_medium", "ap_large")


def columns(found: Mapping[str, Sequence[Figures]]) -> tuple[str, ...]:
    """Return the names of the table's columns."""
    return (*COLUMNS, *(metric_title(name) for name in DETAILS)) if _headline(found) == "map" else COLUMNS


def rows(found: Mapping[str, Sequence[Figures]]) -> list[tuple[str, ...]]:
    """Return one row a stage: its costs, and its top-1 (or mAP) for the last epoch and for the best one by validation."""
    table = []
    name = _headline(found)
    for stage, trainings in found.items():
        first = trainings[0]
        accuracies = []
        for split in ("val", "test"):
            for which in ("last", "best"):
                accuracies.append(_over_seeds(trainings, which, split, name))
        split = "test" if "test" in first["last"] else "val"
        accuracies += [_over_seeds(trainings, "last", split, detail) for detail in DETAILS if name == "map"]
        table.append(
            (
                stage, first["network"], str(first["image_size"]), first["encoding"], f"{first['bytes']:,.0f}",
                f"{first['macs'] / 1e6:.1f} M", f"{first['parameters'] / 1e6:.2f} M", str(len(trainings)), *accuracies,
            )
        )  # fmt: skip
    return table


def to_rich(found: Mapping[str, Sequence[Figures]], title: str) -> Table:
    """Make the table for the terminal, with the columns that fit into 80 characters."""
    shown = ("stage", "image_size", "bytes", "MACs", "parameters", "val last", "test last", "test best")
    caption = f"test and val: {metric_title(_headline(found))} in %, last epoch (best: the best epoch by val)" + _of_seeds(found)
    return make_table(title, shown, [[row[COLUMNS.index(column)] for column in shown] for row in rows(found)], caption)


def to_markdown(found: Mapping[str, Sequence[Figures]], title: str = "", remarks: Sequence[str] = ()) -> str:
    """Make the table in Markdown, for documents."""
    lines = [f"{title}: {metric_title(_headline(found))} in %, ± half of the 95 % interval over seeds\n"] if title else []
    names = columns(found)
    lines += ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(row) + " |" for row in rows(found)]
    return "\n".join([*lines, *(f"\n{remark}" for remark in remarks)]) + "\n"


def gains(found: Mapping[str, Sequence[Figures]], pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Describe in words each student's loss of accuracy against the teacher, and the part that distillation wins back.

    The figures are those of the table: the last epoch, on test or otherwise on val, as the mean over seeds.

    Args:
        found: figures by stage.
        pairs: for each student, its stage without a teacher and its distilled stage. Missing stages are skipped.

    >>> run = {name: [{"last": {"test": {"top1": v}, "val": {"top1": v}}}] for name, v in
    ...        (("teacher", 0.80), ("supervised", 0.68), ("distilled", 0.74))}
    >>> gains(run, [("supervised", "distilled")])
    ['distilled: from teacher to student costs 12.0 points of top-1 on test (80.0 → 68.0); distilling wins back 6.0 (50 %)']
    """
    lines = []
    for plain, taught in pairs:
        if not {"teacher", plain, taught} <= found.keys():
            continue
        split = "test" if all("test" in found[stage][0]["last"] for stage in ("teacher", plain, taught)) else "val"
        teacher, supervised, distilled = (100 * _mean(found[stage], split) for stage in ("teacher", plain, taught))
        lost, won = teacher - supervised, distilled - supervised
        what = f"{taught}: from teacher to student costs {lost:.1f} points of {metric_title(_headline(found))} on {split}"
        lines.append(f"{what} ({teacher:.1f} → {supervised:.1f}); distilling {_won_back(lost, won)}")
    return lines


def _won_back(lost: float, won: float) -> str:
    if lost <= 0 or won <= 0:
        return f"changes it by {won:+.1f}"
    return f"wins back {won:.1f} ({100 * won / lost:.0f} %)" if won <= lost else f"wins back all of it and {won - lost:.1f} more"


def _mean(trainings: Sequence[Figures], split: str) -> float:
    return sum(decisive(f["last"][split]) for f in trainings) / len(trainings)


def _headline(found: Mapping[str, Sequence[Figures]]) -> str:
    return headline(next(f["last"]["val"] for trainings in found.values() for f in trainings))


def _over_seeds(trainings: Sequence[Figures], which: str, split: str, name: str) -> str:
    values = [f[which][split][name] for f in trainings if split in f[which] and f[which][split][name] is not None]
    return _percent(*interval(values)) if values else "–"


def _of_seeds(found: Mapping[str, Sequence[Figures]]) -> str:
    most = max((len(trainings) for trainings in found.values()), default=0)
    if most < 2:
        return ""
    return "; ± is half of the 95 % interval over seeds" + (", which two seeds leave very wide" if most == 2 else "")


def _percent(mean: float, half: float | None) -> str:
    return f"{100 * mean:.1f}" + ("" if half is None else f" ± {100 * half:.1f}")
