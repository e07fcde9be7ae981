"""Curves and fronts of a page, as SVG. No torch."""

import base64
import io
from collections.abc import Sequence
from typing import Any

from pixeldistill.display.metric_names import metric_title
from pixeldistill.report.collect import Run, StageOfRun

COLOURS = (
    "#4363d8",
    "#e6194b",
    "#3cb44b",
    "#f58231",
    "#911eb4",
    "#008080",
    "#9a6324",
    "#808000",
    "#f032e6",
    "#000075",
    "#777777",
)
MARKERS = ("o", "s", "^")
SPREAD = 1.1  # costs count as equal within this factor
COSTS = {"bytes": "bytes an image", "macs": "MACs", "parameters": "parameters"}


def _figure(width: float = 6.4, height: float = 3.8) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(width, height), layout="constrained")
    plot = drawing.subplots()
    plot.grid(visible=True, alpha=0.3)
    return drawing, plot


def _uri(drawing: Any) -> str:  # noqa: ANN401
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.BytesIO()
    FigureCanvasSVG(drawing).print_svg(buffer)  # type: ignore[no-untyped-call]
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def curves(run: Run, column: str, title: str, *, percent: bool) -> str | None:
    """Draw a column of every stage's metrics by epoch: the mean over seeds, and each seed as a faint line."""
    from matplotlib.ticker import MaxNLocator

    drawing, plot = _figure()
    drawn = False
    for place, stage in enumerate(run.stages):
        histories = [[row[column] for row in t.history if column in row] for t in stage.trained]
        histories = [[100 * value for value in own] if percent else own for own in histories if own]
        if not histories:
            continue
        drawn, colour = True, COLOURS[place % len(COLOURS)]
        if len(histories) > 1:
            for own in histories:
                plot.plot(range(1, len(own) + 1), own, color=colour, alpha=0.25, lw=0.8)
        length = min(map(len, histories))
        mean = [sum(own[i] for own in histories) / len(histories) for i in range(length)]
        plot.plot(range(1, length + 1), mean, color=colour, label=stage.name, marker="." if length == 1 else None)
    if not drawn:
        return None
    plot.set_xlabel("epoch")
    plot.xaxis.set_major_locator(MaxNLocator(integer=True))
    plot.set_ylabel(title)
    if not percent:
        plot.set_yscale("log")
    drawing.legend(loc="outside right upper", fontsize=7)
    return _uri(drawing)


def fronts(run: Run) -> list[tuple[str, str]]:
    """Draw accuracy over every cost in which the stages differ, one point a stage. Return (title, picture)."""
    from matplotlib.ticker import EngFormatter, LogLocator

    name = metric_title(run.headline)
    found = []
    for cost, title in COSTS.items():
        points = [(stage, stage.first.figures[cost], score) for stage in run.stages if (score := _mean(stage)) is not None]
        values = [value for _, value, _ in points]
        if not values or max(values) < SPREAD * min(values):
            continue
        drawing, plot = _figure()
        for place, (stage, value, score) in enumerate(points):
            plot.scatter(value, 100 * score, color=COLOURS[place % len(COLOURS)], marker=MARKERS[place // len(COLOURS) % 3], s=26,
                         label=stage.name)  # fmt: skip
        plot.set_xscale("log")
        plot.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        for formatter in (plot.xaxis.set_major_formatter, plot.xaxis.set_minor_formatter):
            formatter(EngFormatter())
        plot.tick_params(axis="x", which="both", labelsize=8)
        plot.margins(x=0.1)
        plot.set_xlabel(title)
        plot.set_ylabel(f"{name} on {_split(run.stages[-1])} in %")
        drawing.legend(loc="outside right upper", fontsize=7)
        found.append((title, _uri(drawing)))
    return found


def _split(stage: StageOfRun) -> str:
    return "test" if "test" in stage.first.figures["last"] else "val"


def _mean(stage: StageOfRun) -> float | None:
    values: Sequence[float] = [v for t in stage.trained if (v := t.figure(_split(stage))) is not None]
    return sum(values) / len(values) if values else None
