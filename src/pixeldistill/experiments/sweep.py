"""Sweeps: training a recipe's candidates side by side to find which ones are worth their costs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from pixeldistill.cost.costs import Costs
from pixeldistill.cost.plan import NEAR
from pixeldistill.cost.selection import Selection, cost_of, list_students, select_students, with_students
from pixeldistill.data.check import readable_splits
from pixeldistill.data.splits import Splits
from pixeldistill.display.metric_names import decisive
from pixeldistill.display.tables import Tables
from pixeldistill.display.text import in_words
from pixeldistill.errors import Failure, RecipeError
from pixeldistill.experiments.halving import lost_students, rungs
from pixeldistill.experiments.ray import Cluster
from pixeldistill.recipe.expand import DISTILLED, stage_name
from pixeldistill.recipe.recipe import Recipe
from pixeldistill.recipe.search import Halving
from pixeldistill.report.frontier import Measured, draw_frontiers, front, to_csv, to_sheet
from pixeldistill.runs.execute import PreparedRun, failures_of, fill_teacher_caches, hold_run_folder, prepare, train
from pixeldistill.storage.files import write_file
from pixeldistill.storage.records import read_done, write_sheets
from pixeldistill.storage.run_folder import DONE, FRONT, FRONTIER, METRICS
from pixeldistill.training.fabric import make_fabric
from pixeldistill.training.logs import read_column
from pixeldistill.training.progress import counting

AXES = ("bytes", "macs")  # costs to compare students by if the budget names none


@dataclass(frozen=True)
class Sweep:
    """Result of a sweep: all students that were begun, the students on the front, their pictures, and the failures."""

    students: Sequence[Measured]
    front: Sequence[Measured]
    pictures: Sequence[Path]
    failures: Sequence[Failure]


class StoppedStudent(NamedTuple):
    """A student that was stopped early: after which epoch, and its figure on val then."""

    epoch: int
    val: float


def sweep(
    recipe: Recipe,
    *,
    workers: int | None = None,
    accelerator: str = "auto",
    console: Console | None = None,
    tell: Callable[[Selection], None] = lambda choice: None,
    cluster: Cluster | None = None,
) -> Sweep:
    """Train the candidates that fit a recipe's budget, stop dominated ones early, and find the Pareto front.

    The teacher, its cache and the assistants are shared and trained first. Then all students train up to an epoch after which
    some are stopped. The others train up to the next such epoch. Students with the same schedule train side by side. The choice
    of the stopped students depends only on the students' figures, so an interrupted sweep decides the same. Only the recipe's
    first seed is trained.

    Args:
        recipe: recipe with `candidates`.
        workers: see `run_recipe`.
        accelerator: see `run_recipe`.
        console: where progress is written.
        tell: called with the students that fit the budget, before training.
        cluster: where students are trained. By default in this process.

    Raises:
        RecipeError: there are no candidates, or none fits the budget.
        PixelDistillError: as `run_recipe`.
    """
    if recipe.candidates is None:
        raise RecipeError("a sweep needs `candidates`: {networks: [...], image_sizes: [...]}")
    console = console or Console()
    fabric = make_fabric(accelerator=accelerator)
    choice: Any = None
    if fabric.is_global_zero:
        choice = choose_students(recipe, readable_splits(recipe.data, workers), console)
        tell(choice)
    choice = fabric.broadcast(choice)  # each process would measure another latency
    chosen = with_students(recipe, [student for student, _ in choice.students]).model_copy(update={"seeds": recipe.seeds[:1]})
    labels = {stage_name(DISTILLED, student, chosen): student.label for student, _ in choice.students}
    costs = dict(zip(labels, (cost for _, cost in choice.students), strict=True))
    axes = tuple(recipe.budget) or tuple(axis for axis in AXES if all(getattr(c, axis) is not None for c in costs.values()))
    figure = recipe.rules.headline
    work = prepare(chosen, workers=workers, accelerator=accelerator, console=console)
    with hold_run_folder(work, {stage.name for stage in work.stages}):
        failures = failures_of(train(work, {stage.name for stage in work.stages} - costs.keys()))
        lost, more = _train_students(work, recipe.halving, costs, axes, figure, cluster)
    fabric.barrier()  # the first process writes what all processes read
    done = {name: path for name, folder in work.context.folders.items() if name in costs and (path := folder / DONE).is_file()}
    folders = {name: str(folder.relative_to(recipe.run)) for name, folder in work.context.folders.items()}
    measured = [_measured(labels[name], cost, done.get(name), lost.get(name), folders[name]) for name, cost in costs.items()]
    pictures: list[Path] = []
    if fabric.is_global_zero:
        write_sheets(recipe.run / FRONTIER, Tables([to_sheet(measured, figure, axes)]))
        write_file(recipe.run / FRONT, to_csv(measured, axes))
        pictures = draw_frontiers(recipe.run, measured, figure)
    return Sweep(measured, front(measured, axes), pictures, list((failures | more).values()))


def _train_students(
    work: PreparedRun,
    halving: Halving | None,
    costs: Mapping[str, Costs],
    axes: Sequence[str],
    figure: str,
    cluster: Cluster | None,
) -> tuple[dict[str, StoppedStudent], dict[str, Failure]]:
    """Train students up to one epoch of halving after another. Return the stopped students, and why others failed."""
    context = work.context
    images, epochs = len(context.splits.val), context.recipe.schedule.epochs
    paid = {name: [getattr(cost, axis) for axis in axes] for name, cost in costs.items()}
    fabric = make_fabric(accelerator=context.accelerator)

    def histories(until: int) -> dict[str, list[float]]:
        logs = {name: context.folders[name] / METRICS for name in costs}
        return {name: read_column(log, f"val_{figure}")[:until] for name, log in logs.items() if log.is_file()}

    lost: dict[str, StoppedStudent] = {}
    failures: dict[str, Failure] = {}
    going = sorted(costs, key=lambda name: -costs[name].macs)
    if cluster:
        fill_teacher_caches(work, going)  # once, instead of in every task
    if halving is None or len(costs) == 1:
        return lost, (cluster or _here)(work, going, epochs)
    for epoch in rungs(halving, epochs):
        reached = histories(epoch)
        failures |= (cluster or _here)(work, [name for name in going if len(reached.get(name, ())) < epoch], epoch)
        reached = histories(epoch)
        found = fabric.broadcast(lost_students(reached, paid, halving, epochs, images))
        for name in (name for name in going if name in found and name not in failures):
            lost[name] = StoppedStudent(found[name], reached[name][found[name] - 1])
            context.say(f"{name}: given up after epoch {found[name]} of {epochs}: others are better for no more")
        going = [name for name in going if name not in found and name not in failures]
        context.say(f"after epoch {epoch} of {epochs}: {len(going)} of {in_words(len(costs), 'student')} go on")
    return lost, failures | (cluster or _here)(work, going, epochs)


def _here(work: PreparedRun, names: Sequence[str], until: int) -> dict[str, Failure]:
    """Train students in this process."""
    return failures_of(train(work, names, until))


def choose_students(recipe: Recipe, splits: Splits, console: Console) -> Selection:
    """Measure a recipe's candidates and plan with them. The measurements are kept in the run folder."""
    assert recipe.candidates is not None
    listed = list_students(recipe.candidates, recipe.camera, recipe)
    done = 0
    with counting(console, "measuring", "pairs") as tell:

        def step() -> None:
            nonlocal done
            done += 1
            tell(done, len(listed))

        costed, refused = cost_of(
            listed, len(splits.classes), splits.train, latency="latency" in recipe.budget,
            fps=recipe.candidates.fps, cache=recipe.run / "costs", step=step,
        )  # fmt: skip
    return select_students(costed, refused, dict(recipe.budget), NEAR)


def _measured(label: str, cost: Costs, done: Path | None, lost: StoppedStudent | None, folder: str) -> Measured:
    if done is None:
        return Measured(label, cost, lost.val if lost else None, None, lost.epoch if lost else None, folder)
    last = read_done(done)["last"]
    return Measured(label, cost, decisive(last["val"]), decisive(last["test"]) if "test" in last else None, None, folder)
