"""Command line. Each command only reads its arguments, calls one function and prints.

Each command imports what it needs when it runs, so that help and error messages for mistyped options appear at once.
"""

import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from pixeldistill.cli.console import first_process
from pixeldistill.cli.cost import cost, plan
from pixeldistill.cli.show import show
from pixeldistill.cli.start import init
from pixeldistill.cli.train import compare, distill, sweep, train
from pixeldistill.cli.trained import evaluate, export, predict, report
from pixeldistill.display.tables import plain_output
from pixeldistill.display.text import one_line
from pixeldistill.errors import Interrupted, NetworkError, PixelDistillError, RecipeError
from pixeldistill.failures import TRACEBACK, in_one_line
from pixeldistill.process import tune_process

STOPPED = 130

app = typer.Typer(
    help="Distil a large network on large images into a small network on small images.",
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
)  # fmt: skip


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"pixeldistill {version('pixeldistill')}")
        raise typer.Exit


@app.callback()
def pixeldistill(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Distil a large network on large images into a small network on small images."""


for command in (train, distill, compare, sweep, show, evaluate, init, predict, cost, plan, export, report):
    app.command()(command)


def run_command(call: Callable[[], Any]) -> int:
    """Run a command and return its exit code: 2 (and one line) for an error that the user can fix, 130 for an interruption."""
    try:
        try:
            call()
        except Exception as error:
            told = in_one_line(error)
            if told is None or told is error or os.environ.get(TRACEBACK):
                raise
            raise told from error
    except PixelDistillError as error:
        if first_process() or not isinstance(error, RecipeError | NetworkError | Interrupted):  # errors that all processes have
            process = "" if first_process() else f"process {os.environ['RANK']}: "
            print(f"pixeldistill: {process}{one_line(str(error))}", file=sys.stderr)
        return STOPPED if isinstance(error, Interrupted) else 2
    except (KeyboardInterrupt, SystemExit) as error:
        if isinstance(error, SystemExit) and error.code != STOPPED:  # Typer raises this on Ctrl-C
            raise
        print("pixeldistill: stopped; what was saved before is intact, and the same command goes on from there", file=sys.stderr)
        return STOPPED
    return 0


def main() -> None:
    """Entry point of the program."""
    tune_process()
    plain_output()
    sys.exit(run_command(app))
