"""The command line. Thin: each command reads its arguments, calls one function and prints.

Nothing here imports torch until a command needs it.
"""

import json
import os
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pixeldistill.errors import GivenUp, Interrupted, NetworkError, PixelDistillError, RecipeError
from pixeldistill.expansion import expand
from pixeldistill.process import tune_process
from pixeldistill.reading import load_recipe, write_stages
from pixeldistill.recipe import Recipe
from pixeldistill.tasks.headline import TITLES
from pixeldistill.trial import trial_of
from pixeldistill.wording import in_words

if TYPE_CHECKING:
    from pixeldistill.predict import Predictor
    from pixeldistill.training.stages import Result

app = typer.Typer(
    help="Distil a large network on large images into a small network on small images.",
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
)  # fmt: skip

RecipeFile = Annotated[Path, typer.Argument(help="A recipe (YAML).", metavar="RECIPE")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="Override a setting: a.b.0.c=value.", metavar="KEY=VALUE")]
Workers = Annotated[int | None, typer.Option(min=0, help="Loader processes; by default cores − 1, four at most.")]
Accelerator = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Quick = Annotated[bool, typer.Option("--quick", help="Trial: one epoch a stage on 400 images, in <run>-quick.")]


class Which(StrEnum):
    """Which epoch's weights."""

    last = "last"
    best = "best"


@app.command()
def train(
    recipe: RecipeFile,
    set_: Overrides = None,
    quick: Quick = False,
    workers: Workers = None,
    accelerator: Accelerator = "auto",
) -> None:
    """Train the recipe's stages that learn from labels alone (its teacher, its student alone)."""
    _run(_load(recipe, set_, quick), supervised_only=True, workers=workers, accelerator=accelerator)


@app.command()
def distill(
    recipe: RecipeFile,
    set_: Overrides = None,
    quick: Quick = False,
    workers: Workers = None,
    accelerator: Accelerator = "auto",
) -> None:
    """Train all stages of the recipe: its teacher if need be, the controls, the distilled student."""
    loaded = _load(recipe, set_, quick)
    if not any(stage.teacher for stage in expand(loaded)):
        raise RecipeError(f"{recipe} has no stage with a teacher: distilling needs teacher and student; use `train`")
    _run(loaded, supervised_only=False, workers=workers, accelerator=accelerator)
    if quick:
        _print("a trial: one epoch on few images shows that everything runs; its figures mean nothing")


@app.command()
def compare(
    recipe: RecipeFile,
    set_: Overrides = None,
    quick: Quick = False,
    workers: Workers = None,
    accelerator: Accelerator = "auto",
) -> None:
    """Train the methods that the recipe compares, with all seeds, and tabulate them; stop and go on as you like."""
    _need_torch()
    from pixeldistill.report.comparison import to_rich
    from pixeldistill.training.compare import TABLE, every_method
    from pixeldistill.training.compare import compare as run_comparison

    console, loaded = Console(), every_method(load_recipe(recipe, set_ or []))
    loaded = trial_of(loaded) if quick else loaded
    found = run_comparison(loaded, workers=workers, accelerator=accelerator, console=console)
    if _first_process():
        for name, top1 in found.references.items():
            _print(f"{name}: {_share(top1)} on test")
        for label, methods in found.students.items():
            console.print(to_rich(label, found.teacher, methods))
        _print(f"table: {loaded.run / TABLE}")
    if found.failure:
        raise found.failure


@app.command()
def show(
    recipe: RecipeFile,
    set_: Overrides = None,
    as_stages: Annotated[bool, typer.Option("--stages", help="Print the stages as YAML, to be edited as `stages:`.")] = False,
) -> None:
    """Print the stages that the recipe stands for and, as a dry run, every shape that will meet."""
    loaded = load_recipe(recipe, set_ or [])
    if as_stages:
        print(write_stages(loaded), end="")
        return
    _need_torch()
    from pixeldistill.training.equal import settle
    from pixeldistill.training.inspect import (
        class_count,
        describe_coverage,
        describe_passes,
        describe_schedule,
        describe_stage,
        disagreements,
        doubts,
    )

    classes, images, data = class_count(loaded)
    _print(data)
    warnings = []
    stages = settle(expand(loaded), classes, images)
    for number, stage in enumerate(stages, start=1):
        seeds = ", ".join(map(str, stage.seeds))
        _print(f"\n{number}. {stage.name}: seeds {seeds} → {loaded.run}/{number}-{stage.name}")
        for line in describe_stage(stage, classes, images):
            _print(f"   {line}")
        _print(f"   schedule: {describe_schedule(stage.schedule)}")
        warnings += doubts(loaded, stage, images)
    for line in (*describe_passes(loaded, stages), *describe_coverage(loaded, stages)):
        _print(f"\n{line}")
    for warning in dict.fromkeys([*warnings, *disagreements(loaded, stages)]):
        _print(f"\nwarning: {warning}")


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="A run folder, or a stage or seed folder in it.", metavar="RUN")],
    recipe: Annotated[
        Path | None, typer.Option(help="Measure on this recipe's data and imaging instead of the run's own.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, per-class accuracy included.")] = False,
    per_class: Annotated[bool, typer.Option(help="Print every class's accuracy.")] = False,
    workers: Workers = None,
    accelerator: Accelerator = "auto",
) -> None:
    """Measure a trained network on val and test, for its last and its best epoch."""
    _need_torch()
    from pixeldistill.training.measure import measure_run

    found = measure_run(run, load_recipe(recipe) if recipe else None, workers=workers, accelerator=accelerator)
    if as_json:
        print(json.dumps({"run": str(found.folder), "classes": found.classes, "figures": found.figures}, indent=1))
        return
    measured = {(s, w): found.figures[w][s] for s in found.images for w in ("last", "best")}
    names = [name for name in TITLES if all(name in figures for figures in measured.values())]
    rows = [
        [*place, str(found.images[place[0]]), *(f"{m[n]:.3f}" if n == "nll" else _share(m[n]) for n in names)]
        for place, m in measured.items()
    ]
    _table(f"{found.folder}", ["split", "epoch", "images", *(TITLES[name] for name in names)], rows)
    if per_class:
        shares = [[name, *(_share(m["per_class"][i]) for m in measured.values())] for i, name in enumerate(found.classes)]
        _table(f"{TITLES[names[0]]} of each class", ["class", *(" ".join(place) for place in measured)], shares)


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="A run folder, or a stage or seed folder in it.", metavar="RUN")],
    files: Annotated[list[Path], typer.Argument(help="Images, or folders of them.", metavar="FILES...")],
    top: Annotated[int, typer.Option(min=1, help="How many classes to print for an image.")] = 3,
    weights: Annotated[Which, typer.Option(help="Which epoch's weights.")] = Which.last,
    least: Annotated[float, typer.Option(min=0, max=1, help="Detectors: least probability (0.05 or more).")] = 0.3,
    draw: Annotated[Path | None, typer.Option(help="Detectors: folder for pictures, else <seed>/predictions.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Predict images of any size with a trained network: their classes, or the objects in them."""
    _need_torch()
    from pixeldistill.predict import Predictor

    predictor = Predictor(run, weights.value)
    if predictor.detects:
        _tell_errors(_predict_objects(predictor, files, least, draw or predictor.folder / "predictions", as_json))
        return
    predictions = predictor.predict(files, top)
    if as_json:
        answers = [
            {"file": str(p.path), "error": p.error}
            if p.error
            else {"file": str(p.path), "classes": [{"class": c, "probability": round(q, 6)} for c, q in p.classes]}
            for p in predictions
        ]
        print(json.dumps(answers, indent=1, ensure_ascii=False))
    else:
        rows = [[str(p.path), *(f"{c} {100 * q:.1f} %" for c, q in p.classes)] for p in predictions if not p.error]
        if rows:
            _table(f"{predictor.folder}, {weights.value} epoch", ["file", *(f"{i}." for i in range(1, len(rows[0])))], rows)
    _tell_errors([p.error for p in predictions if p.error])


def _predict_objects(predictor: "Predictor", files: list[Path], least: float, folder: Path, as_json: bool) -> list[str]:
    """Find objects, draw them, print them; gives the errors of files that could not be read."""
    from pixeldistill.data.images import read_image
    from pixeldistill.report.boxes import draw_boxes, picture_names, save_png

    found = [d for d in predictor.detect(files, least)]
    read = [d for d in found if not d.error]
    names = picture_names([d.path for d in read])
    for detection, name in zip(read, names, strict=True):
        save_png(folder / name, draw_boxes(read_image(detection.path), detection.objects, predictor.classes))
    if as_json:
        answers = [
            {"file": str(d.path), "error": d.error}
            if d.error
            else {
                "file": str(d.path),
                "objects": [
                    {"class": c, "probability": round(q, 6), "box": [round(n, 2) for n in box]} for c, q, box in d.objects
                ],
            }
            for d in found
        ]
        print(json.dumps(answers, indent=1, ensure_ascii=False))
    else:
        rows = [[str(d.path), c, f"{100 * q:.1f} %", " ".join(f"{n:.0f}" for n in box)] for d in read for c, q, box in d.objects]
        _table(f"{predictor.folder}", ["file", "class", "probability", "x0 y0 x1 y1"], rows)
        _print(f"{in_words(len(read), 'picture')} with boxes: {folder}")
    return [d.error for d in found if d.error]


def _tell_errors(errors: list[str]) -> None:
    for error in errors:
        print(f"pixeldistill: {error}", file=sys.stderr)
    if errors:
        raise typer.Exit(2)


def _load(path: Path, overrides: list[str] | None, quick: bool) -> Recipe:
    loaded = load_recipe(path, overrides or [])
    return trial_of(loaded) if quick else loaded


def _run(recipe: Recipe, *, supervised_only: bool, workers: int | None, accelerator: str) -> None:
    _need_torch()
    from pixeldistill.files import write_file
    from pixeldistill.report.summary import by_stage, to_markdown, to_rich
    from pixeldistill.training.stages import run_recipe

    console, failure = Console(), None
    try:
        results = run_recipe(recipe, supervised_only=supervised_only, workers=workers, accelerator=accelerator, console=console)
    except GivenUp as error:
        results, failure = cast(list["Result"], error.results), error
    if _first_process() and results:
        found = by_stage((result.stage.name, result.figures) for result in results)
        write_file(recipe.run / "results.md", to_markdown(found, str(recipe.run)))
        console.print(to_rich(found, str(recipe.run)))
        for picture in (result.folder / "reconstruction.png" for result in results):
            if picture.is_file():
                _print(f"picture: {picture}")
        _print(f"table: {recipe.run / 'results.md'}")
    if failure:
        raise failure


def _first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _need_torch() -> None:
    """Refuse in one line what the base install cannot do."""
    from importlib.util import find_spec

    if find_spec("torch") is None:
        raise PixelDistillError("this command needs PyTorch: pip install 'pixeldistill[train]'")


def _print(text: str) -> None:
    Console(soft_wrap=True, highlight=False, markup=False).print(text)


def _table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    table = Table(title=Text(title) if title else None)
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)


def _share(value: Any) -> str:  # noqa: ANN401
    return "–" if value is None else f"{100 * value:.1f} %"


def run_command(call: Callable[[], Any]) -> int:
    """Run a command; gives the exit code: 2 and one line for what the user can mend, 130 when stopped."""
    try:
        call()
    except PixelDistillError as error:
        if _first_process() or not isinstance(error, RecipeError | NetworkError | Interrupted):  # those all processes have
            process = "" if _first_process() else f"process {os.environ['RANK']}: "
            print(f"pixeldistill: {process}{' '.join(str(error).split())}", file=sys.stderr)
        return 130 if isinstance(error, Interrupted) else 2
    except KeyboardInterrupt:
        print("pixeldistill: stopped; what was saved before is intact, and the same command goes on from there", file=sys.stderr)
        return 130
    return 0


def main() -> None:
    """Entry point of the program."""
    tune_process()
    sys.exit(run_command(app))


if __name__ == "__main__":
    main()
