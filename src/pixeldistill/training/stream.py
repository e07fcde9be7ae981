"""Stream of a pass's batches. Images are decoded, cropped, resized and read by the teacher once for all students."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pixeldistill.data.dataset import Target, TrainingViews
from pixeldistill.data.loading import load
from pixeldistill.data.sampler import Key, micro_batches, steps_per_epoch
from pixeldistill.data.views import resize, resize_batch, to_unit
from pixeldistill.recipe.camera import InputSpec
from pixeldistill.recipe.network import Network
from pixeldistill.recipe.stage import Stage
from pixeldistill.tasks import Task
from pixeldistill.terms import needs_teacher_view
from pixeldistill.training.fabric import Fabric
from pixeldistill.training.teacher import Teacher, averaged
from pixeldistill.types import Batch, Outputs, View, WantedMap

Images = dict[InputSpec, Tensor]


@dataclass(frozen=True)
class Stream:
    """Batches for several students; called as `stream(epoch, step)`, see `training.engine.Batches`.

    stages: stages of the students, in order. Schedule and crop are the same in all.
    wanted: for each student, the teacher's maps that its terms need.
    dataset: the training views.
    teachers: teachers of the students that have any, in the order of `Stage.teachers`.
    task: task of all students.
    classes: number of classes.
    shuffle_seed: seed of the order of the images.
    """

    stages: Sequence[Stage]
    wanted: Sequence[Sequence[WantedMap]]
    dataset: TrainingViews
    teachers: Sequence[Teacher]
    task: Task
    classes: int
    shuffle_seed: int
    workers: int
    fabric: Fabric

    def __call__(self, epoch: int, step: int) -> Iterator[Sequence[Batch]]:
        """Start the stream at a step of an epoch."""
        schedule = self.stages[0].schedule
        keys = micro_batches(
            len(self.dataset.samples), batch_size=schedule.batch_size, accumulate=schedule.accumulate, seed=self.shuffle_seed,
            epochs=range(epoch, schedule.epochs), first_step=step, rank=self.fabric.global_rank, world=self.fabric.world_size,
        )  # fmt: skip
        steps = steps_per_epoch(len(self.dataset.samples), schedule.batch_size)
        done = (epoch * steps + step) * schedule.accumulate
        seen = large_views(self.dataset, keys, self.workers, self.fabric)
        for number, (large, target, rows, small, mixed) in enumerate(seen, start=done):
            labels = self.task.soften(target, self.classes, schedule.label_smoothing)
            if mixed is not None:
                partner, share = mixed
                others = self.task.soften(partner, self.classes, schedule.label_smoothing)
                labels = self.task.mix(labels, others, share, self.classes)
            images = {input_spec: self._image(input_spec, large, small) for input_spec in self._cameras()}
            said = [
                teacher(images[network.input_spec] if teacher.sees_image else None, rows)
                for teacher, network in self._taught_by()
            ]
            outputs = averaged(said) if said else None
            now = number // schedule.accumulate / steps
            yield [
                self._batch(stage, images, labels, outputs.outputs(wanted) if outputs else None, now)
                for stage, wanted in zip(self.stages, self.wanted, strict=True)
            ]

    def _taught_by(self) -> Iterator[tuple[Teacher, Network]]:
        """Yield the teachers, with their settings."""
        networks = next((stage.teachers for stage in self.stages if stage.teacher), ())
        return zip(self.teachers, networks, strict=True)

    def _cameras(self) -> set[InputSpec]:
        """Return the cameras of all networks or terms that read the view."""
        input_specs = {stage.student.input_spec for stage in self.stages}
        input_specs |= {network.input_spec for teacher, network in self._taught_by() if teacher.sees_image}
        return input_specs | {s.teacher.input_spec for s in self.stages if s.teacher and needs_teacher_view(s.terms)}

    def _image(self, input_spec: InputSpec, large: Tensor, small: Mapping[InputSpec, Tensor]) -> Tensor:
        image = small.get(input_spec, large)
        return image_at(
            image, input_spec.image_size, input_spec.camera.kernel, channels_last=self.stages[0].schedule.channels_last
        )

    def _batch(self, stage: Stage, images: Images, target: Target, outputs: Outputs | None, epoch: float) -> Batch:
        views = {"student": self._view(stage.student.input_spec, images, target)}
        if stage.teacher is None:
            return Batch(views, epoch=epoch)
        if stage.teacher.input_spec in images:
            views["teacher"] = self._view(stage.teacher.input_spec, images, target)
        return Batch(views, outputs, epoch, self.teachers[0].head)

    def _view(self, input_spec: InputSpec, images: Images, target: Target) -> View:
        """Return a camera's view, with the target in the view's pixels."""
        return View(images[input_spec], self.task.resize(target, input_spec.image_size / self.dataset.crop_size))


def altering(stages: Iterable[Stage]) -> tuple[InputSpec, ...]:
    """Return the stages' cameras that do more to an image than resize it. The loader's workers make their views."""
    input_specs = (network.input_spec for stage in stages for network in (stage.student, *stage.teachers))
    return tuple(dict.fromkeys(input_spec for input_spec in input_specs if input_spec.camera.alters))


class LargeBatch(NamedTuple):
    """Batch of large views, uint8 (N, 3, S, S), their targets, their keys, and the views of altering cameras.

    `mixed`: of mixed views, the partners' targets, and the share (N,) that each view keeps. All but the keys are on the device.
    """

    images: Tensor
    target: Target
    keys: Tensor
    small: Mapping[InputSpec, Tensor]
    mixed: tuple[Target, Tensor] | None


def large_views(dataset: TrainingViews, keys: Iterable[list[Key]], workers: int, fabric: Fabric) -> Iterator[LargeBatch]:
    """Load batches of large views."""
    for raw in load(dataset, keys, workers):
        images = fabric.to_device(raw.images)
        if raw.windows is not None:
            images = resize_batch(images, fabric.to_device(raw.windows), dataset.crop_size, dataset.kernel)
        small = {input_spec: fabric.to_device(view) for input_spec, view in zip(dataset.input_specs, raw.small, strict=True)}
        mixed = None if raw.mixed is None else (fabric.to_device(raw.mixed[0]), fabric.to_device(raw.mixed[1]))
        yield LargeBatch(images, fabric.to_device(raw.target), raw.keys, small, mixed)


def image_at(large: Tensor, image_size: int, kernel: str, *, channels_last: bool) -> Tensor:
    """Make a view at an image size from the large one, uint8 (N, 3, S, S): float (N, 3, side, side) in [0, 1].

    Small views are 8-bit images too, as a camera delivers them.
    """
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return to_unit(resize(large, image_size, image_size, kernel)).contiguous(memory_format=layout)
