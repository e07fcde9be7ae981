"""From a recipe to trained networks: builds each stage, fits it, measures it, records it."""

import contextlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Console
from torch import Tensor

from pixeldistill.cost.measure import macs, parameters
from pixeldistill.cost.transmission import bytes_per_image
from pixeldistill.data.boxes import Annotation
from pixeldistill.data.check import check_images
from pixeldistill.data.dataset import CameraImages
from pixeldistill.data.loading import default_workers
from pixeldistill.data.sources import Sample, load_splits
from pixeldistill.data.views import to_unit
from pixeldistill.errors import GivenUp, PixelDistillError, RecipeError, RunError
from pixeldistill.expansion import expand
from pixeldistill.files import locked, write_file, write_json
from pixeldistill.inputs import Camera
from pixeldistill.networks.detector import Detector
from pixeldistill.networks.trained import build_network
from pixeldistill.networks.weights import BEST, LAST, state_bytes
from pixeldistill.recipe import Recipe, Stage
from pixeldistill.report.pictures import save_reconstructions
from pixeldistill.tasks.headline import HEADLINES, decisive, headline
from pixeldistill.terms.isrd import ISRD
from pixeldistill.training.answered import ANSWERS, describe_answers
from pixeldistill.training.build import (
    Context,
    build_objective,
    build_stream,
    check_stage,
    describe_data,
    teacher_network,
)
from pixeldistill.training.engine import Judge, fit
from pixeldistill.training.equal import settle
from pixeldistill.training.evaluate import TestImages, answer, evaluate, figures
from pixeldistill.training.exposed import describe_exposed
from pixeldistill.training.fabric import Fabric, make_fabric
from pixeldistill.training.objective import Objective
from pixeldistill.training.passes import Referee, Training, first_folders, passes
from pixeldistill.training.progress import Progress
from pixeldistill.training.records import stage_record
from pixeldistill.training.runs import DONE, claim, renumber
from pixeldistill.training.trainee import GivenUpEarly, Job


@dataclass(frozen=True)
class Result:
    """What came of one training: the folder it is in and the figures of its done.json."""

    stage: Stage
    seed: int
    folder: Path
    figures: Mapping[str, Any]


def run_recipe(
    recipe: Recipe,
    *,
    supervised_only: bool = False,
    workers: int | None = None,
    accelerator: str = "auto",
    console: Console | None = None,
    referee: Referee | None = None,
) -> list[Result]:
    """Train all stages of a recipe, with every seed; what is done already is skipped, what was begun goes on.

    Args:
        recipe: what to train.
        supervised_only: leave out the stages that have a teacher.
        workers: loader processes; by default the cores but one, four at most.
        accelerator: as Lightning Fabric names it: auto, cpu, cuda, mps.
        console: where progress is written.
        referee: ends trainings before their time; those have no result.

    Raises:
        PixelDistillError: see the errors of recipes, data, networks, weights and runs; all that can be checked is
            checked before the first step. GivenUp: a training diverged; it is raised when all others are done, and has their
            results.
    """
    fabric = make_fabric(accelerator=accelerator)
    if supervised_only and all(stage.teacher for stage in expand(recipe)):
        raise RecipeError("nothing to train from labels alone: use `pixeldistill distill`")
    console = console or Console()
    console.quiet = console.quiet or not fabric.is_global_zero
    workers = default_workers() if workers is None else workers
    splits = check_images(load_splits(recipe.data), recipe.data, workers)
    stages = settle(expand(recipe), len(splits.classes), len(splits.train))
    chosen = [s for s in stages if not (supervised_only and s.teacher)]
    planned = passes(recipe, stages)
    context = Context(recipe, splits, first_folders(recipe, stages), workers, accelerator, console)
    context.say(describe_data(splits))
    taken = f"{recipe.run} is in use by another run: wait for it, or choose another `run`"
    with locked(recipe.run, taken) if fabric.is_global_zero else contextlib.nullcontext():
        if fabric.is_global_zero:
            renumber(recipe.run, [stage.name for stage in stages])
        fabric.barrier()
        for stage in chosen:
            check_stage(stage, {s.name: s for s in stages}, context, fabric)
        outcomes: dict[int, Result | RunError] = {}  # by the trainings' order
        lost: set[str] = set()
        for group in planned:
            trainings = [training for training in group if training.stage in chosen]
            orphans = [training for training in trainings if lost & set(training.stage.sources)]
            outcomes |= {t.order: RunError(f"{t.title} was not trained: its source was given up") for t in orphans}
            outcomes |= _run_pass([training for training in trainings if training not in orphans], context, referee)
            lost |= {t.stage.name for t in trainings if isinstance(outcomes[t.order], RunError)}
    ordered = [outcomes[order] for order in sorted(outcomes)]
    results = [outcome for outcome in ordered if isinstance(outcome, Result)]
    failures = [str(o) for o in ordered if isinstance(o, RunError) and not isinstance(o, GivenUpEarly)]
    if failures:
        raise GivenUp("; ".join(failures), results)
    return results


def _run_pass(trainings: Sequence[Training], context: Context, referee: Referee | None) -> dict[int, Result | RunError]:
    """Train side by side what is to be trained of a pass; gives what came of each, by its order."""
    outcomes: dict[int, Result | RunError] = {}
    left = []
    fabric = make_fabric(trainings[0].stage.schedule.precision if trainings else "32", context.accelerator)
    for training in trainings:
        stage, seed, folder = training.stage, training.seed, training.folder
        record = stage_record(stage, seed, context.recipe, context.splits, context.folders)
        done = fabric.broadcast(claim(folder, record) if fabric.is_global_zero else None)
        verdict = fabric.broadcast(referee.verdict(training) if referee and fabric.is_global_zero else None)
        if done:
            context.say(f"{training.title}: done before, {folder}")
            outcomes[training.order] = Result(stage, seed, folder, done)
        elif verdict:
            context.say(f"{training.title}: {verdict}")
            outcomes[training.order] = GivenUpEarly(verdict)
        else:
            left.append(training)
    if not left:
        return outcomes
    network = teacher_network(left, context)
    if isinstance(network, Detector):
        taught = [training for training in left if training.stage.teacher]
        camera = next(training.stage.teacher.camera for training in taught if training.stage.teacher)
        images = _seen("val", camera, context, fabric)
        stages = expand(context.recipe)
        for line in describe_exposed(taught, network.to(fabric.device), images, stages, context.folders, fabric):
            context.say(line)
    objectives = [build_objective(training, network, context, fabric) for training in left]
    stream = build_stream(left, network, [objective.wanted for objective in objectives], context, fabric)
    jobs = [_job(training, objective, context, fabric) for training, objective in zip(left, objectives, strict=True)]
    title = left[0].title if len(left) == 1 else f"{len(left)} networks side by side"
    with Progress(context.console, title) as progress:
        judge = _judge(left, referee, fabric)
        states = fit(fabric, jobs, stream, left[0].stage.schedule, len(context.splits.train), progress, judge)
    for training, objective, state in zip(left, objectives, states, strict=True):
        if isinstance(state, RunError):
            outcomes[training.order] = state
            continue
        history = state.history
        record = {
            "epochs": state.epoch,
            "best_epoch": state.best_epoch,
            "seconds": sum(row["seconds"] for row in history),
            "side_by_side": len(left),
        } | _measure(training, objective, context, fabric)
        if fabric.is_global_zero:
            write_json(training.folder / DONE, record)
        outcomes[training.order] = Result(training.stage, training.seed, training.folder, record)
    return outcomes


def _judge(trainings: Sequence[Training], referee: Referee | None, fabric: Fabric) -> Judge:
    """Let the first process ask the referee; all do what it says."""

    def judge(histories: Sequence[Sequence[Mapping[str, float]]]) -> Mapping[int, str]:
        if referee is None:
            return {}
        found: Mapping[int, str] = fabric.broadcast(referee.judge(trainings, histories) if fabric.is_global_zero else {})
        return found

    return judge


def _job(training: Training, objective: Objective, context: Context, fabric: Fabric) -> Job:
    student = objective.student
    validation = _seen("val", training.stage.student.camera, context, fabric)
    return Job(
        name=training.title,
        objective=objective,
        validate=lambda: _figures(evaluate(student, validation, fabric)),
        select_by=HEADLINES[context.recipe.task],
        serialise=lambda: state_bytes(student.net),
        seed=training.seed,
        folder=training.folder,
    )


def _figures(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Give the figures of a split that are single numbers; the decisive one first, 0 where there was nothing to find."""
    return {headline(metrics): decisive(metrics)} | {k: v for k, v in metrics.items() if isinstance(v, float)}


def _seen(split: str, camera: Camera, context: Context, fabric: Fabric) -> TestImages:
    """Give a split's images as a camera delivers them."""
    if (split, camera) not in context.seen:
        context.seen[split, camera] = TestImages(getattr(context.splits, split), camera, context.workers, fabric)
    return context.seen[split, camera]


def _measure(training: Training, objective: Objective, context: Context, fabric: Fabric) -> dict[str, Any]:
    """Measure a trained student, last epoch and best; writes its last weights and its picture."""
    stage, folder, student = training.stage, training.folder, objective.student
    if fabric.is_global_zero:
        write_file(folder / LAST, state_bytes(student.net))
        save_picture(objective, stage, folder / "reconstruction.png", context, fabric)
    fabric.barrier()
    best = build_network(stage.student, context.splits.classes, trained=True, weights=str(folder / BEST)).to(fabric.device)
    images = {
        name: _seen(name, stage.student.camera, context, fabric) for name in ("val", "test") if getattr(context.splits, name)
    }
    answers = {name: answer(student, split, fabric) for name, split in images.items()}
    if fabric.is_global_zero:
        told = "test" if "test" in images else "val"
        write_json(folder / ANSWERS, describe_answers(answers[told], images[told].samples, context.splits.classes))
    return {
        "network": stage.student.network,
        "side": stage.student.side,
        "parameters": parameters(student),
        "macs": macs(student),
        "encoding": stage.student.camera.imaging.encoding,
        "bytes": bytes_per_image(context.splits.test or context.splits.val, stage.student.camera),
        "machine": f"{platform.machine()}, {fabric.world_size} × {fabric.device.type}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}",
        "last": {name: figures(answers[name], split, student) for name, split in images.items()},
        "best": {name: evaluate(best, split, fabric) for name, split in images.items()},
    }


@torch.no_grad()
def save_picture(objective: Objective, stage: Stage, path: Path, context: Context, fabric: Fabric) -> None:
    """Draw what the student's input feature can rebuild of some test images; nothing where no ISRD decoder was trained."""
    if "isrd" not in objective.terms or stage.teacher is None:
        return
    samples = context.splits.test or context.splits.val
    chosen = [samples[i * (len(samples) - 1) // 3] for i in range(4)]

    def taken(camera: Camera) -> Tensor:
        raw = CameraImages([Sample(sample.path, 0) for sample in chosen], camera)[range(len(chosen))]
        if isinstance(raw, PixelDistillError):
            raise raw
        return to_unit(fabric.to_device(raw.images))

    objective.eval()
    small, large = taken(stage.student.camera), taken(stage.teacher.camera)
    rebuilt = cast(ISRD, objective.terms["isrd"]).decoder(objective.student(small).input_feature)
    names = [s.path.name if isinstance(s.label, Annotation) else context.splits.classes[s.label] for s in chosen]
    save_reconstructions(path, large.cpu(), small.cpu(), rebuilt.cpu(), names)
