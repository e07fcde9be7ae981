"""Page about runs: self-contained HTML that opens from a file. No torch."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pixeldistill.display.metric_names import metric_title
from pixeldistill.recipe.base import StageRef
from pixeldistill.recipe.card import NetworkCard
from pixeldistill.report.collect import FinishedTraining, Run, StageOfRun, collect, given
from pixeldistill.report.gallery import Mistake, Overlay, mistakes, overlays, picture_uri
from pixeldistill.report.plots import curves, fronts
from pixeldistill.report.summary import by_stage, columns, rows
from pixeldistill.storage.files import write_file
from pixeldistill.storage.run_folder import RECONSTRUCTION, REPORT, REPORTS
from pixeldistill.tasks import task_of

WORST = 8  # classes


def write_page(folders: Sequence[Path], out: Path | None = None) -> Path:
    """Write a page about run folders. Return its path.

    Args:
        folders: the run folders.
        out: the file to write. By default `report.html` in the run's folder, or `reports.html` in the first of several.

    Raises:
        RunError: a folder has no finished training.
    """
    from jinja2 import Environment, PackageLoader, select_autoescape

    runs = collect(folders)
    environment = Environment(
        loader=PackageLoader("pixeldistill", "report"), autoescape=select_autoescape(default=True), trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    page = environment.get_template("page.html.j2").render(runs=[_describe(run) for run in runs], version=version("pixeldistill"))
    out = out or folders[0] / (REPORT if len(folders) == 1 else REPORTS)
    write_file(out, page)
    return out


def _describe(run: Run) -> dict[str, Any]:
    figures = by_stage((stage.name, trained.figures) for stage in run.stages for trained in stage.trained)
    title = metric_title(run.headline)
    student = run.student
    teacher = _teacher(run, student)
    wrong: Sequence[Mistake] = []
    drawn: Sequence[Overlay] = []
    count = 0
    if teacher and student.first.predictions and teacher.predictions:
        wrong, count = mistakes(student.first, teacher)
        drawn = overlays(student.first, teacher)
    return {
        "name": run.folder.resolve().name,
        "task": run.task,
        "title": title,
        "columns": columns(figures),
        "rows": rows(figures),
        "curve": curves(run, f"val_{run.headline}", f"{title} on val in %", percent=True),
        "loss": curves(run, "loss", "loss", percent=False),
        "fronts": [] if run.frontier_pictures else fronts(run),  # a sweep has its own
        "swept": [picture_uri(path) for path in run.frontier_pictures],
        "found": run.tables,
        "rebuilt": [
            (f"{stage.name}, seed {t.seed}", picture_uri(path))
            for stage in run.stages
            for t in stage.trained[:1]
            if (path := t.folder / RECONSTRUCTION).is_file()
        ],
        "student": student.name,
        "teacher": teacher.card.stage if teacher else "",
        "mistakes": wrong,
        "mistake_count": count,
        "split": "test" if "test" in student.first.figures["last"] else "val",
        "overlays": drawn,
        "card": _card(run, student),
    }


def _teacher(run: Run, student: StageOfRun) -> FinishedTraining | None:
    """Return the network that the student is measured against: the run's first teacher, or the given network instead."""
    network = student.first.stage.teacher
    origin = network.weights if network else None
    stage = run.stage("teacher") or (run.stage(origin.name) if isinstance(origin, StageRef) else None)
    return stage.first if stage else given(origin) if isinstance(origin, str) else None


def _card(run: Run, student: StageOfRun) -> dict[str, Any]:
    """Describe the run's last student, in the form of a model card."""
    first = student.first
    card, stage, told = first.card, first.stage, first.figures
    split = "test" if "test" in told["last"] else "val"
    per_class = told["last"][split].get("per_class") or []
    known = [(name, share) for name, share in zip(card.classes, per_class, strict=False) if share is not None]
    noise = f", noise of {card.camera.noise:g} levels" if card.camera.noise else ""
    colour = "grey" if card.camera.colour == "grey" else "RGB"
    source = Path(card.data.root or "built in").name
    schedule = stage.schedule
    training = f"{schedule.epochs} epochs of {schedule.optimizer}, lr {schedule.lr:g}, batch {schedule.batch_size}"
    return {
        "facts": [
            ("network", f"{card.network}, {told['parameters']:,} parameters, {told['macs']:,} MACs an image"),
            ("input", f"{colour}, {_size(card)}, {card.camera.kernel}, antialiased{_crop(card, told)}; {_sent(told)}{noise}"),
            ("classes", f"{len(card.classes)}: {', '.join(card.classes[:12])}{', …' if len(card.classes) > 12 else ''}"),
            ("data", f"{card.data.format}, {source}; content {first.data_digest}"),
            ("trained", training),
            ("losses", ", ".join(f"{term.kind} × {term.weight:g}" for term in stage.terms)),
            ("start", str(stage.student.weights)),
            ("seeds", ", ".join(str(t.seed) for t in student.trained)),
            ("measured on", str(told.get("machine", "–"))),
        ],
        "split": split,
        "worst": sorted(known, key=lambda pair: pair[1])[:WORST],
    }


def _size(card: NetworkCard) -> str:
    return task_of(card).describe_input(card.image_size)


def _crop(card: NetworkCard, figures: dict[str, Any]) -> str:
    chosen = " (chosen on val)" if figures["crops"] else ""
    return f", crop {card.camera.centre:g}{chosen}" if task_of(card).rules.crops else ""


def _sent(figures: dict[str, Any]) -> str:
    return f"sent as {figures.get('encoding', 'raw')}, {figures.get('bytes', 0):,.0f} bytes on average"
