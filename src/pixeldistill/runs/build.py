"""Building the parts of a pass (networks, terms, teacher and batches) from a stage's description."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from pixeldistill.data.dataset import TrainingViews
from pixeldistill.data.image_cache import ImageCache, open_image_cache
from pixeldistill.data.sampler import Key
from pixeldistill.data.splits import Splits
from pixeldistill.display.tables import write_line
from pixeldistill.errors import WeightsError
from pixeldistill.evaluation.evaluate import TestImages
from pixeldistill.networks.adapter import Adapter
from pixeldistill.recipe.base import StageRef
from pixeldistill.recipe.camera import InputSpec
from pixeldistill.recipe.network import Network
from pixeldistill.recipe.recipe import Recipe
from pixeldistill.recipe.stage import Stage
from pixeldistill.runs.passes import Training
from pixeldistill.runs.provenance import network_card, resolve, teacher_cache_folder, teacher_cache_key
from pixeldistill.storage.files import write_json
from pixeldistill.storage.run_folder import CARD
from pixeldistill.tasks import task_of
from pixeldistill.tasks.networks import build_fresh, build_network, load_state
from pixeldistill.training.engine import check_batch
from pixeldistill.training.fabric import Fabric, first_machine, make_fabric
from pixeldistill.training.objective import Objective
from pixeldistill.training.progress import counting
from pixeldistill.training.stream import Stream, altering, image_at, large_views
from pixeldistill.training.teacher import LiveTeacher, Teacher
from pixeldistill.training.teacher_cache import open_teacher_cache
from pixeldistill.types import WantedMap


@dataclass(frozen=True)
class RunContext:
    """State that all stages of a run share."""

    recipe: Recipe
    splits: Splits
    folders: Mapping[str, Path]  # folder of each stage's first seed, which a `StageRef` means
    workers: int
    accelerator: str
    console: Console
    image_caches: list[ImageCache] = field(default_factory=list)  # holds at most one, once it is open
    test_images: dict[tuple[str, InputSpec], TestImages] = field(
        default_factory=dict
    )  # test images by split and camera, read once

    def say(self, text: str) -> None:
        """Print a line."""
        write_line(self.console, text)


def check_stage(stage: Stage, stages: Mapping[str, Stage], context: RunContext, fabric: Fabric) -> None:
    """Build a stage's networks and terms once, before the first stage is trained, so that errors appear early.

    Args:
        stage: stage to check.
        stages: all stages of the recipe, by name. The stage's source is built too, to check that its weights will fit.
        context: context of the run.
        fabric: Fabric of this process.
    """
    classes = context.splits.classes
    student = build_network(stage.student, classes, trained=False, weights=_before(stage.student))
    if isinstance(stage.student.weights, StageRef):
        source = stages[stage.student.weights.name]
        state = build_fresh(source.student, len(classes)).net.state_dict()
        try:
            load_state(student, state, source.student, f"stage {source.name}")
        except WeightsError as error:
            raise WeightsError(f"{error}: let the student start otherwise, as by `weights: pretrained` (or none)") from None
    teachers = [build_network(n, classes, trained=_before(n) is None, weights=_before(n)) for n in stage.teachers]
    objective = Objective(student, teachers[0].spec if teachers else None, stage.terms, stage.schedule.epochs)
    check_batch(stage.schedule, len(context.splits.train), objective, fabric.world_size)
    for note in dict.fromkeys([*student.notes, *(note for teacher in teachers for note in teacher.notes)]):
        context.say(f"{stage.name}: note: {note}")


def _before(network: Network) -> str | None:
    """Return the weights for a check before training: "none" after an earlier stage, None for a network's own weights."""
    return "none" if isinstance(network.weights, StageRef) else None


def teacher_networks(trainings: Sequence[Training], context: RunContext) -> list[Adapter]:
    """Build the teachers of a pass."""
    networks = next((training.stage.teachers for training in trainings if training.stage.teacher), ())
    return [
        build_network(network, context.splits.classes, trained=True, weights=resolve(network.weights, context.folders))
        for network in networks
    ]


def build_stream(
    trainings: Sequence[Training],
    teachers: Sequence[Adapter],
    wanted: Sequence[Sequence[WantedMap]],
    context: RunContext,
    fabric: Fabric,
) -> Stream:
    """Build the shared parts of a pass: the teachers, live or from a teacher cache, and the batches."""
    recipe, splits = context.recipe, context.splits
    first = trainings[0].stage
    dataset = TrainingViews(
        splits.train, first.augmentation, first.crop_size, recipe.camera.kernel, task_of(recipe).collate,
        distinct=first.distinct_views, reduced=recipe.data.decode == "reduced", image_cache=_open_images(context, fabric),
        finished=recipe.data.image_cache is None or fabric.device.type != "cuda",
        input_specs=altering(t.stage for t in trainings),
    )  # fmt: skip
    asked = []
    if teachers:
        taught = next(training.stage for training in trainings if training.stage.teacher)
        maps = [sorted(set().union(*wanted)), *([()] * len(taught.other_teachers))]
        parts = zip(taught.teachers, teachers, maps, strict=True)
        asked = [_build_teacher(taught, *part, dataset, context, fabric) for part in parts]
    return Stream(
        [training.stage for training in trainings], wanted, dataset, asked, task_of(recipe), len(splits.classes),
        trainings[0].shuffle_seed, context.workers, fabric,
    )  # fmt: skip


def _open_images(context: RunContext, fabric: Fabric) -> ImageCache | None:
    """Open the image cache if the recipe has one. The first pass with anything to train does this."""
    data, splits = context.recipe.data, context.splits
    if data.image_cache is None:
        return None
    if context.image_caches:
        return context.image_caches[0]
    image_cache = open_image_cache(
        data.image_cache_folder or context.recipe.run / "image_cache", splits.train, splits.identity("train"),
        shorter_side=data.image_cache, kernel=context.recipe.camera.kernel, workers=context.workers, note=context.say,
        reduced=data.decode == "reduced", bits=data.bits, rank=fabric.global_rank, world=first_machine(fabric),
        barrier=fabric.barrier,
    )  # fmt: skip
    context.image_caches.append(image_cache)
    return image_cache


def _build_teacher(
    stage: Stage, said: Network, network: Adapter, wanted: Sequence[WantedMap], dataset: TrainingViews, context: RunContext,
    fabric: Fabric,
) -> Teacher:  # fmt: skip
    """Build one of a stage's teachers. With a cache, it predicts every view once, in float32, for later reading."""
    if stage.teacher_cache is None:
        return LiveTeacher(network, fabric, wanted, channels_last=stage.schedule.channels_last)
    exact = make_fabric(accelerator=context.accelerator)
    live = LiveTeacher(network, exact, wanted, channels_last=stage.schedule.channels_last)
    input_spec = said.input_spec

    def load_views(batches: Iterable[list[Key]]) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in large_views(dataset, batches, context.workers, exact):
            image = batch.small.get(input_spec, batch.images)
            yield (
                image_at(image, input_spec.image_size, input_spec.camera.kernel, channels_last=stage.schedule.channels_last),
                batch.keys,
            )

    with counting(context.console, "teacher cache", "blocks") as progress:
        return open_teacher_cache(
            stage.distinct_views or stage.schedule.epochs, stage.schedule.epochs,
            teacher_cache_folder(stage, said, context.recipe, context.folders),
            teacher_cache_key(stage, said, context.recipe, context.splits, context.folders), live, len(context.splits.train),
            load_views, exact, context.say, progress,
        )  # fmt: skip


def build_objective(training: Training, teachers: Sequence[Adapter], context: RunContext, fabric: Fabric) -> Objective:
    """Build student and terms. The training's seed initialises their fresh parameters."""
    stage = training.stage
    torch.manual_seed(training.seed)
    student = build_network(
        stage.student, context.splits.classes, trained=False, weights=resolve(stage.student.weights, context.folders)
    )
    spec = teachers[0].spec if stage.teacher else None
    objective = Objective(student, spec, stage.terms, stage.schedule.epochs)
    if stage.schedule.compile:
        objective.compile_student()
    if fabric.is_global_zero:
        card = network_card(training.stage, student, training.seed, context.recipe, context.splits)
        write_json(training.folder / CARD, card)
    return objective
