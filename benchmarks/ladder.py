"""Draw a ladder: one point for each step from a plain student to the default, with what the step adds.

python benchmarks/ladder.py docs/images/ladder.png "supervised, 10 epochs=65.9" "PKD, 24 epochs=73.0" --top "teacher at 224=86.9"
"""

import argparse

from matplotlib.figure import Figure

INK, TOP = "#2a7de1", "#5b6570"


def draw(path: str, steps: list[tuple[str, float]], top: tuple[str, float]) -> None:
    """Write the figure: a point for each step, from top to bottom, and a line for the network that the student learns from."""
    figure = Figure(figsize=(8, 0.5 * len(steps) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    for row, (_, value) in enumerate(steps):
        before = steps[max(row - 1, 0)][1]
        axes.plot([before, before, value], [max(row - 1, 0), row, row], color=INK, linewidth=2)
        axes.plot(value, row, "o", color=INK)
        change = "" if row == 0 else f"  ({value - before:+.1f})"
        axes.annotate(f"{value:.1f}{change}", (value, row), (7, 5), textcoords="offset points")
    axes.axvline(top[1], color=TOP, linestyle="--")
    axes.set_title(f"{top[0]}: {top[1]:.1f}", color=TOP, fontsize=10, loc="right")
    axes.set_yticks(range(len(steps)), [name for name, _ in steps])
    axes.invert_yaxis()
    axes.margins(x=0.08, y=0.15)
    axes.set_xlabel("top-1 on test in %")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def _step(text: str) -> tuple[str, float]:
    name, _, value = text.rpartition("=")
    return name, float(value)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path")
    parser.add_argument("steps", nargs="+", type=_step)
    parser.add_argument("--top", required=True, type=_step)
    said = parser.parse_args()
    draw(said.path, said.steps, said.top)
