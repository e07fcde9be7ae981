"""Running a recipe: builds each stage, trains it, measures it, and records the result."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain

from rich.console import Console

from pixeldistill.data.check import check_images
from pixeldistill.data.describe import describe_data
from pixeldistill.data.loading import AHEAD, default_workers, shared_memory_notes
from pixeldistill.data.splits import load_splits
from pixeldistill.display.text import reasons
from pixeldistill.errors import Failure, GivenUp, RecipeError, RunError, failure_of
from pixeldistill.evaluation.evaluate import evaluate, predict
from pixeldistill.networks.adapter import Adapter
from pixeldistill.networks.weights.load import state_bytes
from pixeldistill.recipe.expand import expand
from pixeldistill.recipe.losses import SupervisedTerm, name_terms
from pixeldistill.recipe.network import Network
from pixeldistill.recipe.recipe import Recipe
from pixeldistill.recipe.stage import Stage
from pixeldistill.runs.build import RunContext, build_objective, build_stream, check_stage, teacher_networks
from pixeldistill.runs.equal_compute import match_compute
from pixeldistill.runs.passes import Training, first_folders, passes
from pixeldistill.runs.provenance import stage_record, trained_input
from pixeldistill.runs.results import (
    TrainingResult,
    crop_differs,
    measure_again,
    measure_trained,
    single_figures,
    supervised_on_val,
    test_images,
)
from pixeldistill.storage.claims import begun, check_record, claim
from pixeldistill.storage.files import PARTIAL, WatchedFolder, locked, remove_litter, write_json
from pixeldistill.storage.run_folder import DONE, renumber, stages_of
from pixeldistill.tasks import task_of
from pixeldistill.tasks.base import TaughtStudent
from pixeldistill.training.engine import fit
from pixeldistill.training.fabric import Fabric, make_fabric
from pixeldistill.training.loggers import check_loggers
from pixeldistill.training.objective import Objective
from pixeldistill.training.progress import Progress
from pixeldistill.training.stream import Stream
from pixeldistill.training.trainer import TrainingSpec


@dataclass(frozen=True)
class PreparedRun:
    """A checked recipe, ready to train: the shared state of its trainings, and which of them train side by side."""

    context: RunContext
    stages: Sequence[Stage]
    passes: Sequence[Sequence[Training]]


def run_recipe(
    recipe: Recipe,
    *,
    supervised_only: bool = False,
    workers: int | None = None,
    accelerator: str = "auto",
    console: Console | None = None,
) -> list[TrainingResult]:
    """Train all stages of a recipe, with every seed. Finished trainings are skipped, interrupted ones go on.

    Args:
        recipe: recipe to train.
        supervised_only: leave out the stages with a teacher, and the stages that start from such a stage.
        workers: number of loader processes. By default one less than the cores, at most four.
        accelerator: Lightning Fabric's name: auto, cpu, cuda, mps.
        console: where progress is written.

    Raises:
        PixelDistillError: see the errors of recipes, data, networks, weights and runs. Everything that can be checked is
            checked before the first step. GivenUp: a training diverged. It is raised when all others are finished, and holds
            their results.
    """
    names: set[str] = set()
    for stage in expand(recipe):  # in order: a stage comes after its sources
        if not supervised_only or (stage.teacher is None and names.issuperset(stage.sources)):
            names.add(stage.name)
    if not names:
        raise RecipeError("nothing to train from labels alone: use `pixeldistill distill`")
    work = prepare(recipe, names, workers=workers, accelerator=accelerator, console=console)
    with hold_run_folder(work, names):
        ended = train(work, names)
    results = [result for _, result in ended if isinstance(result, TrainingResult)]
    if failures := [failure_of(result) for _, result in ended if isinstance(result, RunError)]:
        raise GivenUp(reasons(failures), results)
    return results


def prepare(
    recipe: Recipe, names: Collection[str] | None = None, *, workers: int | None = None, accelerator: str = "auto",
    console: Console | None = None,
) -> PreparedRun:  # fmt: skip
    """Check the data and the stages to train (by default all), so that errors appear early.

    Raises:
        PixelDistillError: see `run_recipe`.
    """
    check_loggers(recipe.loggers)
    fabric = make_fabric(accelerator=accelerator)
    console = console or Console()
    console.quiet = console.quiet or not fabric.is_global_zero
    workers = default_workers() if workers is None else workers
    splits = check_images(load_splits(recipe.data), recipe.data, workers)
    stages = match_compute(expand(recipe), len(splits.classes), len(splits.train))
    context = RunContext(recipe, splits, first_folders(recipe, stages), workers, accelerator, console)
    for line in describe_data(splits):
        context.say(line)
    for stage in stages:
        if names is None or stage.name in names:
            check_stage(stage, {s.name: s for s in stages}, context, fabric)
    batch = max((stage.schedule.batch_size * 3 * stage.crop_size**2 for stage in stages), default=0)
    for note in shared_memory_notes(batch * AHEAD * workers):
        context.say(note)
    return PreparedRun(context, stages, passes(recipe, stages))


@contextmanager
def hold_run_folder(work: PreparedRun, names: Collection[str]) -> Iterator[None]:
    """Lock the run's folder, so that no other run writes to it, and renumber its stages' folders as in the recipe.

    Raises:
        RunError: another run holds the lock, or another recipe has begun a stage of these names. Nothing is changed then.
    """
    run, fabric = work.context.recipe.run, make_fabric(accelerator=work.context.accelerator)
    busy = f"{run} is in use by another run: wait for it, or choose another `run`"
    with locked(run, busy) if fabric.is_global_zero else nullcontext():
        if fabric.is_global_zero:
            _check_begun(work, names)
            remove_litter(run.rglob(f".*{PARTIAL}"), held=True)  # left by a process that was killed while writing
            renumber(run, [stage.name for stage in work.stages])
        fabric.barrier()
        yield


def _check_begun(work: PreparedRun, names: Collection[str]) -> None:
    """Raise RunError if another recipe has begun these stages, in whatever folders they are now."""
    context, stand = work.context, dict(stages_of(work.context.recipe.run))
    first = {stage.name: stand[stage.name] / f"seed-{stage.seeds[0]}" for stage in work.stages if stage.name in stand}
    for _, stage, seed, _ in chain.from_iterable(work.passes):
        told = stage.name in names and stage.name in stand  # skipped if a source is trained anew
        if told and all(source in first and (first[source] / DONE).is_file() for source in stage.sources):
            record = stage_record(stage, seed, context.recipe, context.splits, first)
            check_record(stand[stage.name] / f"seed-{seed}", record)


def train(
    work: PreparedRun, names: Collection[str], until: int | None = None
) -> list[tuple[Training, TrainingResult | RunError]]:
    """Train the stages of these names, in a run with `hold_run_folder`, by default to their end.

    Args:
        work: the prepared run.
        names: names of stages.
        until: epoch after which trainings stop for now.

    Returns:
        The results of the finished trainings, in the recipe's order.
    """
    ended: list[tuple[Training, TrainingResult | RunError]] = []
    folders, fabric = work.context.folders, make_fabric(accelerator=work.context.accelerator)
    for group in work.passes:
        chosen = [training for training in group if training.stage.name in names]
        # Other processes may not see the first process's files yet.
        can = fabric.broadcast([all((folders[s] / DONE).is_file() for s in training.stage.sources) for training in chosen])
        ready = [training for training, able in zip(chosen, can, strict=True) if able]
        for training in (training for training, able in zip(chosen, can, strict=True) if not able):
            ended.append((training, RunError(f"{training.title} was not trained: what it starts from was given up")))
        ended += _run_pass(ready, work.context, until)
    return sorted(ended, key=lambda pair: pair[0].order)


def failures_of(ended: Sequence[tuple[Training, TrainingResult | RunError]]) -> dict[str, Failure]:
    """Return the failures of trainings, by their stages' names."""
    return {training.stage.name: failure_of(result) for training, result in ended if isinstance(result, RunError)}


def fill_teacher_caches(work: PreparedRun, names: Collection[str]) -> None:
    """Fill the image cache and the teacher caches of these stages."""
    for group in work.passes:
        if trainings := [training for training in group if training.stage.name in names]:
            _build_pass(trainings, work.context)


def _run_pass(
    trainings: Sequence[Training], context: RunContext, until: int | None
) -> list[tuple[Training, TrainingResult | RunError]]:
    """Train the unfinished trainings of a pass side by side. Return the results of the trainings that have ended."""
    ended: list[tuple[Training, TrainingResult | RunError]] = []
    left = []
    for training in trainings:
        stage, seed, folder = training.stage, training.seed, training.folder
        record = stage_record(stage, seed, context.recipe, context.splits, context.folders)
        fabric = make_fabric(accelerator=context.accelerator)
        done = fabric.broadcast(claim(folder, record) if fabric.is_global_zero else None)
        if done and crop_differs(stage, done, context):
            crop = stage.student.input_spec.camera.crop
            context.say(f"{training.title}: measured again, with camera.crop {crop} for {done['crop']:g}; nothing is trained")
            done |= measure_again(training, context, fabric)
            if fabric.is_global_zero:
                write_json(folder / DONE, done)
            ended.append((training, TrainingResult(stage, seed, folder, done)))
        elif done:
            context.say(f"{training.title}: done before, {folder}")
            ended.append((training, TrainingResult(stage, seed, folder, done)))
        else:
            left.append(training)
    if not left:
        return ended
    fabric, objectives, stream = _build_pass(left, context)
    specs = [_training_spec(training, objective, context, fabric) for training, objective in zip(left, objectives, strict=True)]
    title = left[0].title if len(left) == 1 else f"{len(left)} networks side by side"
    held = WatchedFolder(context.recipe.run)
    with Progress(context.console, title) as progress:
        states = fit(fabric, specs, stream, left[0].stage.schedule, len(context.splits.train), progress, until)
    for training, objective, state in zip(left, objectives, states, strict=True):
        if isinstance(state, RunError):
            ended.append((training, state))
        elif state.epoch == training.stage.schedule.epochs:
            record = {
                "epochs": state.epoch,
                "best_epoch": state.best_epoch,
                "seconds": sum(row["seconds"] for row in state.history),
                "side_by_side": len(left),
            } | measure_trained(training, objective, context, fabric)
            if fabric.is_global_zero:
                held.check()
                write_json(training.folder / DONE, record)
            ended.append((training, TrainingResult(training.stage, training.seed, training.folder, record)))
    return ended


def _build_pass(trainings: Sequence[Training], context: RunContext) -> tuple[Fabric, list[Objective], Stream]:
    """Build students, terms, teacher and batches of a pass, and fill its teacher cache."""
    fabric = make_fabric(trainings[0].stage.schedule.precision, context.accelerator)
    teachers = teacher_networks(trainings, context)
    taught = [training for training in trainings if training.stage.teacher and not begun(training.folder)]
    for number, network in enumerate(teachers if taught else ()):
        for line in _describe_teacher(network.to(fabric.device), taught[0].stage.teachers[number], taught, context, fabric):
            context.say(line)
    objectives = [build_objective(training, teachers, context, fabric) for training in trainings]
    stream = build_stream(trainings, teachers, [objective.wanted for objective in objectives], context, fabric)
    return fabric, objectives, stream


def _describe_teacher(
    network: Adapter, teacher: Network, taught: Sequence[Training], context: RunContext, fabric: Fabric
) -> list[str]:  # fmt: skip
    """Measure a frozen teacher on val before its first use. Return lines about its accuracy."""
    images = test_images("val", trained_input(teacher, context.folders), context, fabric)
    stages = expand(context.recipe)
    students = [
        TaughtStudent(t.stage.name, t.stage.student, teacher, supervised_on_val(t.stage, stages, context.folders)) for t in taught
    ]
    return task_of(network).describe_teacher(
        f"{teacher.network} at {teacher.image_size}",
        lambda levels: predict(network, images, fabric, levels),
        [sample.label for sample in images.samples],
        context.splits.classes,
        students,
    )


def _training_spec(training: Training, objective: Objective, context: RunContext, fabric: Fabric) -> TrainingSpec:
    student = objective.student
    validation = test_images("val", training.stage.student.input_spec, context, fabric)
    guess = task_of(student).chance(len(context.splits.classes))
    with_labels = {name: term for name, term in name_terms(training.stage.terms).items() if isinstance(term, SupervisedTerm)}
    return TrainingSpec(
        name=training.title,
        objective=objective,
        deployed=student,
        validate=lambda network: single_figures(evaluate(network, validation, fabric)),
        select_by=context.recipe.rules.headline,
        serialise=lambda network: state_bytes(network.net),
        loggers=context.recipe.loggers,
        seed=training.seed,
        folder=training.folder,
        chance={name: term.weight * guess for name, term in with_labels.items() if guess and not term.warmup_epochs},
    )
