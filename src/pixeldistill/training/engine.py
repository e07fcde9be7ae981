"""The engine: steps an objective through its schedule, saves itself, and goes on exactly where it was.

The one file that imports Lightning Fabric. It knows batches, a loss and a schedule; neither terms nor networks nor recipes.

Everything random in a step (dropout, stochastic depth) is seeded by (seed, step, rank), and the order of the images by
(seed, epoch): there is no random state to save, and a step done again is the same step.
"""

import io
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from pixeldistill.data.sampler import steps_per_epoch
from pixeldistill.errors import Interrupted, PixelDistillError, RecipeError, RunError
from pixeldistill.files import write_file
from pixeldistill.recipe import Schedule
from pixeldistill.training.logs import drowning, tensorboard, terms_of, write_csv
from pixeldistill.training.progress import Progress
from pixeldistill.training.schedule import build_optimizer, learning_rate, set_learning_rate
from pixeldistill.training.signals import stop_requests
from pixeldistill.types import Batch

__all__ = ["CHECKPOINT", "Fabric", "Job", "check_batch", "fit", "make_fabric"]

CHECKPOINT = "last.ckpt"
CHECKPOINT_SECONDS = 300.0  # at most this much work is done again after a kill
GO_ON, SAVE, STOP = 0, 1, 2
_PRECISION: dict[str, Any] = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


class Batches(Protocol):
    """Gives a process its micro-batches from a step on, `accumulate` of them a step."""

    def __call__(self, epoch: int, step: int) -> Iterator[Batch]: ...


@dataclass(frozen=True)
class Job:
    """What there is to fit.

    objective: called with a Batch, gives {"loss": scalar, "<term>": weighted share}.
    batches: the training data of this process.
    validate: measures the student as it stands; `select_by` names the figure that decides which epoch is the best.
    serialise: gives the deployed network's weights as a file's content.
    images: how many the training split has.
    """

    objective: nn.Module
    batches: Batches
    validate: Callable[[], Mapping[str, float]]
    select_by: str
    serialise: Callable[[], bytes]
    images: int
    schedule: Schedule
    seed: int
    folder: Path


@dataclass
class State:
    """How far a fit has come: with the weights and the optimiser, all that it takes to go on."""

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)  # of the epoch under way, over its steps
    history: list[dict[str, float]] = field(default_factory=list)
    best: float = -math.inf
    best_epoch: int = 0


def make_fabric(precision: str = "32", accelerator: str = "auto") -> Fabric:
    """Make the Fabric of this process: one device, or this process's share of a job started by torchrun."""
    local, world = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), int(os.environ.get("WORLD_SIZE", "1"))
    try:
        fabric = Fabric(
            accelerator=accelerator,
            devices=local,
            num_nodes=max(1, world // local),
            strategy="ddp" if world > 1 else "auto",
            precision=_PRECISION[precision],
        )
    except (ValueError, RuntimeError) as error:  # Fabric's own class of error for a missing device is a RuntimeError
        raise RunError(f"accelerator {accelerator!r} cannot be used here: {str(error).splitlines()[0]}") from error
    if precision == "16" and fabric.device.type == "cpu":
        raise RecipeError("schedule.precision 16 needs a GPU: use bf16 or 32")
    fabric.launch()
    return fabric


def check_batch(schedule: Schedule, images: int, objective: nn.Module, world: int) -> None:
    """Check that a batch can be drawn from the images, divided over processes and pieces, and learned from.

    Raises:
        RecipeError: it cannot.
    """
    size, pieces = schedule.batch_size, schedule.accumulate * world
    if size % pieces:
        raise RecipeError(
            f"schedule.batch_size {size} cannot be divided over {world} processes × {schedule.accumulate} pieces: "
            f"make it a multiple of {pieces}"
        )
    if size > images:
        raise RecipeError(f"schedule.batch_size {size} is more than the {images} training images: set it to {images} or fewer")
    if size == pieces and any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in objective.modules()):
        raise RecipeError(
            f"schedule.batch_size {size} leaves one image a piece, of which batch norm cannot learn: make it {2 * pieces} or more"
        )


def fit(fabric: Fabric, job: Job, progress: Progress) -> State:
    """Train a job to its end, from its last checkpoint if there is one.

    Returns:
        The final state; `history` has a row an epoch.

    Raises:
        Interrupted: asked to stop by Ctrl-C or SIGTERM; the checkpoint holds the very step.
        RecipeError: a batch that cannot be divided.
        RunError: a checkpoint that cannot be written or read, or a loss that is no longer finite.
    """
    schedule = job.schedule
    check_batch(schedule, job.images, job.objective, fabric.world_size)
    if schedule.channels_last:
        job.objective.to(memory_format=torch.channels_last)
    target: Any = torch.compile(job.objective) if schedule.compile else job.objective
    module, optimizer = fabric.setup(target, build_optimizer(job.objective, schedule))
    state = _restore(fabric, job, optimizer)
    loop = _Loop(fabric, job, module, optimizer, state, job.batches(state.epoch, state.step))
    total = schedule.epochs * loop.steps
    log = tensorboard(job.folder, state.epoch) if fabric.is_global_zero else nullcontext(lambda row: None)
    with stop_requests() as stop, log as write_row:
        progress.start(total, state.epoch * loop.steps + state.step)
        while state.epoch < schedule.epochs:
            began = time.monotonic()
            while state.step < loop.steps:
                loss = loop.step()
                progress.step(lambda loss=loss: _finite(loss, job.folder))  # type: ignore[misc]
                order = loop.agree(STOP if stop.is_set() else GO_ON)
                if order != GO_ON:
                    loop.save()
                if order == STOP:
                    raise Interrupted(
                        f"stopped at epoch {state.epoch + 1}, step {state.step} of {loop.steps}, and saved in {job.folder}: "
                        "the same command goes on from there"
                    )
            row = loop.finish_epoch(began)
            write_row(row)
            progress.epoch(row, schedule.epochs)
            if state.epoch == 1 and (warning := drowning(row)):
                progress.note(warning)
    return state


class _Loop:
    """The steps of a fit and what they share."""

    def __init__(
        self, fabric: Fabric, job: Job, module: Any, optimizer: Any, state: State, batches: Iterator[Batch]  # noqa: ANN401
    ) -> None:  # fmt: skip
        self.fabric, self.job, self.module, self.optimizer, self.state = fabric, job, module, optimizer, state
        self.batches = batches
        self.steps = steps_per_epoch(job.images, job.schedule.batch_size)
        self.names = list(state.sums)
        self.sums = torch.tensor(list(state.sums.values()), device=fabric.device)
        self.saved_at = time.monotonic()

    def step(self) -> Tensor:
        """Do one update; gives the last piece's loss. Nothing here waits for the device."""
        schedule, state = self.job.schedule, self.state
        self.module.train()
        rate = learning_rate(schedule, state.epoch * self.steps + state.step, self.steps)
        set_learning_rate(self.optimizer, rate)
        for piece in range(schedule.accumulate):
            batch = self._next_batch(piece)  # before the seeding: a loader that starts draws a random number of its own
            _seed(self.job.seed, state.epoch, state.step, piece, self.fabric.global_rank)
            with self.fabric.no_backward_sync(self.module, enabled=piece < schedule.accumulate - 1):
                losses = self.module(batch)
                self.fabric.backward(losses["loss"] / schedule.accumulate)
            terms = torch.stack([value.detach().float() for value in losses.values()]) / schedule.accumulate
            self.sums = self.sums + terms if self.names else terms
            self.names = list(losses)
        if schedule.clip_grad is not None:
            self.fabric.clip_gradients(self.module, self.optimizer, max_norm=schedule.clip_grad, error_if_nonfinite=False)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        state.step += 1
        loss: Tensor = losses["loss"].detach()
        return loss

    def _next_batch(self, piece: int) -> Batch:
        try:
            return next(self.batches)
        except PixelDistillError:  # an image that was there at the start is not any more
            if piece == 0 and self.fabric.world_size == 1:
                self.save()
            raise

    def agree(self, order: int) -> int:
        """Let all processes do the same: go on, save, or save and stop.

        Several processes ask each other at every step; on GPUs, which would have to be waited for, at every tenth.
        """
        if order == GO_ON and time.monotonic() - self.saved_at > CHECKPOINT_SECONDS:
            order = SAVE
        if self.fabric.world_size == 1:
            return order
        every = 1 if self.fabric.device.type == "cpu" else 10
        if (self.state.epoch * self.steps + self.state.step) % every:
            return GO_ON
        orders: Any = self.fabric.all_gather(torch.tensor(order, device=self.fabric.device))
        return int(orders.max())

    def finish_epoch(self, began: float) -> dict[str, float]:
        """Validate, note the epoch, keep the best weights, save; gives the epoch's row."""
        job, state = self.job, self.state
        means = {name: total / self.steps for name, total in self._means().items()}
        _finite(torch.tensor(means["loss"]), job.folder)
        self._share_buffers()
        measured = {f"val_{name}": value for name, value in job.validate().items()}
        row = {
            "epoch": state.epoch + 1,
            "lr": learning_rate(job.schedule, (state.epoch + 1) * self.steps - 1, self.steps),
            "seconds": time.monotonic() - began,
            "loss": means["loss"],
            **terms_of(means),
            **measured,
        }
        state.history.append(row)
        state.epoch, state.step = state.epoch + 1, 0
        self.names = []
        score = measured[f"val_{job.select_by}"]
        better = score > state.best
        if better:
            state.best, state.best_epoch = score, state.epoch
        if self.fabric.is_global_zero:
            if better:
                write_file(job.folder / "best.safetensors", job.serialise())
            write_csv(job.folder / "metrics.csv", state.history)
        self.save()
        return row

    def _share_buffers(self) -> None:
        """Give every process the first one's batch statistics: all measure, and the first saves, the same network."""
        if self.fabric.world_size > 1:
            for buffer in self.job.objective.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def _means(self) -> dict[str, float]:
        """Give the sums over the epoch's steps so far, averaged over the processes."""
        if not self.names:
            return {}
        mean: Any = self.fabric.all_reduce(self.sums.clone(), reduce_op="mean")
        return dict(zip(self.names, mean.tolist(), strict=True))

    def save(self) -> None:
        """Write the checkpoint, on the first process; the others wait."""
        self.state.sums = self._means()
        if self.state.sums:
            _finite(torch.tensor(self.state.sums["loss"]), self.job.folder)
        if self.fabric.is_global_zero:
            buffer = io.BytesIO()
            content = {
                "objective": self.job.objective.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "precision": self.fabric.strategy.precision.state_dict(),
                "state": asdict(self.state),
            }
            torch.save(content, buffer)
            write_file(self.job.folder / CHECKPOINT, buffer.getvalue())
        self.fabric.barrier()
        self.saved_at = time.monotonic()


def _restore(fabric: Fabric, job: Job, optimizer: Any) -> State:  # noqa: ANN401
    path = job.folder / CHECKPOINT
    if not path.is_file():
        return State()
    try:
        content = torch.load(path, map_location=fabric.device, weights_only=True)
        job.objective.load_state_dict(content["objective"])
        optimizer.load_state_dict(content["optimizer"])
        fabric.strategy.precision.load_state_dict(content["precision"])
        return State(**content["state"])
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise RunError(f"checkpoint {path} cannot be read ({reason}): remove it to begin anew") from error


def _seed(*numbers: int) -> None:
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1))


def _finite(loss: Tensor, folder: Path) -> float:
    value = loss.item()
    if not math.isfinite(value):
        raise RunError(
            f"the loss of {folder} is {value}: lower schedule.lr, set schedule.clip_grad or use precision 32, in another `run` "
            "or after removing that folder"
        )
    return value
