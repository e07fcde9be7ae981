"""What the commands share: how they print, and what they refuse."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from pixeldistill.errors import PixelDistillError, RecipeError
from pixeldistill.reading import load_recipe
from pixeldistill.recipe import Recipe
from pixeldistill.tables import make_table, show_table

Overrides = Annotated[list[str] | None, typer.Option("--set", help="Override a setting: a.b.0.c=value.", metavar="KEY=VALUE")]
Workers = Annotated[int | None, typer.Option(min=0, help="Loader processes; by default cores − 1, four at most.")]


def first_process() -> bool:
    """Tell whether this is the process that prints."""
    return os.environ.get("RANK", "0") == "0"


def need_torch() -> None:
    """Refuse in one line what the base install cannot do."""
    from importlib.util import find_spec

    if find_spec("torch") is None:
        raise PixelDistillError("this command needs PyTorch: pip install 'pixeldistill[train]'")


def optional_recipe(recipe: Path | None, overrides: Sequence[str] | None) -> Recipe | None:
    """Load the recipe that `--recipe` names, if it names one."""
    if overrides and not recipe:
        raise RecipeError(f"--set {overrides[0]} changes a recipe: name it by --recipe")
    return load_recipe(recipe, overrides or ()) if recipe else None


def say(text: str) -> None:
    """Print a line as it is."""
    Console(soft_wrap=True, highlight=False, markup=False).print(text)


def table(title: str, columns: list[str], rows: list[list[str]], *, close: bool = False) -> None:
    """Print a table; see `tables.make_table`."""
    show_table(Console(), make_table(title, columns, rows, close=close))


def share(value: Any) -> str:  # noqa: ANN401
    """Write a fraction as percent."""
    return "–" if value is None else f"{100 * value:.1f} %"


def tell_errors(errors: list[str]) -> None:
    """Print what could not be done, and end with 2 if anything could not."""
    for error in errors:
        print(f"pixeldistill: {error}", file=sys.stderr)
    if errors:
        raise typer.Exit(2)
