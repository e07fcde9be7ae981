"""Commands for a trained network: evaluate, predict, export, report."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pixeldistill.cli.console import (
    Accelerator,
    Overrides,
    Workers,
    need_torch,
    optional_recipe,
    say,
    say_json,
    share,
    table,
    tell_errors,
)
from pixeldistill.display.metric_names import headline, metric_title
from pixeldistill.display.text import in_words, one_line
from pixeldistill.errors import DataError, ExportError, RunError

if TYPE_CHECKING:
    from pixeldistill.inference.results import ImagePredictor
    from pixeldistill.tasks.base import Result

TOP, MIN_SCORE = 3, 0.3  # limits of the printed predictions

WhichEpoch = Literal["last", "best"]


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


def predict(
    run: Annotated[Path, typer.Argument(help="A run folder, a stage or seed folder in it, or an exported file.", metavar="RUN")],
    files: Annotated[list[Path], typer.Argument(help="Images, or folders of them.", metavar="FILES...")],
    top: Annotated[int | None, typer.Option(min=1, help="Classifiers: how many classes to print for an image; 3.")] = None,
    weights: Annotated[WhichEpoch | None, typer.Option(help="Of a run: which epoch's weights; by default the last's.")] = None,
    min_score: Annotated[
        float | None, typer.Option(min=0, max=1, help="Detectors: least probability, 0.3; under 0.05 none is kept.")
    ] = None,
    draw: Annotated[Path | None, typer.Option(help="Detectors: folder for pictures, else <seed>/predictions.")] = None,
    no_draw: Annotated[bool, typer.Option("--no-draw", help="Detectors: no pictures.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Predict images of any size with a trained or exported network: their classes, or the objects in them."""
    from pixeldistill.inference.results import notes_on

    predictor = _open_network(run, weights)
    own = predictor.task.predict_options
    said = {
        "--top": ("top", top),
        "--min-score": ("min_score", min_score),
        "--draw": ("draw", draw),
        "--no-draw": ("draw", no_draw),
    }
    if other := next((name for name, (option, value) in said.items() if value not in (None, False) and option not in own), None):
        raise RunError(f"{other}: {run} is {predictor.task.noun}, which has no such option: leave it out")
    if draw and no_draw:
        raise RunError("--draw and --no-draw: leave one out")
    for note in notes_on(files, predictor.bits):
        print(one_line(note), file=sys.stderr)
    folder = draw or predictor.pictures if "draw" in own and not no_draw else None
    if folder:
        _check_apart(folder, files)
    least = MIN_SCORE if min_score is None else min_score
    results = predictor.predict(files, top or TOP, least)
    read = [result for result in results if not result.error]
    if folder:
        _draw(read, folder, predictor)
    if as_json:
        say_json([{"file": str(r.path), "error": r.error} if r.error else predictor.task.to_json(r) for r in results])
    else:
        columns, rows = predictor.task.columns(read)
        if rows:
            table(predictor.title, columns, rows)
        elif read:
            say(f"{predictor.title}: nothing found with a probability of {share(least)} or more (--min-score)")
        if folder:
            say(f"{in_words(len(read), 'picture')} with what was found: {folder}")
    tell_errors([result.error for result in results if result.error])


def export(
    run: Annotated[Path, typer.Argument(help="A run folder, or a stage or seed folder in it.", metavar="RUN")],
    out: Annotated[
        Path | None, typer.Option(help="The file; by default model.onnx (model-best.onnx) in the training's folder.")
    ] = None,
    weights: Annotated[WhichEpoch, typer.Option(help="Which epoch's weights.")] = "last",
    int8: Annotated[bool, typer.Option("--int8", help="Also a file in 8-bit integers, calibrated on training images.")] = False,
    images: Annotated[
        Path | None, typer.Option(help="Folder of images to check with, where the run's data is not at hand.")
    ] = None,
    runtime: Annotated[str, typer.Option(help="What the file is for: onnx, or a runtime that a package of yours adds.")] = "onnx",
    force: Annotated[bool, typer.Option("--force", help="Keep a file whose network says something else than PyTorch's.")] = False,
    workers: Workers = None,
) -> None:
    """Export a trained network as an ONNX file: 8-bit images of any size in, predictions out; checked against PyTorch."""
    need_torch()
    from pixeldistill.exporting.run import export_run
    from pixeldistill.inference.runtimes import convert_to, runtime_named

    runtime_named(runtime)  # before any work
    for written in export_run(run, out, weights=weights, images=images, int8=int8, workers=workers, force=force):
        say(f"{written.path}: {written.precision}, {written.bytes / 1e6:.2f} MB")
        if written.precision == "float32":
            parity = written.parity
            lost = f", {100 * parity.unmatched:.1f} % of {in_words(parity.objects, 'object')} unmatched" if parity.objects else ""
            say(
                f"  against PyTorch on {in_words(parity.images, 'image')}: network {parity.raw:.1e} (relative), "
                f"probabilities {parity.prediction:.1e} from file to answer{lost}"
            )
        for split, figures in written.figures.items():
            name = headline(figures)
            say(f"  {split}: {metric_title(name)} {share(figures[name])}")
        for warning in written.warnings:
            say(f"  warning: {warning}")
        converted = convert_to(runtime, written.path)
        if converted != written.path:
            say(f"{converted}: for {runtime}")


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.", metavar="RUN...")],
    out: Annotated[
        Path | None,
        typer.Option(help="The page; by default report.html in the run's folder, reports.html in the first of several."),
    ] = None,
) -> None:
    """Write one self-contained page about runs: figures, curves, fronts, pictures, a model card."""
    need_torch()
    from pixeldistill.report.page import write_page

    say(f"page: {write_page(runs, out)}")


def _open_network(run: Path, weights: WhichEpoch | None) -> "ImagePredictor":
    """Load a network for prediction. An exported file needs no PyTorch."""
    from pixeldistill.inference.runtimes import open_exported

    if exported := open_exported(run):
        if weights:
            raise ExportError(f"{run} holds the weights that it was exported with: leave out --weights")
        return exported
    need_torch()
    from pixeldistill.inference.torch import Predictor

    return Predictor(run, weights or "last")


def _check_apart(folder: Path, files: list[Path]) -> None:
    """Raise DataError if pictures would be drawn into an image folder, because the next call would predict the pictures too."""
    from pixeldistill.inference.results import list_images

    asked = [path.resolve() for path in files if path.is_dir()]
    beside = {path.parent.resolve() for path in list_images(files)}
    if folder.resolve() in beside or any(folder.resolve().is_relative_to(place) for place in asked):
        raise DataError(f"the pictures would stand among the images themselves, in {folder}: name another folder as --draw")


def _draw(results: "Sequence[Result]", folder: Path, predictor: "ImagePredictor") -> None:
    from pixeldistill.data.images import read_image
    from pixeldistill.tasks.detection.drawing import picture_names, save_png

    for result, name in zip(results, picture_names([r.path for r in results]), strict=True):
        picture = predictor.task.draw(read_image(result.path, bits=predictor.bits), result, predictor.classes)
        if picture:
            save_png(folder / name, picture)
