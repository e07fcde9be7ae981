"""From a recipe to trained networks: builds each stage, fits it, measures it, records it."""

import contextlib
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Console

from pixeldistill.cost.measure import macs, parameters
from pixeldistill.cost.transmission import bytes_per_image
from pixeldistill.data.dataset import CameraImages, TrainingViews, check_images, default_workers, load, make_views
from pixeldistill.data.sampler import micro_batches
from pixeldistill.data.sources import Sample, Splits, load_splits
from pixeldistill.data.views import to_unit
from pixeldistill.errors import RecipeError
from pixeldistill.files import write_file, write_json
from pixeldistill.networks.classifier import Classifier, build_classifier
from pixeldistill.networks.weights import BEST, CARD, LAST, find_run, packaged_weights, state_bytes, weights_file
from pixeldistill.recipe import STAGE_REFERENCE, Network, Recipe, Stage, expand
from pixeldistill.report.pictures import save_reconstructions
from pixeldistill.tasks import classification
from pixeldistill.terms.isrd import ISRD
from pixeldistill.training.engine import Fabric, Job, check_batch, fit, make_fabric
from pixeldistill.training.evaluate import TestImages, evaluate
from pixeldistill.training.objective import Objective
from pixeldistill.training.progress import Progress
from pixeldistill.training.runs import DONE, claim, file_digest, locked, renumber, stage_folder
from pixeldistill.types import Batch


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
    console.print(describe_data(splits), highlight=False, markup=False, soft_wrap=True)
    folders = {s.name: stage_folder(recipe.run, n, s.name, s.seeds[0]) for n, s in enumerate(stages, start=1)}
    context = _Context(recipe, splits, folders, workers, accelerator, console)
    with locked(recipe.run) if fabric.is_global_zero else contextlib.nullcontext():
        if fabric.is_global_zero:
            renumber(recipe.run, [stage.name for stage in stages])
        fabric.barrier()
        for stage in chosen:
            _check_stage(stage, context, fabric)
        results = []
        for number, stage in enumerate(stages, start=1):
            if stage in chosen:
                for seed in stage.seeds:
                    folder = stage_folder(recipe.run, number, stage.name, seed)
                    results.append(Result(stage, seed, folder, _run_stage(stage, seed, folder, context)))
        return results


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
    objective = Objective(student, teacher, stage.terms)
    check_batch(stage.schedule, len(context.splits.train), objective, fabric.world_size)
    for note in dict.fromkeys([*student.notes, *(teacher.notes if teacher else [])]):
        context.console.print(f"{stage.name}: note: {note}", highlight=False, markup=False, soft_wrap=True)


def _run_stage(stage: Stage, seed: int, folder: Path, context: _Context) -> Mapping[str, Any]:
    """Train one stage with one seed, or give the result that is there already."""
    fabric = make_fabric(stage.schedule.precision, context.accelerator)
    title = f"{folder.parent.name} seed {seed}"
    done = fabric.broadcast(claim(folder, _record(stage, seed, context)) if fabric.is_global_zero else None)
    if done:
        context.console.print(f"{title}: done before, {folder}", highlight=False, markup=False, soft_wrap=True)
        return done
    torch.manual_seed(seed)
    objective = _build_objective(stage, context, fabric)
    student = objective.student
    if fabric.is_global_zero:
        write_json(folder / CARD, _card(stage, student, seed, context))
    splits = {name: samples for name in ("val", "test") if (samples := getattr(context.splits, name))}
    images = {
        name: TestImages(samples, stage.student.side, context.recipe.imaging, context.workers, fabric)
        for name, samples in splits.items()
    }
    job = Job(
        objective=objective,
        batches=lambda epoch, step: _batches(stage, seed, epoch, step, context, fabric),
        validate=lambda: {k: v for k, v in evaluate(student, images["val"], fabric).items() if k != "per_class"},
        select_by=classification.SELECT_BY,
        serialise=lambda: state_bytes(student.net),
        images=len(context.splits.train),
        schedule=stage.schedule,
        seed=seed,
        folder=folder,
    )
    with Progress(context.console, title) as progress:
        state = fit(fabric, job, progress)
    if fabric.is_global_zero:
        write_file(folder / LAST, state_bytes(student.net))
        save_picture(objective, stage, folder / "reconstruction.png", context, fabric)
    fabric.barrier()
    best = build_network(stage.student, context.splits.classes, trained=True, weights=str(folder / BEST)).to(fabric.device)
    figures: dict[str, Any] = {
        **_costs(stage, student, context),
        "epochs": state.epoch,
        "best_epoch": state.best_epoch,
        "seconds": sum(row["seconds"] for row in state.history),
        "machine": f"{platform.machine()}, {fabric.world_size} × {fabric.device.type}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}",
        "last": {name: evaluate(student, split, fabric) for name, split in images.items()},
        "best": {name: evaluate(best, split, fabric) for name, split in images.items()},
    }
    if fabric.is_global_zero:
        write_json(folder / DONE, figures)
    return figures


def _build_objective(stage: Stage, context: _Context, fabric: Fabric) -> Objective:
    """Build student, teacher and terms; the teacher goes to the device at once, as no child it is not moved along."""
    classes = context.splits.classes
    student = build_network(stage.student, classes, trained=False)
    teacher = None
    if stage.teacher:
        teacher = build_network(stage.teacher, classes, trained=True, weights=_resolve(stage.teacher.weights, context))
        teacher.to(fabric.device)
        if stage.schedule.channels_last:
            teacher.to(memory_format=torch.channels_last)
    return Objective(student, teacher, stage.terms)


def _costs(stage: Stage, student: Classifier, context: _Context) -> dict[str, Any]:
    """Say what the deployed student costs."""
    images = context.splits.test or context.splits.val
    return {
        "network": stage.student.network,
        "side": stage.student.side,
        "parameters": parameters(student),
        "macs": macs(student),
        "jpeg_bytes": bytes_per_image(images, stage.student.side, context.recipe.imaging),
    }


def _record(stage: Stage, seed: int, context: _Context) -> dict[str, Any]:
    """All that decides a training's result: a folder is gone on with only by the same."""
    recipe = context.recipe
    record = stage.model_dump(mode="json", exclude={"seeds"})
    sources = {role: getattr(stage, role) and getattr(stage, role).weights for role in ("student", "teacher")}
    digests = {role: _digest(_resolve(weights, context), getattr(stage, role)) for role, weights in sources.items() if weights}
    return {
        "stage": record,
        "seed": seed,
        "data": recipe.data.model_dump(mode="json", exclude={"root"}),
        "data_digest": context.splits.digest(recipe.data.root),
        "views": recipe.views.model_dump(mode="json"),
        "imaging": recipe.imaging.model_dump(mode="json"),
        "weights_digest": digests,
    }


def _digest(weights: str, network: Network) -> str:
    if weights == "pretrained":
        package = packaged_weights(network.network)
        return file_digest(Path(package)) if package else "timm"
    if weights == "none":
        return weights
    path = Path(weights)
    return file_digest(weights_file(find_run(path)) if path.is_dir() else path)


def _resolve(weights: str, context: _Context) -> str:
    if weights.startswith(STAGE_REFERENCE):
        return str(context.folders[weights.removeprefix(STAGE_REFERENCE)])
    return weights


def _card(stage: Stage, student: Classifier, seed: int, context: _Context) -> dict[str, Any]:
    """Describe the deployed network: all that it takes to rebuild it and to feed it."""
    network, root = stage.student, context.recipe.data.root
    return {
        "network": network.network,
        "side": network.side,
        "patch": network.patch,
        "options": network.options,
        "classes": list(context.splits.classes),
        "mean": list(student.mean),
        "std": list(student.std),
        "imaging": context.recipe.imaging.model_dump(mode="json"),
        "data": context.recipe.data.model_dump(mode="json") | ({"root": str(root.resolve())} if root else {}),
        "stage": stage.name,
        "seed": seed,
    }


def _batches(stage: Stage, seed: int, epoch: int, step: int, context: _Context, fabric: Fabric) -> Iterator[Batch]:
    """Give this process's training batches from a step on: decoded by the workers, made into views on the device."""
    recipe, schedule, splits = context.recipe, stage.schedule, context.splits
    dataset = TrainingViews(splits.train, recipe.views, stage.crop_side, recipe.imaging.kernel)
    keys = micro_batches(
        len(splits.train), batch_size=schedule.batch_size, accumulate=schedule.accumulate, seed=seed,
        epochs=range(epoch, schedule.epochs), first_step=step, rank=fabric.global_rank, world=fabric.world_size,
    )  # fmt: skip
    sides = {"student": stage.student.side} | ({"teacher": stage.teacher.side} if stage.teacher else {})
    for images, target, _ in load(dataset, keys, context.workers):
        labels = classification.smooth_labels(fabric.to_device(target), len(splits.classes), schedule.label_smoothing)
        large = fabric.to_device(images[stage.crop_side])
        yield make_views(large, labels, sides, recipe.imaging.kernel, channels_last=schedule.channels_last)


@torch.no_grad()
def save_picture(objective: Objective, stage: Stage, path: Path, context: _Context, fabric: Fabric) -> None:
    """Draw what the student's input feature can rebuild of some test images; nothing where no ISRD decoder was trained."""
    if "isrd" not in objective.terms or stage.teacher is None:
        return
    samples = context.splits.test or context.splits.val
    chosen: list[Sample] = [samples[i * (len(samples) - 1) // 3] for i in range(4)]
    sides = {"student": stage.student.side, "teacher": stage.teacher.side}
    images, _, _ = next(load(CameraImages(chosen, sides.values(), context.recipe.imaging), [list(range(len(chosen)))], workers=0))
    views = {role: to_unit(fabric.to_device(images[side])) for role, side in sides.items()}
    objective.eval()
    outputs = objective.student(views["student"])
    isrd = cast(ISRD, objective.terms["isrd"])
    rebuilt = isrd.decoder(outputs.input_feature)
    names = [context.splits.classes[sample.label] for sample in chosen]
    save_reconstructions(path, views["teacher"].cpu(), views["student"].cpu(), rebuilt.cpu(), names)
