"""Engine: trains networks through their schedule, side by side on one stream of batches.

It depends on batches, a loss and a schedule, but not on terms, networks or recipes.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import torch
from torch import nn

from pixeldistill.data.sampler import steps_per_epoch
from pixeldistill.display.text import in_words
from pixeldistill.errors import Diverged, Interrupted, PixelDistillError, RecipeError, RunError
from pixeldistill.failures import LOST_WORKER, is_lost_worker, is_out_of_memory
from pixeldistill.recipe.schedule import Schedule
from pixeldistill.training.checkpoint import State
from pixeldistill.training.fabric import Fabric
from pixeldistill.training.progress import Progress
from pixeldistill.training.signals import stop_requests
from pixeldistill.training.trainer import Trainer, TrainingSpec, check_finite, ending_alone
from pixeldistill.types import Batch

CHECKPOINT_SECONDS = 300.0  # after a kill, at most this much work is repeated
GO_ON, SAVE, STOP = 0, 1, 2


class Batches(Protocol):
    """Micro-batches of a process from a step on, `accumulate` of them a step. Each holds one Batch for every job."""

    def __call__(self, epoch: int, step: int) -> Iterator[Sequence[Batch]]:
        """Start the stream at a step of an epoch."""


def check_batch(schedule: Schedule, images: int, objective: nn.Module, world: int) -> None:
    """Check that a batch can be drawn from the images, divided over processes and micro-batches, and trained on.

    Raises:
        RecipeError: this is not possible.
    """
    size, pieces = schedule.batch_size, schedule.accumulate * world
    if size % pieces:
        raise RecipeError(
            f"schedule.batch_size {size} cannot be divided over {world} processes × {schedule.accumulate} pieces: "
            f"make it a multiple of {pieces}"
        )
    schedule.check_images(images)
    norms = (m for m in objective.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
    if size == pieces and any(p.requires_grad for norm in norms for p in norm.parameters()):  # frozen norms learn nothing anyway
        raise RecipeError(
            f"schedule.batch_size {size} leaves one image a step for each process, and batch norm needs two: make it "
            f"{2 * pieces} or more"
        )


def fit(
    fabric: Fabric, specs: Sequence[TrainingSpec], batches: Batches, schedule: Schedule, images: int, progress: Progress,
    until: int | None = None,
) -> list[State | Diverged]:  # fmt: skip
    """Train jobs side by side to their end, each from its last checkpoint if there is one.

    A job that is ahead of the others waits until the stream reaches its position.

    Args:
        fabric: this process's devices.
        specs: the jobs to train.
        batches: the training data of this process.
        schedule: schedule of all jobs.
        images: number of images in the training split.
        progress: shows the progress to the user.
        until: epoch after which the jobs stop for now. By default the schedule's last.

    Returns:
        Every job's state, whose `history` has one row an epoch; or the error of a job whose loss became infinite or NaN.

    Raises:
        Interrupted: stopped by Ctrl-C or SIGTERM. The checkpoints hold the current step.
        RecipeError: a batch cannot be divided.
        RunError: a checkpoint cannot be written or read. With several processes also a loss that is infinite or NaN.
    """
    for spec in specs:
        check_batch(schedule, images, spec.objective, fabric.world_size)
    steps = steps_per_epoch(images, schedule.batch_size)
    epochs = min(schedule.epochs, until or schedule.epochs)
    with ExitStack() as stack:
        trainers = [Trainer(fabric, spec, schedule, steps, epochs, progress, stack) for spec in specs]
        stop = stack.enter_context(stop_requests())
        check_alike(fabric, trainers)
        loop = Loop(fabric, trainers, batches, schedule, steps)
        stack.callback(loop.end)
        progress.start(schedule.epochs * steps, loop.position)
        loop.finish_epochs()  # jobs that were stopped at an epoch's last step
        while loop.unfinished():
            with in_a_line(len(specs)):
                loop.step()
                progress.step(loop.loss)
                order = loop.agree(STOP if stop.is_set() else GO_ON)
                if order != GO_ON:
                    loop.save()
                if order == STOP:
                    raise _interrupted(loop, specs)
                loop.finish_epochs()
        if loop.agree(STOP if stop.is_set() else GO_ON, last=True) == STOP:  # other passes may follow
            raise _interrupted(loop, specs)
    return [trainer.failure or trainer.state for trainer in trainers]


def check_alike(fabric: Fabric, trainers: Sequence[Trainer]) -> None:
    """Raise RunError if the processes have read different checkpoints."""
    if fabric.world_size > 1:
        positions: Any = fabric.all_gather(torch.tensor([t.position for t in trainers], device=fabric.device))
        if bool((positions != positions[0]).any()):
            folder = trainers[0].spec.folder
            raise RunError(f"not all processes see what is in {folder}: put `run` on a disk that all machines share")


def _interrupted(loop: "Loop", specs: Sequence[TrainingSpec]) -> Interrupted:
    epoch, step = divmod(loop.position, loop.steps)
    where = f"at epoch {epoch + 1}, step {step} of {loop.steps}" if step else f"after epoch {epoch}"
    folders = ", ".join(str(spec.folder) for spec in specs)
    return Interrupted(f"stopped {where}, and saved in {folders}: the same command goes on from there")


@contextmanager
def in_a_line(specs: int) -> Iterator[None]:
    """Raise a one-line RunError if memory is full or a loader's process was killed. PyTorch may report it anywhere."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if is_lost_worker(error):
            raise RunError(LOST_WORKER) from error
        if not is_out_of_memory(error):
            raise
        fewer = "set train_together: false, and they train one after the other; or " if specs > 1 else ""
        raise RunError(
            f"memory is too small for {in_words(specs, 'network')} and this batch: {fewer}raise schedule.accumulate, "
            "which divides the batch, in another `run`"
        ) from error


class Loop:
    """Common steps of several jobs. `position` is that of the stream, which is the least advanced job's."""

    def __init__(
        self, fabric: Fabric, trainers: Sequence[Trainer], batches: Batches, schedule: Schedule, steps: int
    ) -> None:  # fmt: skip
        self.fabric, self.trainers, self.source, self.schedule, self.steps = fabric, trainers, batches, schedule, steps
        self.saved_at = time.monotonic()
        self.go_to(min((t.position for t in self.unfinished()), default=schedule.epochs * steps))

    def go_to(self, position: int) -> None:
        """Start the stream at a step, counted over all epochs."""
        self.position = position
        self.batches = self.source(*divmod(position, self.steps))

    def end(self) -> None:
        """Release the stream and its loader processes, which would keep this process from ending."""
        self.batches = iter(())

    def unfinished(self) -> list[Trainer]:
        """List the unfinished jobs."""
        return [trainer for trainer in self.trainers if not trainer.finished]

    def _due(self) -> list[tuple[int, Trainer]]:
        """List the jobs, with their numbers, that take part in the current step."""
        return [(i, t) for i, t in enumerate(self.trainers) if not t.finished and t.position == self.position]

    def step(self) -> None:
        """Update every job that takes part in the current step. Nothing here waits for the device."""
        due = self._due()
        if self.position % self.steps == 0:
            for _, trainer in due:
                trainer.began = time.monotonic()
        for piece in range(self.schedule.accumulate):
            shares = self._next_batches(piece)
            for number, trainer in due:
                trainer.learn(shares[number], piece)
        for _, trainer in due:
            trainer.update()
        self.position += 1

    def _next_batches(self, piece: int) -> Sequence[Batch]:
        try:
            return next(self.batches)
        except PixelDistillError:  # an image that existed at the start is missing now
            if piece == 0 and self.fabric.world_size == 1:
                self.save()
            raise

    def loss(self) -> float:
        """Return the first job's last loss, after waiting for the device. Record every job whose loss is infinite or NaN."""
        for trainer in self.unfinished():
            with ending_alone(trainer):
                check_finite(trainer.loss, trainer.spec.folder)
        return next((t.loss.item() for t in self.unfinished()), math.nan)

    def finish_epochs(self) -> None:
        """Finish the epoch of every job at its end. If all remaining jobs are ahead, move the stream to the nearest one."""
        for trainer in self.unfinished():
            if trainer.state.step == self.steps:
                with ending_alone(trainer):
                    trainer.finish_epoch()
                self.saved_at = time.monotonic()
        nearest = min((t.position for t in self.unfinished()), default=self.position)
        if nearest > self.position:
            self.go_to(nearest)

    def save(self) -> None:
        """Save all unfinished jobs."""
        for trainer in self.unfinished():
            with ending_alone(trainer):
                trainer.save()
        self.saved_at = time.monotonic()

    def agree(self, order: int, *, last: bool = False) -> int:
        """Make all processes take the same action: go on, save, or save and stop.

        Several processes communicate at every step. On GPUs, where this would block, they do so at every tenth step.
        """
        if order == GO_ON and time.monotonic() - self.saved_at > CHECKPOINT_SECONDS:
            order = SAVE
        if self.fabric.world_size == 1:
            return order
        every = 1 if self.fabric.device.type == "cpu" else 10
        if self.position % every and not last:
            return GO_ON
        orders: Any = self.fabric.all_gather(torch.tensor(order, device=self.fabric.device))
        return int(orders.max())
