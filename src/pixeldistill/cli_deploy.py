"""The commands around a deployment: what it pays, what is shipped, what that answers. Thin, as `cli`."""

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixeldistill.console import Workers, need_torch, say, say_json, share, table, tell_errors
from pixeldistill.errors import DataError, ExportError, RunError
from pixeldistill.tasks.headline import TITLES
from pixeldistill.wording import in_words, one_line

if TYPE_CHECKING:
    from pixeldistill.answers import Answering, Detection

TOP, LEAST = 3, 0.3  # what is told of an image


class Which(StrEnum):
    """Which epoch's weights."""

    last = "last"
    best = "best"


def predict(
    run: Annotated[Path, typer.Argument(help="A run folder, a stage or seed folder in it, or an exported file.", metavar="RUN")],
    files: Annotated[list[Path], typer.Argument(help="Images, or folders of them.", metavar="FILES...")],
    top: Annotated[int | None, typer.Option(min=1, help="Classifiers: how many classes to print for an image; 3.")] = None,
    weights: Annotated[Which | None, typer.Option(help="Of a run: which epoch's weights; by default the last's.")] = None,
    least: Annotated[
        float | None, typer.Option(min=0, max=1, help="Detectors: least probability, 0.3; under 0.05 none is kept.")
    ] = None,
    draw: Annotated[Path | None, typer.Option(help="Detectors: folder for pictures, else <seed>/predictions.")] = None,
    no_draw: Annotated[bool, typer.Option("--no-draw", help="Detectors: no pictures.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Predict images of any size with a trained network, or an exported one: their classes, or the objects in them."""
    from pixeldistill.answers import notes_on

    predictor = _open_network(run, weights)
    others = {"--top": top} if predictor.detects else {"--least": least, "--draw": draw, "--no-draw": no_draw or None}
    if said := [name for name, value in others.items() if value is not None]:
        what = "a detector" if predictor.detects else "a classifier"
        raise RunError(f"{said[0]}: {run} is {what}, which has no such option: leave it out")
    if draw and no_draw:
        raise RunError("--draw and --no-draw: leave one out")
    for note in notes_on(files, predictor.bits):
        print(one_line(note), file=sys.stderr)
    if predictor.detects:
        folder = None if no_draw else draw or predictor.pictures
        tell_errors(_predict_objects(predictor, files, LEAST if least is None else least, folder, as_json))
        return
    predictions = predictor.predict(files, top or TOP)
    if as_json:
        answers = [
            {"file": str(p.path), "error": p.error}
            if p.error
            else {"file": str(p.path), "classes": [{"class": c, "probability": round(q, 6)} for c, q in p.classes]}
            for p in predictions
        ]
        say_json(answers)
    else:
        rows = [[str(p.path), *(f"{c} {100 * q:.1f} %" for c, q in p.classes)] for p in predictions if not p.error]
        if rows:
            table(predictor.title, ["file", *(f"{i}." for i in range(1, len(rows[0])))], rows)
    tell_errors([p.error for p in predictions if p.error])


def export(
    run: Annotated[Path, typer.Argument(help="A run folder, or a stage or seed folder in it.", metavar="RUN")],
    out: Annotated[
        Path | None, typer.Option(help="The file; by default model.onnx (model-best.onnx) in the training's folder.")
    ] = None,
    weights: Annotated[Which, typer.Option(help="Which epoch's weights.")] = Which.last,
    int8: Annotated[bool, typer.Option("--int8", help="Also a file in 8-bit integers, calibrated on training images.")] = False,
    images: Annotated[
        Path | None, typer.Option(help="Folder of images to check with, where the run's data is not at hand.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Keep a file whose network says something else than PyTorch's.")] = False,
    workers: Workers = None,
) -> None:
    """Write a trained network as an ONNX file: 8-bit images of any size in, answers out; checked against PyTorch."""
    need_torch()
    from pixeldistill.export.run import export_run

    for written in export_run(run, out, weights=weights.value, images=images, int8=int8, workers=workers, force=force):
        say(f"{written.path}: {written.precision}, {written.bytes / 1e6:.2f} MB")
        if written.precision == "float32":
            parity = written.parity
            lost = f", {100 * parity.unmatched:.1f} % of {in_words(parity.objects, 'object')} unmatched" if parity.objects else ""
            say(
                f"  against PyTorch on {in_words(parity.images, 'image')}: network {parity.raw:.1e} (relative), "
                f"probabilities {parity.answer:.1e} from file to answer{lost}"
            )
        for split, figures in written.figures.items():
            name = next(n for n in TITLES if n in figures)
            say(f"  {split}: {TITLES[name]} {share(figures[name])}")
        for warning in written.warnings:
            say(f"  warning: {warning}")


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


def _open_network(run: Path, weights: Which | None) -> "Answering":
    """Open what can be asked: an exported file needs no PyTorch."""
    if run.suffix.lower() == ".onnx":
        if weights:
            raise ExportError(f"{run} holds the weights that it was exported with: leave out --weights")
        from pixeldistill.exported import ExportedModel

        return ExportedModel(run)
    need_torch()
    from pixeldistill.predict import Predictor

    return Predictor(run, (weights or Which.last).value)


def _predict_objects(
    predictor: "Answering", files: list[Path], least: float, folder: Path | None, as_json: bool
) -> list[str]:  # fmt: skip
    """Find objects, draw them into a folder, print them; gives the errors of files that could not be read."""
    if folder:
        _check_apart(folder, files)
    found = predictor.detect(files, least)
    read = [d for d in found if not d.error]
    if folder:
        _draw_objects(read, folder, predictor)
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
        say_json(answers)
    else:
        rows = [[str(d.path), c, f"{100 * q:.1f} %", " ".join(f"{n:.0f}" for n in box)] for d in read for c, q, box in d.objects]
        if rows:
            table(predictor.title, ["file", "class", "probability", "x0 y0 x1 y1"], rows)
        elif read:
            say(f"{predictor.title}: nothing found with a probability of {share(least)} or more (--least)")
        if folder:
            say(f"{in_words(len(read), 'picture')} with what was found: {folder}")
    return [d.error for d in found if d.error]


def _check_apart(folder: Path, files: list[Path]) -> None:
    """Refuse to draw into a folder whose images are asked about: the next call would ask about the pictures too."""
    from pixeldistill.answers import list_images

    asked = [path.resolve() for path in files if path.is_dir()]
    beside = {path.parent.resolve() for path in list_images(files)}
    if folder.resolve() in beside or any(folder.resolve().is_relative_to(place) for place in asked):
        raise DataError(f"the pictures would stand among the images themselves, in {folder}: name another folder as --draw")


def _draw_objects(found: "Sequence[Detection]", folder: Path, predictor: "Answering") -> None:
    from pixeldistill.data.images import read_image
    from pixeldistill.report.boxes import draw_boxes, picture_names, save_png

    for detection, name in zip(found, picture_names([d.path for d in found]), strict=True):
        save_png(folder / name, draw_boxes(read_image(detection.path, bits=predictor.bits), detection.objects, predictor.classes))
