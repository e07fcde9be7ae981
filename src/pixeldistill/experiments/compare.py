"""Comparing methods: trains the methods that the recipe compares, and measures the references."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, cast

from rich.console import Console

from pixeldistill.data.check import check_images
from pixeldistill.data.loading import default_workers
from pixeldistill.data.splits import Splits, load_splits
from pixeldistill.display.metric_names import decisive, metric_title
from pixeldistill.display.tables import TableData, Tables
from pixeldistill.errors import GivenUp, NetworkError, RecipeError
from pixeldistill.evaluation.evaluate import TestImages, evaluate
from pixeldistill.recipe.base import StageRef
from pixeldistill.recipe.camera import Camera
from pixeldistill.recipe.expand import expand, stage_name, teacher_of
from pixeldistill.recipe.load import parse_recipe
from pixeldistill.recipe.network import Network
from pixeldistill.recipe.recipe import Recipe
from pixeldistill.recipe.stage import Stage
from pixeldistill.report.comparison import MethodScores, notes, to_sheet
from pixeldistill.report.summary import by_stage
from pixeldistill.report.summary import to_markdown as summarise
from pixeldistill.runs.equal_compute import match_compute, training_cost
from pixeldistill.runs.execute import run_recipe
from pixeldistill.runs.passes import first_folders
from pixeldistill.runs.provenance import resolve, trained_input, weights_digest
from pixeldistill.runs.results import TrainingResult
from pixeldistill.storage.files import write_file, write_json
from pixeldistill.storage.records import write_sheets
from pixeldistill.storage.run_folder import COMPARISON, FIGURES, REFERENCES
from pixeldistill.tasks import task_of
from pixeldistill.tasks.networks import build_fresh, build_network
from pixeldistill.training.fabric import make_fabric


@dataclass(frozen=True)
class Comparison:
    """Result of a comparison: the methods of every student, and the references' `figure` (top-1 or mAP) on test.

    `teacher` is the teacher's figure at its own image size. `references` holds it, the assistants' figures, and the teacher's
    on the students' small images, enlarged. `failure` lists the trainings that were given up. The tables lack them.
    """

    figure: str
    students: Mapping[str, Sequence[MethodScores]]
    teacher: float
    references: Mapping[str, float]
    failure: GivenUp | None = None


def every_method(recipe: Recipe) -> Recipe:
    """Return the recipe with methods to compare. If it names none, take all methods that its networks and views allow.

    Raises:
        RecipeError: the recipe has `stages`, or no teacher, or no student.
    """
    if recipe.compare is not None:
        return recipe
    if recipe.stages or recipe.teacher is None or not recipe.all_students:
        raise RecipeError("comparing needs a `teacher` and a `student` (or `students`), and no `stages`")
    known = recipe.rules.methods(recipe.schedule.epochs)
    possible = {
        name
        for name, method in known.items()
        if not (recipe.augmentation.mixes and any(term.needs_hard_labels for term in method.terms or ()))
        and (not method.enlarge or all(_may_be_enlarged(student, recipe) for student in recipe.all_students))
        and (not method.stem_stride or all(_takes_a_stem(student, recipe) for student in recipe.all_students))
    }
    content = recipe.model_dump(mode="json", exclude_unset=True, exclude={"controls", "method"})
    return parse_recipe(content | {"compare": [name for name in known if name in possible]})


def _may_be_enlarged(student: Network, recipe: Recipe) -> bool:
    """Return whether a student's images can be enlarged to the teacher's image size."""
    assert recipe.teacher is not None
    larger = student.model_copy(update={"enlarge": recipe.teacher.built_for})
    return student.image_size < recipe.teacher.image_size and recipe.rules.may_be_enlarged(larger)


def _takes_a_stem(student: Network, recipe: Recipe) -> bool:
    """Return whether a network has a convolution whose stride can be set."""
    try:
        build_fresh(recipe.rules.complete(student.model_copy(update={"stem_stride": 1}), recipe), 2)
    except NetworkError:
        return False
    return True


def compare(
    recipe: Recipe, *, workers: int | None = None, accelerator: str = "auto", console: Console | None = None
) -> Comparison:
    """Train the methods that a recipe compares, with all seeds, and put the results in tables. Finished trainings are skipped.

    Writes `comparison.md` into the run folder. By default all methods get the same number of student updates (equal compute),
    except methods that set their own. `match_compute_of` gives as many updates as another method's whole training costs (see
    `equal`).

    Raises:
        PixelDistillError: as `run_recipe`.
    """
    recipe = every_method(recipe)
    if not load_splits(recipe.data).test:
        raise RecipeError("a comparison needs a test split: name one as data.test")
    console, failure = console or Console(), None
    try:
        results = run_recipe(recipe, workers=workers, accelerator=accelerator, console=console)
    except GivenUp as error:
        results, failure = cast(list[TrainingResult], error.results), error
    splits = check_images(load_splits(recipe.data), recipe.data, default_workers() if workers is None else workers)
    stages = match_compute(expand(recipe), len(splits.classes), len(splits.train))
    trained = {result.stage.name for result in results}
    if failure and not all(stage.name in trained for stage in stages if stage.name in _sources(stages)):
        raise failure
    references = _references(recipe, stages, splits, accelerator, workers)
    students = _students(recipe, stages, results, splits)
    found = Comparison(metric_title(recipe.rules.headline), students, references["teacher"], references, failure)
    write_sheets(recipe.run / COMPARISON, describe(found))
    figures = by_stage((result.stage.name, result.figures) for result in results)
    write_file(recipe.run / FIGURES, summarise(figures, str(recipe.run)))
    return found


def describe(comparison: Comparison) -> Tables:
    """Write a comparison as tables."""
    references = [[name, f"{100 * share:.1f}"] for name, share in comparison.references.items()]
    students = [to_sheet(label, comparison.teacher, methods) for label, methods in comparison.students.items()]
    return Tables([TableData("", ["reference", "test"], references), *students], notes(comparison.figure))


def _students(
    recipe: Recipe, stages: Sequence[Stage], results: Sequence[TrainingResult], splits: Splits
) -> dict[str, list[MethodScores]]:  # fmt: skip
    assert recipe.compare is not None
    by_name = {stage.name: stage for stage in stages}
    found: dict[str, list[MethodScores]] = {}
    for student in recipe.all_students:
        for method in recipe.compare:
            name = stage_name(method, student, recipe)
            own = [result for result in results if result.stage.name == name]
            cost = training_cost(by_name[name], by_name, len(splits.classes), len(splits.train))
            val, test, best = (
                {r.seed: decisive(r.figures[which][split]) for r in own if split in r.figures[which]}
                for which, split in (("last", "val"), ("last", "test"), ("best", "test"))
            )
            epochs, single = by_name[name].schedule.epochs, method in recipe.rules.single_losses()
            found.setdefault(student.label, []).append(MethodScores(method, epochs, cost, val, test, best, single))
    return found


def _sources(stages: Sequence[Stage]) -> set[str]:
    return {name for stage in stages for name in stage.sources}


def _measured_before(path: Path) -> dict[str, Any]:
    """Read figures that were measured in a former session. Unreadable figures are measured again."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    known = content.items() if isinstance(content, dict) else ()
    return {name: told for name, told in known if isinstance(told, dict) and isinstance(told.get("figure"), float)}


def _references(
    recipe: Recipe, stages: Sequence[Stage], splits: Splits, accelerator: str, workers: int | None
) -> dict[str, float]:
    """Measure the teacher and the assistants at their own image size, and the teacher on enlarged small images."""
    assert recipe.teacher is not None
    folders = first_folders(recipe, stages)
    teacher = teacher_of(recipe)
    if recipe.teacher.schedule:
        teacher = teacher.model_copy(update={"weights": StageRef("teacher")})
    wanted, numbers = {"teacher": teacher}, count(2)
    for stage in stages:
        if stage.teacher and stage.teacher not in wanted.values():
            name = f"assistant {recipe.rules.title(stage.teacher)}"
            wanted[f"{name} ({len(wanted)})" if name in wanted else name] = stage.teacher
        for other in (other for other in stage.other_teachers if other not in wanted.values()):
            wanted[f"teacher {next(numbers)}, {recipe.rules.title(other)}"] = other
    smaller = [student for student in recipe.all_students if _may_be_enlarged(student, recipe)]
    for student in sorted(smaller, key=lambda student: student.image_size):
        camera = student.camera or recipe.camera
        sent = f" ({camera.words})" if camera != Camera() else ""
        name = f"teacher on images of {student.image_size}{sent}, enlarged"
        wanted[name] = teacher.model_copy(
            update={"image_size": student.image_size, "camera": camera, "enlarge": teacher.built_for}
        )
    fabric = make_fabric(accelerator=accelerator)
    path = recipe.run / REFERENCES
    before = _measured_before(path)
    found = {}
    for name, network in wanted.items():
        key = {
            "network": network.model_dump(mode="json", exclude={"weights"}), "weights": weights_digest(network, folders),
            "data": splits.digest(),
        }  # fmt: skip
        if before.get(name, {}).get("key") != key:
            built = build_network(network, splits.classes, trained=True, weights=resolve(network.weights, folders))
            images = TestImages(
                splits.test,
                trained_input(network, folders),
                task_of(recipe),
                default_workers() if workers is None else workers,
                fabric,
            )
            before[name] = {"key": key, "figure": decisive(evaluate(built.to(fabric.device), images, fabric))}
            write_json(path, before)
        found[name] = float(before[name]["figure"])
    return found
