"""From a recipe to trained networks: builds each stage, fits it, measures it, records it."""

import contextlib
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Console
from torch import Tensor

from pixeldistill.cost.measure import macs, parameters
from pixeldistill.cost.transmission import bytes_per_image
from pixeldistill.data.check import check_images
from pixeldistill.data.dataset import CameraImages, TrainingViews
from pixeldistill.data.loading import default_workers
from pixeldistill.data.sampler import Key
from pixeldistill.data.sources import Splits, load_splits
from pixeldistill.data.store import ImageStore, open_store
from pixeldistill.data.views import to_unit
from pixeldistill.errors import PixelDistillError, RecipeError
from pixeldistill.expansion import expand
from pixeldistill.files import locked, write_file, write_json
from pixeldistill.networks.classifier import Classifier, build_classifier
from pixeldistill.networks.weights import BEST, CARD, LAST, state_bytes
from pixeldistill.recipe import STAGE_REFERENCE, Network, Recipe, Stage
from pixeldistill.report.pictures import save_reconstructions
from pixeldistill.tasks import classification
from pixeldistill.terms.isrd import ISRD
from pixeldistill.training.bank import bank_spec, open_bank
from pixeldistill.training.engine import check_batch, fit
from pixeldistill.training.evaluate import TestImages, evaluate
from pixeldistill.training.fabric import Fabric, make_fabric
from pixeldistill.training.objective import Objective
from pixeldistill.training.passes import Training, passes
from pixeldistill.training.progress import Progress, counting
from pixeldistill.training.records import bank_key, network_card, resolve, stage_record
from pixeldistill.training.runs import DONE, claim, renumber
from pixeldistill.training.stream import Stream, image_at, large_views
from pixeldistill.training.teacher import LiveTeacher, Teacher
from pixeldistill.training.trainee import Job


@dataclass(frozen=True)
class Result:
    """What came of one training: the folder it is in and the figures of its done.json."""

    stage: Stage
    seed: int
    folder: Path
    figures: Mapping[str, Any]


@dataclass(frozen=True)
class _Context:
    """What all stages of a run share."""

    recipe: Recipe
    splits: Splits
    folders: Mapping[str, Path]  # of each stage's first seed: what "@stage" refers to
    workers: int
    accelerator: str
    console: Console
    store: ImageStore | None = None
    camera: dict[tuple[str, int], TestImages] = field(default_factory=dict)  # test images by split and side, read once

    def say(self, text: str) -> None:
        """Write a line."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


def run_recipe(
    recipe: Recipe,
    *,
    supervised_only: bool = False,
    workers: int | None = None,
    accelerator: str = "auto",
    console: Console | None = None,
) -> list[Result]:
    """Train all stages of a recipe, with every seed; what is done already is skipped, what was begun goes on.

    Args:
        recipe: what to train.
        supervised_only: leave out the stages that have a teacher.
        workers: loader processes; by default the cores but one, four at most.
        accelerator: as Lightning Fabric names it: auto, cpu, cuda, mps.
        console: where progress is written.

    Raises:
        PixelDistillError: see the errors of recipes, data, networks, weights and runs; all that can be checked is
            checked before the first step.
    """
    stages = expand(recipe)
    chosen = [s for s in stages if not (supervised_only and s.teacher)]
    if not chosen:
        raise RecipeError("nothing to train from labels alone: use `pixeldistill distill`")
    fabric = make_fabric(accelerator=accelerator)
    console = console or Console()
    console.quiet = console.quiet or not fabric.is_global_zero
    workers = default_workers() if workers is None else workers
    splits = check_images(load_splits(recipe.data), recipe.data, workers)
    planned = passes(recipe, stages)
    folders = {t.stage.name: t.folder for group in planned for t in reversed(group)}  # of the first seed
    context = _Context(recipe, splits, folders, workers, accelerator, console)
    context.say(describe_data(splits))
    taken = f"{recipe.run} is in use by another run: wait for it, or choose another `run`"
    with locked(recipe.run, taken) if fabric.is_global_zero else contextlib.nullcontext():
        if fabric.is_global_zero:
            renumber(recipe.run, [stage.name for stage in stages])
        fabric.barrier()
        for stage in chosen:
            _check_stage(stage, context, fabric)
        context = replace(context, store=_open_store(context, fabric))
        done: dict[Path, Result] = {}
        for group in planned:
            trainings = [training for training in group if training.stage in chosen]
            done |= {result.folder: result for result in _run_pass(trainings, context)}
        return [
            done[t.folder] for t in sorted((t for group in planned for t in group), key=lambda t: t.order) if t.folder in done
        ]


def describe_data(splits: Splits) -> str:
    """Say in a few lines what the data holds and what was decided about it."""
    counts = f"{len(splits.train)} train, {len(splits.val)} val, {len(splits.test)} test images"
    return "\n".join([f"data: {counts}, {len(splits.classes)} classes", *(f"data: {note}" for note in splits.notes)])


def build_network(network: Network, classes: tuple[str, ...], *, trained: bool, weights: str | None = None) -> Classifier:
    """Build the network that a recipe names; see `build_classifier`."""
    return build_classifier(
        network.network, len(classes), network.side, weights=weights or network.weights, patch=network.patch,
        options=network.options, classes=classes, trained=trained,
    )  # fmt: skip


def _check_stage(stage: Stage, context: _Context, fabric: Fabric) -> None:
    """Build everything once, before the first stage is trained: what cannot work is said now."""
    classes = context.splits.classes
    student = build_network(stage.student, classes, trained=False)
    teacher = None
    if stage.teacher:
        untrained = stage.teacher.weights.startswith(STAGE_REFERENCE)
        teacher = build_network(stage.teacher, classes, trained=not untrained, weights="none" if untrained else None)
    spec = teacher.spec if teacher else None
    if spec and stage.bank:
        spec = bank_spec(spec, stage.bank.maps)
    objective = Objective(student, spec, stage.terms)
    check_batch(stage.schedule, len(context.splits.train), objective, fabric.world_size)
    for note in dict.fromkeys([*student.notes, *(teacher.notes if teacher else [])]):
        context.say(f"{stage.name}: note: {note}")


def _run_pass(trainings: Sequence[Training], context: _Context) -> list[Result]:
    """Train side by side what is to be trained of a pass; gives the results, those that were there already first."""
    results, left = [], []
    fabric = make_fabric(trainings[0].stage.schedule.precision if trainings else "32", context.accelerator)
    for training in trainings:
        stage, seed, folder = training.stage, training.seed, training.folder
        record = stage_record(stage, seed, context.recipe, context.splits, context.folders)
        done = fabric.broadcast(claim(folder, record) if fabric.is_global_zero else None)
        if done:
            context.say(f"{training.title}: done before, {folder}")
            results.append(Result(stage, seed, folder, done))
        else:
            left.append(training)
    if not left:
        return results
    teacher, stream = _build_stream(left, context, fabric)
    objectives = [_build_objective(training, teacher, context, fabric) for training in left]
    jobs = [_job(training, objective, context, fabric) for training, objective in zip(left, objectives, strict=True)]
    title = left[0].title if len(left) == 1 else f"{len(left)} networks side by side"
    with Progress(context.console, title) as progress:
        states = fit(fabric, jobs, stream, left[0].stage.schedule, len(context.splits.train), progress)
    for training, objective, state in zip(left, objectives, states, strict=True):
        history = state.history
        figures = {
            "epochs": state.epoch,
            "best_epoch": state.best_epoch,
            "seconds": sum(row["seconds"] for row in history),
            "side_by_side": len(left),
        } | _measure(training, objective, context, fabric)
        if fabric.is_global_zero:
            write_json(training.folder / DONE, figures)
        results.append(Result(training.stage, training.seed, training.folder, figures))
    return results


def _build_stream(trainings: Sequence[Training], context: _Context, fabric: Fabric) -> tuple[Teacher | None, Stream]:
    """Build what the trainings of a pass share: their teacher, live or from a bank, and their batches."""
    recipe, splits = context.recipe, context.splits
    first = trainings[0].stage
    dataset = TrainingViews(
        splits.train, recipe.views, first.crop_side, recipe.imaging.kernel, distinct=first.distinct_views,
        reduced=recipe.data.decode == "reduced", store=context.store,
        finished=recipe.data.store is None or fabric.device.type == "cpu",
    )  # fmt: skip
    taught = next((training.stage for training in trainings if training.stage.teacher), None)
    teacher = _build_teacher(taught, dataset, context, fabric) if taught else None
    stages = [training.stage for training in trainings]
    return teacher, Stream(stages, dataset, teacher, len(splits.classes), trainings[0].order_seed, context.workers, fabric)


def _open_store(context: _Context, fabric: Fabric) -> ImageStore | None:
    data, splits = context.recipe.data, context.splits
    if data.store is None:
        return None
    return open_store(
        data.store_folder or context.recipe.run / "store", splits.train, splits.digest("train"), side=data.store,
        kernel=context.recipe.imaging.kernel, workers=context.workers, note=context.say,
        rank=fabric.global_rank, world=fabric.world_size, barrier=fabric.barrier,
    )  # fmt: skip


def _build_teacher(stage: Stage, dataset: TrainingViews, context: _Context, fabric: Fabric) -> Teacher:
    """Build a stage's teacher; with a bank it is asked once for every view, in float32, and read from disk ever after."""
    assert stage.teacher is not None
    network = build_network(
        stage.teacher, context.splits.classes, trained=True, weights=resolve(stage.teacher.weights, context.folders)
    )
    if stage.bank is None:
        return LiveTeacher(network, fabric, channels_last=stage.schedule.channels_last)
    exact = make_fabric(accelerator=context.accelerator)
    live = LiveTeacher(network, exact, channels_last=stage.schedule.channels_last)
    side = stage.teacher.side

    def load_views(batches: Sequence[list[Key]]) -> Iterator[tuple[Tensor, Tensor]]:
        for large, _, keys in large_views(dataset, batches, context.workers, exact):
            yield image_at(large, side, dataset.kernel, channels_last=stage.schedule.channels_last), keys

    with counting(context.console, "teacher's bank", "blocks") as progress:
        return open_bank(
            stage.bank, stage.bank.folder or context.recipe.run / "bank",
            bank_key(stage, context.recipe, context.splits, context.folders), live, len(context.splits.train),
            load_views, exact, context.say, progress,
        )  # fmt: skip


def _build_objective(training: Training, teacher: Teacher | None, context: _Context, fabric: Fabric) -> Objective:
    """Build student and terms; what is fresh in them is drawn from the training's seed."""
    torch.manual_seed(training.seed)
    student = build_network(training.stage.student, context.splits.classes, trained=False)
    objective = Objective(student, teacher.spec if teacher and training.stage.teacher else None, training.stage.terms)
    if fabric.is_global_zero:
        card = network_card(training.stage, student, training.seed, context.recipe, context.splits)
        write_json(training.folder / CARD, card)
    return objective


def _job(training: Training, objective: Objective, context: _Context, fabric: Fabric) -> Job:
    student, side = objective.student, training.stage.student.side
    validation = _camera("val", side, context, fabric)
    return Job(
        name=training.title,
        objective=objective,
        validate=lambda: {k: v for k, v in evaluate(student, validation, fabric).items() if k != "per_class"},
        select_by=classification.SELECT_BY,
        serialise=lambda: state_bytes(student.net),
        seed=training.seed,
        folder=training.folder,
    )


def _camera(split: str, side: int, context: _Context, fabric: Fabric) -> TestImages:
    if (split, side) not in context.camera:
        samples = getattr(context.splits, split)
        context.camera[split, side] = TestImages(samples, side, context.recipe.imaging, context.workers, fabric)
    return context.camera[split, side]


def _measure(training: Training, objective: Objective, context: _Context, fabric: Fabric) -> dict[str, Any]:
    """Measure a trained student, last epoch and best; writes its last weights and its picture."""
    stage, folder, student = training.stage, training.folder, objective.student
    if fabric.is_global_zero:
        write_file(folder / LAST, state_bytes(student.net))
        save_picture(objective, stage, folder / "reconstruction.png", context, fabric)
    fabric.barrier()
    best = build_network(stage.student, context.splits.classes, trained=True, weights=str(folder / BEST)).to(fabric.device)
    images = {
        name: _camera(name, stage.student.side, context, fabric) for name in ("val", "test") if getattr(context.splits, name)
    }
    return {
        "network": stage.student.network,
        "side": stage.student.side,
        "parameters": parameters(student),
        "macs": macs(student),
        "jpeg_bytes": bytes_per_image(context.splits.test or context.splits.val, stage.student.side, context.recipe.imaging),
        "machine": f"{platform.machine()}, {fabric.world_size} × {fabric.device.type}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}",
        "last": {name: evaluate(student, split, fabric) for name, split in images.items()},
        "best": {name: evaluate(best, split, fabric) for name, split in images.items()},
    }


@torch.no_grad()
def save_picture(objective: Objective, stage: Stage, path: Path, context: _Context, fabric: Fabric) -> None:
    """Draw what the student's input feature can rebuild of some test images; nothing where no ISRD decoder was trained."""
    if "isrd" not in objective.terms or stage.teacher is None:
        return
    samples = context.splits.test or context.splits.val
    chosen = [samples[i * (len(samples) - 1) // 3] for i in range(4)]

    def camera(side: int) -> Tensor:
        raw = CameraImages(chosen, side, context.recipe.imaging)[range(len(chosen))]
        if isinstance(raw, PixelDistillError):
            raise raw
        return to_unit(fabric.to_device(raw.images))

    objective.eval()
    small, large = camera(stage.student.side), camera(stage.teacher.side)
    rebuilt = cast(ISRD, objective.terms["isrd"]).decoder(objective.student(small).input_feature)
    names = [context.splits.classes[sample.label] for sample in chosen]
    save_reconstructions(path, large.cpu(), small.cpu(), rebuilt.cpu(), names)
