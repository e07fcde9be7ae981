"""Training of one network: its steps, its epochs, its checkpoint. It resumes exactly where it stopped.

All randomness in a step (dropout, stochastic depth) is seeded by (seed, epoch, step, piece, rank). So there is no random state
to save, a repeated step is the same step, and a network gives the same result alone or beside others.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pixeldistill.errors import Diverged, RunError
from pixeldistill.recipe.schedule import Schedule
from pixeldistill.storage.files import WatchedFolder, write_file
from pixeldistill.storage.run_folder import BEST, CHECKPOINT, METRICS
from pixeldistill.training.checkpoint import State, read_checkpoint, write_checkpoint
from pixeldistill.training.fabric import Fabric
from pixeldistill.training.loggers import open_loggers
from pixeldistill.training.logs import drowning, terms_of, worse_than_guessing, write_csv
from pixeldistill.training.progress import Progress
from pixeldistill.training.schedule import build_optimizer, learning_rate, set_learning_rate, start_average
from pixeldistill.types import Batch


@dataclass(frozen=True)
class TrainingSpec:
    """One network to train.

    name: its name for the user.
    objective: called with a Batch, returns {"loss": scalar, "<term>": weighted share}.
    deployed: part of the objective that is deployed.
    validate: measures a network like `deployed`. `select_by` names the metric that selects the best epoch.
    serialise: returns the weights of such a network as a file's content.
    loggers: see `loggers.open_loggers`.
    chance: see `logs.worse_than_guessing`.
    """

    name: str
    objective: nn.Module
    deployed: nn.Module
    validate: Callable[[Any], Mapping[str, float]]
    select_by: str
    serialise: Callable[[Any], bytes]
    seed: int
    folder: Path
    loggers: Sequence[str] = ()
    chance: Mapping[str, float] = field(default_factory=dict)


class Trainer:
    """A job in progress, for a number of `epochs`: its network, its optimiser, its state."""

    def __init__(
        self, fabric: Fabric, spec: TrainingSpec, schedule: Schedule, steps: int, epochs: int, progress: Progress,
        stack: ExitStack,
    ) -> None:  # fmt: skip
        self.fabric, self.spec, self.schedule, self.steps, self.progress = fabric, spec, schedule, steps, progress
        self.epochs = epochs
        if schedule.channels_last:
            spec.objective.to(memory_format=torch.channels_last)
        optimizer = build_optimizer(spec.objective, schedule)
        self.module, self.optimizer = fabric.setup(spec.objective, optimizer)
        self.average = start_average(spec.deployed, schedule, steps)
        self.state = self._restore()
        spec.folder.mkdir(parents=True, exist_ok=True)
        self.held = WatchedFolder(spec.folder)
        self.names = list(self.state.sums)
        self.sums = torch.tensor(list(self.state.sums.values()), device=fabric.device)
        self.loss = torch.zeros(())
        # The sum of the gradients' norms. An infinite gradient is clipped to 0 and shows nowhere else.
        self.norms = torch.zeros((), device=fabric.device)
        self.failure: Diverged | None = None
        self.began = time.monotonic() - self.state.seconds
        opened = open_loggers(spec.loggers, spec.folder, self.state.epoch)
        self.log = stack.enter_context(opened) if fabric.is_global_zero else (lambda row: None)
        if self.position:
            progress.note(f"{spec.name}: goes on at step {self.position} of {schedule.epochs * steps}")

    @property
    def position(self) -> int:
        """Number of finished steps, over all epochs."""
        return self.state.epoch * self.steps + self.state.step

    @property
    def finished(self) -> bool:
        """Whether the job has ended."""
        return self.failure is not None or self.state.epoch >= self.epochs

    def learn(self, batch: Batch, piece: int) -> None:
        """Add a micro-batch's gradients."""
        pieces = self.schedule.accumulate
        self.module.train()
        _seed(self.spec.seed, self.state.epoch, self.state.step, piece, self.fabric.global_rank)
        with self.fabric.no_backward_sync(self.module, enabled=piece < pieces - 1):
            losses = self.module(batch)
            self.fabric.backward(losses["loss"] / pieces)
        terms = torch.stack([value.detach().float() for value in losses.values()]) / pieces
        self.sums = self.sums + terms if self.names else terms
        self.names = list(losses)
        self.loss = losses["loss"].detach()

    def update(self) -> None:
        """Run the optimiser's step."""
        set_learning_rate(self.optimizer, learning_rate(self.schedule, self.position, self.steps))
        if self.schedule.clip_grad is not None:
            norm = self.fabric.clip_gradients(
                self.module, self.optimizer, max_norm=self.schedule.clip_grad, error_if_nonfinite=False
            )  # fmt: skip
            if norm is not None and self.schedule.precision != "16":  # whose scaler skips a step that overflows
                self.norms = self.norms + norm.detach()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update_parameters(self.spec.deployed)
        self.state.step += 1

    def finish_epoch(self) -> None:
        """Validate, record the epoch, keep the best weights, save."""
        spec, state = self.spec, self.state
        means = {name: total / self.steps for name, total in self._means().items()}
        check_finite(torch.tensor(means["loss"]), spec.folder)
        check_finite(self.norms, spec.folder, "gradient")
        self._share_buffers()
        network = spec.deployed if self.average is None else self.average.module
        if self.average is not None and state.epoch + 1 == self.schedule.epochs:
            spec.deployed.load_state_dict(network.state_dict())  # at the end of the training, the average remains
        measured = {f"val_{name}": value for name, value in spec.validate(network).items()}
        check_finite(torch.tensor(measured.get("val_nll", 0.0)), spec.folder)
        weights = [value.sum() for value in spec.objective.state_dict().values() if value.is_floating_point()]
        check_finite(torch.stack(weights).sum(), spec.folder)  # the last update's damage shows in no loss yet
        row = {
            "epoch": state.epoch + 1,
            "lr": learning_rate(self.schedule, (state.epoch + 1) * self.steps - 1, self.steps),
            "seconds": time.monotonic() - self.began,
            "loss": means["loss"],
            **terms_of(means),
            **measured,
        }
        state.history.append(row)
        state.epoch, state.step = state.epoch + 1, 0
        self.names = []
        score = measured[f"val_{spec.select_by}"]
        better = score > state.best
        if better:
            state.best, state.best_epoch = score, state.epoch
        if self.fabric.is_global_zero:
            self.held.check()
            if better:
                write_file(spec.folder / BEST, spec.serialise(network))
            write_csv(spec.folder / METRICS, state.history)
        self.save()
        self.log(row)
        self.progress.epoch(spec.name, row, self.schedule.epochs)
        if state.epoch == 1 and self.schedule.epochs > 1:
            for warning in filter(None, (drowning(row), worse_than_guessing(row, spec.chance))):
                self.progress.note(f"{spec.name}: {warning}")

    def _share_buffers(self) -> None:
        """Copy the first process's batch statistics to all processes, so that they measure the network that is saved."""
        if self.fabric.world_size > 1:
            average = () if self.average is None else self.average.module.buffers()
            for buffer in chain(self.spec.objective.buffers(), average):
                torch.distributed.broadcast(buffer, src=0)

    def _means(self) -> dict[str, float]:
        """Return the sums over the epoch's steps so far, averaged over the processes."""
        if not self.names:
            return {}
        mean: Any = self.fabric.all_reduce(self.sums.clone(), reduce_op="mean")
        return dict(zip(self.names, mean.tolist(), strict=True))

    def save(self) -> None:
        """Write the checkpoint on the first process. The others wait."""
        self.state.sums = self._means()
        self.state.seconds = time.monotonic() - self.began if self.state.sums else 0.0
        if self.state.sums:
            check_finite(torch.tensor(self.state.sums["loss"]), self.spec.folder)
        if self.fabric.is_global_zero:
            self.held.check()
            precision = self.fabric.strategy.precision.state_dict()
            write_checkpoint(self.spec.folder / CHECKPOINT, {**self._parts(), "precision": precision}, self.state)
        self.fabric.barrier()

    def _parts(self) -> dict[str, Any]:
        average = {} if self.average is None else self.average.state_dict()
        return {"objective": self.spec.objective.state_dict(), "optimizer": self.optimizer.state_dict(), "average": average}

    def _restore(self) -> State:
        """Return the state from the checkpoint, if there is one. Raise RunError if it is damaged or another training's."""
        path = self.spec.folder / CHECKPOINT
        if not path.is_file():
            return State()
        like = {**self._parts(), "parameters": [p for group in self.optimizer.param_groups for p in group["params"]]}
        content, state = read_checkpoint(path, like, self.fabric.device, epochs=self.schedule.epochs, steps=self.steps)
        try:
            self.spec.objective.load_state_dict(content["objective"])
            self.optimizer.load_state_dict(content["optimizer"])
            if self.average is not None:
                self.average.load_state_dict(content["average"])
            self.fabric.strategy.precision.load_state_dict(content["precision"])
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
            raise RunError(f"checkpoint {path} does not fit ({reason}): remove it to begin anew") from error
        return state


@contextmanager
def ending_alone(trainer: Trainer) -> Iterator[None]:
    """End only the job that diverges. With several processes, which could not agree on the time, the whole run ends."""
    try:
        yield
    except Diverged as error:
        if trainer.fabric.world_size > 1:
            raise
        trainer.failure = error.with_traceback(None)  # a traceback would keep the training's objects alive
        trainer.progress.note(f"{trainer.spec.name}: given up: {error.failure.what}")


def _seed(*numbers: int) -> None:
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1))


def check_finite(value: Tensor, folder: Path, what: str = "loss") -> None:
    """Wait for a loss, or for another value of the training. Raise Diverged if it is not finite."""
    number = value.item()
    if not math.isfinite(number):
        raise Diverged(
            f"the {what} of {folder} is {number}",
            "lower schedule.lr, schedule.clip_grad or the weight of a large loss, or use precision 32 if it is another, in "
            "another `run` or after removing that folder",
        )
