"""Functions that the commands share: printing, and raising common errors."""

import json
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from pixeldistill.display.tables import make_table, show_table, write_line
from pixeldistill.display.text import in_json, one_line
from pixeldistill.errors import PixelDistillError, RecipeError
from pixeldistill.process import importing

if TYPE_CHECKING:
    from pixeldistill.recipe.recipe import Recipe

RecipeFile = Annotated[Path, typer.Argument(help="A recipe (YAML).", metavar="RECIPE")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="Override a setting: a.b.0.c=value.", metavar="KEY=VALUE")]
Accelerator = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Workers = Annotated[int | None, typer.Option(min=0, help="Loader processes; by default cores − 1, four at most.")]


def first_process() -> bool:
    """Return whether this is the process that prints."""
    return os.environ.get("RANK", "0") == "0"


def need_torch() -> None:
    """Raise if PyTorch is not installed. Otherwise import the modules that most commands need."""
    if find_spec("torch") is None:
        raise PixelDistillError("this command needs PyTorch: pip install 'pixeldistill[train]'")
    with importing():
        import timm  # noqa: F401


def optional_recipe(recipe: Path | None, overrides: Sequence[str] | None) -> "Recipe | None":
    """Load the recipe of the option `--recipe`, if it is given."""
    if overrides and not recipe:
        raise RecipeError(f"--set {overrides[0]} changes a recipe: name it by --recipe")
    if recipe is None:
        return None
    from pixeldistill.recipe.load import load_recipe

    return load_recipe(recipe, overrides or ())


def say(text: str) -> None:
    """Print a line unchanged."""
    write_line(Console(), text)


def say_json(value: Any) -> None:  # noqa: ANN401
    """Print a value as JSON. Use ASCII if the output's encoding is not UTF-8."""
    text = in_json(value)
    unicode = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")
    print(text if unicode else json.dumps(value, indent=1))


def table(title: str, columns: list[str], rows: list[list[str]], *, close: bool = False) -> None:
    """Print a table; see `display.tables.make_table`."""
    show_table(Console(), make_table(title, columns, rows, close=close))


def share(value: Any) -> str:  # noqa: ANN401
    """Write a fraction as a percentage."""
    return "–" if value is None else f"{100 * value:.1f} %"


def tell_errors(errors: list[str]) -> None:
    """Print the errors. If there are any, exit with code 2."""
    for error in errors:
        print(f"pixeldistill: {one_line(error)}", file=sys.stderr)
    if errors:
        raise typer.Exit(2)
