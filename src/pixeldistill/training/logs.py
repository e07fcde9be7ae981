"""Table of a training, `metrics.csv`: one row an epoch."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from pixeldistill.storage.files import write_file
from pixeldistill.storage.records import read_history

DROWNING = 0.95  # a term with a larger share of the loss leaves almost nothing to the others
WORSE = 1.02  # times the loss of guessing, which a fresh network has within 2 %

Row = Mapping[str, float]


def terms_of(means: Row) -> dict[str, float]:
    """Return every term's weighted mean and its share of the loss, as columns."""
    terms = {name: value for name, value in means.items() if name != "loss"}
    shares = {f"share_{name}": value / means["loss"] if means["loss"] else 0.0 for name, value in terms.items()}
    return {**terms, **shares}


def drowning(row: Row) -> str | None:
    """Return a warning about a term that dominates the loss.

    >>> drowning({"share_pkd": 0.01, "share_isrd": 0.99})
    'warning: term isrd makes 99% of the loss and drowns the others: lower its weight, or raise theirs'
    >>> drowning({"share_pkd": 0.4, "share_isrd": 0.6})
    >>> drowning({"share_supervised": 1.0})
    """
    shares = {name.removeprefix("share_"): value for name, value in row.items() if name.startswith("share_")}
    if len(shares) < 2 or max(shares.values()) <= DROWNING:
        return None
    name = max(shares, key=lambda term: shares[term])
    return f"warning: term {name} makes {shares[name]:.0%} of the loss and drowns the others: lower its weight, or raise theirs"


def worse_than_guessing(row: Row, chance: Row) -> str | None:
    """Return a warning if a loss with the labels is worse than guessing, as a fresh network is not: its training is too fast.

    Args:
        row: an epoch's means.
        chance: for each term that has such a value, the mean of a network that gives every class the same probability.

    >>> worse_than_guessing({"supervised": 1.9}, {"supervised": 1.79})
    'warning: after an epoch supervised is 1.9, and guessing has 1.79: lower schedule.lr or schedule.clip_grad'
    >>> worse_than_guessing({"supervised": 1.2}, {"supervised": 1.79})
    """
    name = next((name for name, value in chance.items() if row[name] > WORSE * value), None)
    if name is None:
        return None
    said = f"after an epoch {name} is {row[name]:.3g}, and guessing has {chance[name]:.3g}"
    return f"warning: {said}: lower schedule.lr or schedule.clip_grad"


def write_csv(path: Path, history: Sequence[Row]) -> None:
    """Write the whole history again. It comes from the checkpoint's state, so that a crash causes no duplicate rows."""
    columns = list(history[-1])
    lines = [",".join(columns), *(",".join(f"{row.get(c, math.nan):.8g}" for c in columns) for row in history)]
    write_file(path, "\n".join(lines) + "\n")


def read_column(path: Path, name: str) -> list[float]:
    """Read a column of `write_csv`'s file. Raise RunError if it is damaged."""
    return [row[name] for row in read_history(path) if name in row]
