"""The engine: steps an objective through its schedule, saves itself, and goes on exactly where it was.

The one file that imports Lightning Fabric. It knows batches, a loss and a schedule; neither terms nor networks nor recipes' text.

Everything random in a step (dropout, stochastic depth) is seeded by (seed, step, rank), and the order of the images by
(seed, epoch): there is no random state to save, and a step done again is the same step.
"""

import io
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from pixeldistill.data.sampler import steps_per_epoch
from pixeldistill.errors import Interrupted, RecipeError, RunError
from pixeldistill.files import write_file
from pixeldistill.recipe import Schedule
from pixeldistill.training.progress import Progress
from pixeldistill.training.schedule import build_optimizer, learning_rate, set_learning_rate
from pixeldistill.types import Batch

CHECKPOINT = "last.ckpt"
CHECKPOINT_SECONDS = 300.0  # at most this much work is done again after a kill
DROWNING = 0.95  # a term with more than this share of the loss leaves nothing to the others

__all__ = ["CHECKPOINT", "Fabric", "Job", "check_batch", "fit", "make_fabric"]


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


_PRECISION: dict[str, Any] = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


def make_fabric(precision: str = "32", accelerator: str = "auto") -> Fabric:
    """Make the Fabric of this process: one device, or this process's share of a job started by torchrun."""
    local, world = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), int(os.environ.get("WORLD_SIZE", "1"))
    fabric = Fabric(
        accelerator=accelerator,
        devices=local,
        num_nodes=max(1, world // local),
        strategy="ddp" if world > 1 else "auto",
        precision=_PRECISION[precision],
    )
    fabric.launch()
    return fabric


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
    steps = steps_per_epoch(job.images, schedule.batch_size)
    optimizer = build_optimizer(job.objective, schedule)
    if schedule.channels_last:
        job.objective.to(memory_format=torch.channels_last)
    target: Any = torch.compile(job.objective) if schedule.compile else job.objective
    module, stepper = fabric.setup(target, optimizer)
    state = _restore(fabric, job, stepper)
    names = list(state.sums)
    sums = torch.tensor(list(state.sums.values()), device=fabric.device)
    batches = job.batches(state.epoch, state.step)
    saved_at = began = time.monotonic()
    with _stop_requests() as stop, _tensorboard(fabric, job, state.epoch) as log:
        progress.start(schedule.epochs * steps, state.epoch * steps + state.step)
        while state.epoch < schedule.epochs:
            module.train()
            while state.step < steps:
                rate = learning_rate(schedule, state.epoch * steps + state.step, steps)
                set_learning_rate(optimizer, rate)
                for piece in range(schedule.accumulate):
                    batch = next(batches)  # before the seeding: a loader that starts draws a random number of its own
                    _seed(job.seed, state.epoch, state.step, piece, fabric.global_rank)
                    with fabric.no_backward_sync(module, enabled=piece < schedule.accumulate - 1):
                        losses = module(batch)
                        fabric.backward(losses["loss"] / schedule.accumulate)
                    terms = torch.stack([value.detach().float() for value in losses.values()]) / schedule.accumulate
                    names, sums = list(losses), sums + terms if names else terms
                if schedule.clip_grad is not None:
                    fabric.clip_gradients(module, stepper, max_norm=schedule.clip_grad, error_if_nonfinite=False)
                stepper.step()
                stepper.zero_grad(set_to_none=True)
                state.step += 1
                due = time.monotonic() - saved_at > CHECKPOINT_SECONDS
                order = _agree(fabric, state.step, 2 if stop.is_set() else int(due))
                if order:
                    state.sums = dict(zip(names, _mean_over_processes(fabric, sums), strict=True))
                    _save(fabric, job, state, stepper)
                    saved_at = time.monotonic()
                    if order == 2:
                        raise Interrupted(
                            f"stopped at epoch {state.epoch + 1}, step {state.step} of {steps}, and saved in {job.folder}: "
                            "the same command goes on from there"
                        )
                progress.step(partial(_finite, losses["loss"], job.folder))
            means = {name: total / steps for name, total in zip(names, _mean_over_processes(fabric, sums), strict=True)}
            _finite(torch.tensor(means["loss"]), job.folder)
            rate = learning_rate(schedule, state.epoch * steps + steps - 1, steps)
            _finish_epoch(job, state, means, rate, time.monotonic() - began, fabric, progress)
            log(state.history[-1])
            _save(fabric, job, state, stepper)
            names, saved_at, began = [], time.monotonic(), time.monotonic()
    return state


def _finish_epoch(
    job: Job, state: State, means: Mapping[str, float], rate: float, seconds: float, fabric: Fabric, progress: Progress
) -> None:
    """Validate, note the epoch, keep the best weights."""
    terms = {name: value for name, value in means.items() if name != "loss"}
    shares = {f"share_{name}": value / means["loss"] if means["loss"] else 0.0 for name, value in terms.items()}
    measured = {f"val_{name}": value for name, value in job.validate().items()}
    row = {
        "epoch": state.epoch + 1,
        "lr": rate,
        "seconds": seconds,
        "loss": means["loss"],
        **terms,
        **shares,
        **measured,
    }
    state.epoch, state.step, state.sums = state.epoch + 1, 0, {}
    state.history.append(row)
    score = measured[f"val_{job.select_by}"]
    if score > state.best:
        state.best, state.best_epoch = score, state.epoch
        if fabric.is_global_zero:
            write_file(job.folder / "best.safetensors", job.serialise())
    if fabric.is_global_zero:
        columns = list(row)
        lines = [",".join(columns), *(",".join(f"{r.get(c, math.nan):.8g}" for c in columns) for r in state.history)]
        write_file(job.folder / "metrics.csv", "\n".join(lines) + "\n")
    progress.epoch(row, job.schedule.epochs)
    if state.epoch == 1 and len(terms) > 1:
        name, share = max(((n, shares[f"share_{n}"]) for n in terms), key=lambda pair: pair[1])
        if share > DROWNING:
            progress.note(
                f"warning: term {name} makes {share:.0%} of the loss and drowns the others: lower its weight, or raise theirs"
            )


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


def _seed(*numbers: int) -> None:
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1))


def _agree(fabric: Fabric, step: int, order: int) -> int:
    """Let all processes do the same: 0 go on, 1 save, 2 save and stop. Several processes ask each other every ten steps."""
    if fabric.world_size == 1:
        return order
    if step % 10:
        return 0
    orders: Any = fabric.all_gather(torch.tensor(order, device=fabric.device))
    return int(orders.max())


def _mean_over_processes(fabric: Fabric, sums: Tensor) -> list[float]:
    mean: Any = fabric.all_reduce(sums.clone(), reduce_op="mean")
    return list(mean.tolist())


def _finite(loss: Tensor, folder: Path) -> float:
    value = loss.item()
    if not math.isfinite(value):
        raise RunError(
            f"the loss of {folder} is {value}: lower schedule.lr, set schedule.clip_grad, or use precision 32; "
            "the last epoch's checkpoint is intact"
        )
    return value


def _save(fabric: Fabric, job: Job, state: State, optimizer: Any) -> None:  # noqa: ANN401
    """Write the checkpoint, on the first process; the others wait."""
    if fabric.is_global_zero:
        buffer = io.BytesIO()
        content = {
            "objective": job.objective.state_dict(),
            "optimizer": optimizer.state_dict(),
            "precision": fabric.strategy.precision.state_dict(),
            "state": asdict(state),
        }
        torch.save(content, buffer)
        write_file(job.folder / CHECKPOINT, buffer.getvalue())
    fabric.barrier()


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
        raise RunError(
            f"checkpoint {path} cannot be read ({str(error).splitlines()[0][:120]}): remove it to begin anew"
        ) from error


@contextmanager
def _stop_requests() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C or SIGTERM into a request that the loop answers after its step; a second one ends at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: object) -> None:
        stop.set()
        signal.signal(number, before[number])

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _tensorboard(fabric: Fabric, job: Job, first_epoch: int) -> Iterator[Callable[[Mapping[str, float]], None]]:
    """Open the TensorBoard log; rows that a crash left after the checkpoint are purged."""
    if not fabric.is_global_zero:
        yield lambda row: None
        return
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(job.folder), purge_step=first_epoch + 1)

    def log(row: Mapping[str, float]) -> None:
        for name, value in row.items():
            writer.add_scalar(name, value, int(row["epoch"]))

    try:
        yield log
    finally:
        writer.close()
