"""Pareto front: students that no other student beats at the same or lower cost. No torch."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pixeldistill.cost.costs import Costs, write_quantity
from pixeldistill.display.metric_names import metric_title
from pixeldistill.display.tables import TableData
from pixeldistill.recipe.budget import AXES
from pixeldistill.storage.files import write_file


class Measured(NamedTuple):
    """A student of a sweep: its costs and its figures on val and test, or the epoch after which it was stopped."""

    label: str
    costs: Costs
    val: float | None
    test: float | None
    given_up: int | None
    folder: str = ""  # of its training, relative to the run folder


def front(measured: Sequence[Measured], axes: Sequence[str]) -> list[Measured]:
    """List the fully trained students that no student beats on val without costing more, cheapest first.

    With several axes, a student that costs more on any of them does not count as cheaper. The test split is not used for the
    choice.
    """
    ended = [m for m in measured if m.given_up is None and m.val is not None]

    def beaten(one: Measured) -> bool:
        return any(_better(other, one, axes) for other in ended if other is not one)

    kept = [one for one in ended if not beaten(one)]
    return sorted(kept, key=lambda one: [getattr(one.costs, axis) for axis in axes])


def _better(one: Measured, other: Measured, axes: Sequence[str]) -> bool:
    assert one.val is not None and other.val is not None
    pairs = [(getattr(one.costs, axis), getattr(other.costs, axis)) for axis in axes]
    if one.val < other.val or any(a > b for a, b in pairs):
        return False
    return one.val > other.val or any(a < b for a, b in pairs)


def to_sheet(measured: Sequence[Measured], figure: str, axes: Sequence[str]) -> TableData:
    """Make a table of the front over all axes, then of all other students."""
    names = [axis for axis in AXES if any(getattr(m.costs, axis) is not None for m in measured)]
    on_front = front(measured, axes)
    title = f"Front of {metric_title(figure)} on val against {', '.join(AXES[a].title for a in axes)}; test chooses nothing."
    rows = []
    rest = sorted((m for m in measured if m not in on_front), key=lambda m: -(m.val or 0))
    for one in (*on_front, *rest):
        costs = (write_quantity(a, getattr(one.costs, a)) for a in names)
        note = f"given up after epoch {one.given_up}" if one.given_up else "" if one.val is not None else "failed"
        sign = "•" if one in on_front else ""
        rows.append([sign, f"{one.label}, {one.costs.camera}", *costs, share(one.val), share(one.test), note])
    return TableData(title, ["front", "student", *(AXES[a].title for a in names), "val", "test", ""], rows)


def to_csv(measured: Sequence[Measured], axes: Sequence[str]) -> str:
    """Write all students as CSV, in base units. Those on the front come first, cheapest first."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["student", "front", "network", "image_size", "camera", *AXES, "val", "test", "given_up", "folder"])
    best = front(measured, axes)
    for one in (*best, *(m for m in measured if m not in best)):
        costs = [getattr(one.costs, axis) for axis in AXES]
        head = [one.label, int(one in best), one.costs.network, one.costs.image_size, one.costs.camera]
        writer.writerow([*head, *costs, one.val, one.test, one.given_up, one.folder])
    return buffer.getvalue()


def draw_frontiers(folder: Path, measured: Sequence[Measured], figure: str) -> list[Path]:
    """Draw the front over every measured cost. Return the pictures' files."""
    ended = [m for m in measured if m.given_up is None and m.val is not None]
    axes = [axis for axis in AXES if ended and all(getattr(m.costs, axis) is not None for m in ended)]
    paths = []
    for axis in axes:
        path = folder / f"frontier-{axis}.png"
        write_file(path, _picture(measured, axis, figure))
        paths.append(path)
    return paths


def _picture(measured: Sequence[Measured], axis: str, figure: str) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, LogLocator

    drawing = Figure(figsize=(6.4, 4.2), layout="constrained")
    plot = drawing.subplots()
    best = front(measured, (axis,))
    plot.step(
        [getattr(m.costs, axis) for m in best], [100 * (m.val or 0) for m in best], where="post", color="#4363d8", lw=1, zorder=1
    )
    for one in measured:
        if one.val is None:
            continue
        style = _KINDS["val when given up" if one.given_up else "val"] | ({"color": "#4363d8"} if one in best else {})
        x = getattr(one.costs, axis)
        plot.scatter(x, 100 * one.val, s=28, zorder=2, **style)
        if one.test is not None:
            plot.scatter(x, 100 * one.test, s=18, zorder=2, **_KINDS["test"])
    for x, y, label in labels(best, axis):
        plot.annotate(label, (x, y), xytext=(4, -10), textcoords="offset points", fontsize=7)
    plot.set_xscale("log")
    for ticks in (plot.xaxis.set_major_formatter, plot.xaxis.set_minor_formatter):
        ticks(EngFormatter(unit=AXES[axis].unit))
    plot.tick_params(axis="x", which="both", labelsize=8)
    plot.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    plot.set_xlabel(AXES[axis].title)
    plot.set_ylabel(f"{metric_title(figure)} in %")
    plot.set_title(f"front (blue) for {AXES[axis].title} alone", fontsize=9)
    for text, style in _KINDS.items():
        plot.scatter([], [], s=24, label=text, **style)
    drawing.legend(loc="outside lower center", ncols=3, fontsize=7)
    plot.grid(visible=True, which="major", alpha=0.3)
    buffer = io.BytesIO()
    FigureCanvasAgg(drawing).print_png(buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue()


_KINDS: dict[str, dict[str, Any]] = {
    "val": {"marker": "o", "color": "#888888"},
    "val when given up": {"marker": "o", "facecolors": "none", "edgecolors": "#888888"},
    "test": {"marker": "x", "color": "#e6194b"},
}


def labels(best: Sequence[Measured], axis: str) -> list[tuple[float, float, str]]:
    """Return position and text of the labels on a front. Students at the same position share one label."""
    found: dict[tuple[float, float], list[str]] = {}
    for one in best:
        found.setdefault((getattr(one.costs, axis), 100 * (one.val or 0)), []).append(one.label)
    return [(*place, f"{labels[0]} and {len(labels) - 1} more" if labels[1:] else labels[0]) for place, labels in found.items()]


def share(value: float | None) -> str:
    """Write a share as a percentage, without the sign."""
    return "–" if value is None else f"{100 * value:.1f}"
