"""Command line. Each command only reads its arguments, calls one function and prints.

Each command imports what it needs when it runs, so that help and error messages for mistyped options appear at once.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console

from pixeldistill.cli.console import Overrides, Workers, first_process, need_torch, optional_recipe, say, say_json, share, table
from pixeldistill.cli.cost import cost, plan, show_choice
from pixeldistill.cli.deploy import export, predict, report
from pixeldistill.cli.start import Epochs, ImageSize, Start, Student, Teacher, init, recipe_for
from pixeldistill.display.metric_names import metric_title
from pixeldistill.display.tables import plain_output, show_table
from pixeldistill.display.text import one_line, reasons, shell_word
from pixeldistill.errors import GivenUp, Interrupted, NetworkError, PixelDistillError, RecipeError, RunError
from pixeldistill.failures import TRACEBACK, in_one_line
from pixeldistill.process import tune_process

if TYPE_CHECKING:
    from pixeldistill.recipe.recipe import Recipe
    from pixeldistill.runs.results import TrainingResult

STOPPED = 130
NEXT = "`pixeldistill report {run}`, `pixeldistill predict {run} {image}`, `pixeldistill export {run}`"

app = typer.Typer(
    help="Distil a large network on large images into a small network on small images.",
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
)  # fmt: skip

RecipeFile = Annotated[Path, typer.Argument(help="A recipe (YAML).", metavar="RECIPE")]
Accelerator = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Quick = Annotated[bool, typer.Option("--quick", help="Trial: one epoch a stage on 400 images of each split, in <run>-quick.")]


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


@app.command()
def train(
    recipe: RecipeFile,
    set_: Overrides = None,
    quick: Quick = False,
    workers: Workers = None,
    accelerator: Accelerator = "auto",
) -> None:
    """Train the recipe's stages that learn from labels alone (its teacher, its supervised student)."""
    _run(_load(recipe, set_, quick), supervised_only=True, workers=workers, accelerator=accelerator)


@app.command()
def distill(
    recipe: Annotated[Path, typer.Argument(help="A recipe (YAML), or a folder of images.", metavar="RECIPE|FOLDER")],
    set_: Overrides = None,
    quick: Quick = False,
    workers: Workers = None,
    accelerator: Accelerator = "auto",
    student: Student = None,
    image_size: ImageSize = None,
    teacher: Teacher = None,
    epochs: Epochs = None,
    weights: Start = None,
) -> None:
    """Train all stages of the recipe: its teacher if needed, the controls, the distilled student."""
    from pixeldistill.recipe.expand import expand

    of_folder = {"student": student, "image_size": image_size, "teacher": teacher, "epochs": epochs, "weights": weights}
    loaded = recipe_for(recipe, set_, quick=quick, workers=workers, **of_folder)
    if not any(stage.teacher for stage in expand(loaded)):
        raise RecipeError(f"{recipe} has no stage with a teacher: distilling needs teacher and student; use `train`")
    _run(loaded, supervised_only=False, workers=workers, accelerator=accelerator)
    if quick:
        say("a trial: one epoch on few images shows that everything runs; its figures mean nothing")


@app.command()
def compare(
    recipe: RecipeFile,
    set_: Overrides = None,
    quick: Quick = False,
    workers: Workers = None,
    accelerator: Accelerator = "auto",
) -> None:
    """Train the methods that the recipe compares, with all seeds, and put the results in a table; stop and go on as you like."""
    need_torch()
    from pixeldistill.experiments.compare import compare as run_comparison
    from pixeldistill.experiments.compare import every_method
    from pixeldistill.recipe.load import load_recipe
    from pixeldistill.recipe.quick import trial_of
    from pixeldistill.report.comparison import to_rich
    from pixeldistill.storage.run_folder import COMPARISON, FIGURES

    console, loaded = Console(), every_method(load_recipe(recipe, set_ or []))
    loaded = trial_of(loaded) if quick else loaded
    found = run_comparison(loaded, workers=workers, accelerator=accelerator, console=console)
    if first_process():
        for name, top1 in found.references.items():
            say(f"{name}: {share(top1)} on test")
        for label, methods in found.students.items():
            show_table(console, to_rich(label, found.teacher, methods))
        say(f"table: {loaded.run / COMPARISON}; costs and all figures: {loaded.run / FIGURES}")
    if found.failure:
        raise found.failure


@app.command()
def sweep(
    recipe: RecipeFile,
    set_: Overrides = None,
    quick: Quick = False,
    workers: Workers = None,
    accelerator: Accelerator = "auto",
    ray: Annotated[
        str | None, typer.Option(help="Train on a Ray cluster: auto, local or its address.", metavar="ADDRESS")
    ] = None,
    tasks: Annotated[int | None, typer.Option(min=1, help="With --ray: groups of students; by default one a GPU.")] = None,
) -> None:
    """Train the candidates that fit the recipe's budget, stop dominated ones early, and find the Pareto front."""
    need_torch()
    from pixeldistill.experiments.ray import on_ray
    from pixeldistill.experiments.sweep import sweep as run_sweep
    from pixeldistill.storage.run_folder import FRONTIER

    if tasks and not ray:
        raise RecipeError("--tasks divides the students of a cluster: name it by --ray")
    loaded = _load(recipe, set_, quick)
    cluster = on_ray(ray, tasks) if ray else None
    found = run_sweep(
        loaded, workers=workers, accelerator=accelerator, console=Console(), tell=show_choice, cluster=cluster
    )  # fmt: skip
    if first_process():
        for one in found.front:
            say(f"on the front: {one.label}: val {share(one.val)}, test {share(one.test)}")
        say(f"table: {loaded.run / FRONTIER}")
        for picture in found.pictures:
            say(f"picture: {picture}")
    if found.failures:
        raise RunError(reasons(found.failures))


@app.command()
def show(
    recipe: RecipeFile,
    set_: Overrides = None,
    as_stages: Annotated[bool, typer.Option("--stages", help="Print the stages as YAML, to be edited as `stages:`.")] = False,
    compared: Annotated[bool, typer.Option("--compare", help="What `compare` trains, if the recipe names no methods.")] = False,
) -> None:
    """Print the stages that the recipe stands for and, as a dry run, all tensor shapes."""
    from pixeldistill.recipe.expand import expand
    from pixeldistill.recipe.load import load_recipe, write_stages

    loaded = load_recipe(recipe, set_ or [])
    if compared:
        need_torch()
        from pixeldistill.experiments.compare import every_method

        loaded = every_method(loaded)
    if as_stages:
        print(write_stages(loaded), end="")
        return
    need_torch()
    from pixeldistill.runs.dry_run import (
        describe_passes,
        describe_schedule,
        describe_stage,
        disagreements,
        doubts,
        known_classes,
    )
    from pixeldistill.runs.equal_compute import match_compute
    from pixeldistill.tasks import task_of

    classes, images, data = known_classes(loaded)
    warnings = []
    if images is None:
        warnings += data
    else:
        for line in data:
            say(line)
    stages = match_compute(expand(loaded), len(classes), images)
    for number, stage in enumerate(stages, start=1):
        seeds = ", ".join(map(str, stage.seeds))
        say("")
        say(f"{number}. {stage.name}: seeds {seeds} → {loaded.run}/{number}-{stage.name}")
        for line in describe_stage(stage, len(classes), images):
            say(f"   {line}")
        say(f"   schedule: {describe_schedule(stage.schedule)}")
        warnings += doubts(stage, classes, images)
    for line in (*describe_passes(loaded, stages), *task_of(loaded).describe_coverage(loaded, stages)):
        say("")
        say(line)
    for warning in dict.fromkeys([*warnings, *disagreements(loaded, stages)]):
        say("")
        say(f"warning: {warning}")


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="A run folder, or a stage or seed folder in it.", metavar="RUN")],
    recipe: Annotated[
        Path | None, typer.Option(help="Measure on this recipe's data and camera instead of the run's own.")
    ] = None,
    set_: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, per-class accuracy included.")] = False,
    per_class: Annotated[bool, typer.Option(help="Print every class's accuracy, or AP.")] = False,
    workers: Workers = None,
    accelerator: Accelerator = "auto",
) -> None:
    """Measure a trained network on val and test, with its last and its best weights."""
    need_torch()
    from pixeldistill.evaluation.rerun import measure_run

    found = measure_run(run, optional_recipe(recipe, set_), workers=workers, accelerator=accelerator)
    if as_json:
        say_json({"run": str(found.folder), "classes": found.classes, "figures": found.figures})
        return
    measured = {(s, w): found.figures[w][s] for s in found.images for w in ("last", "best")}
    shared = [name for name in next(iter(measured.values())) if all(name in figures for figures in measured.values())]
    names = [name for name in shared if not any(isinstance(figures[name], list) for figures in measured.values())]
    rows = [
        [*place, str(found.images[place[0]]), *(f"{m[n]:.3f}" if n == "nll" else share(m[n]) for n in names)]
        for place, m in measured.items()
    ]
    table(f"{found.folder}", ["split", "epoch", "images", *(metric_title(name) for name in names)], rows)
    if per_class:
        shares = [[name, *(share(m["per_class"][i]) for m in measured.values())] for i, name in enumerate(found.classes)]
        table(f"{metric_title(names[0])} of each class", ["class", *(" ".join(place) for place in measured)], shares)


def _load(path: Path, overrides: list[str] | None, quick: bool) -> "Recipe":
    from pixeldistill.recipe.load import load_recipe
    from pixeldistill.recipe.quick import trial_of

    loaded = load_recipe(path, overrides or [])
    return trial_of(loaded) if quick else loaded


def _run(recipe: "Recipe", *, supervised_only: bool, workers: int | None, accelerator: str) -> None:
    need_torch()
    from pixeldistill.data.splits import load_splits
    from pixeldistill.recipe.expand import student_pairs
    from pixeldistill.report.summary import by_stage, gains, to_markdown, to_rich
    from pixeldistill.runs.execute import run_recipe
    from pixeldistill.runs.provenance import finished
    from pixeldistill.storage.files import write_file
    from pixeldistill.storage.run_folder import FIGURES, RECONSTRUCTION

    console, failure = Console(), None
    try:
        results = run_recipe(recipe, supervised_only=supervised_only, workers=workers, accelerator=accelerator, console=console)
    except GivenUp as error:
        results, failure = cast(list["TrainingResult"], error.results), error
    if first_process() and results:
        found = by_stage(finished(recipe))  # `train` leaves the lines of what `distill` has trained before
        remarks = gains(found, student_pairs(recipe))
        write_file(recipe.run / FIGURES, to_markdown(found, str(recipe.run), remarks))
        show_table(console, to_rich(found, str(recipe.run)))
        for remark in remarks:
            say(remark)
        for picture in (result.folder / RECONSTRUCTION for result in results):
            if picture.is_file():
                say(f"picture: {picture}")
        say(f"table: {recipe.run / FIGURES}")
        if not failure:
            image = next((str(s.path) for s in load_splits(recipe.data).test), "IMAGES")
            say(f"next: {NEXT.format(run=shell_word(str(recipe.run)), image=shell_word(image))}")
    if failure:
        raise failure


for command in (init, predict, cost, plan, export, report):
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
