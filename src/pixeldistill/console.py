"""What the commands share: how they print, and what they refuse."""

import os
import sys
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pixeldistill.errors import PixelDistillError

Workers = Annotated[int | None, typer.Option(min=0, help="Loader processes; by default cores − 1, four at most.")]


def first_process() -> bool:
    """Tell whether this is the process that prints."""
    return os.environ.get("RANK", "0") == "0"


def need_torch() -> None:
    """Refuse in one line what the base install cannot do."""
    from importlib.util import find_spec

    if find_spec("torch") is None:
        raise PixelDistillError("this command needs PyTorch: pip install 'pixeldistill[train]'")


def say(text: str) -> None:
    """Print a line as it is."""
    Console(soft_wrap=True, highlight=False, markup=False).print(text)


def table(title: str, columns: list[str], rows: list[list[str]], *, numbers: bool = False) -> None:
    """Print a table; one of numbers is set close, so that many columns fit, and all but its first column are not wrapped."""
    style: dict[str, Any] = {"box": SIMPLE_HEAD, "padding": (0, 0, 0, 1), "pad_edge": False} if numbers else {}
    made = Table(title=Text(title) if title else None, title_justify="left", **style)
    for place, column in enumerate(columns):
        right = numbers and all(row[place][:1].isdigit() for row in rows)
        made.add_column(Text(column), overflow="fold", no_wrap=numbers and right, justify="right" if right else "left")
    for row in rows:
        made.add_row(*map(Text, row))
    Console().print(made)


def share(value: Any) -> str:  # noqa: ANN401
    """Write a fraction as percent."""
    return "–" if value is None else f"{100 * value:.1f} %"


def tell_errors(errors: list[str]) -> None:
    """Print what could not be done, and end with 2 if anything could not."""
    for error in errors:
        print(f"pixeldistill: {error}", file=sys.stderr)
    if errors:
        raise typer.Exit(2)
