"""Optimisers, learning rates and term weights. They depend only on the time, so there is no scheduler to save."""

import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pixeldistill.recipe.losses import Term
from pixeldistill.recipe.schedule import Schedule


def learning_rate(schedule: Schedule, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of a step, counted from 0 over all epochs.

    >>> learning_rate(Schedule(epochs=10, lr=0.1, warmup_epochs=0), 50, steps_per_epoch=10)
    0.05
    """
    epoch = step / steps_per_epoch
    if epoch < schedule.warmup_epochs:
        return schedule.lr * (step + 1) / (schedule.warmup_epochs * steps_per_epoch + 1)
    match schedule.decay:
        case "cosine":
            done = (epoch - schedule.warmup_epochs) / (schedule.epochs - schedule.warmup_epochs)
            return schedule.lr * 0.5 * (1 + math.cos(math.pi * done))
        case "step":
            passed: int = sum(epoch >= milestone for milestone in schedule.milestones)
            return schedule.lr * schedule.gamma**passed
    return schedule.lr


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate of all parameter groups."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def build_optimizer(module: nn.Module, schedule: Schedule) -> Optimizer:
    """Build the optimiser of all trainable parameters of a module, fused into one kernel if possible.

    SGD decays every weight, as published. AdamW does not decay biases and norms, as usual.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    # A fused optimiser unscales float16's gradients itself, so they could not be clipped before.
    fused = not (schedule.precision == "16" and schedule.clip_grad is not None)
    if schedule.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=schedule.lr, momentum=schedule.momentum, weight_decay=schedule.weight_decay, fused=fused
        )
    groups = [
        {"params": _of(parameters, vectors=False), "weight_decay": schedule.weight_decay},
        {"params": _of(parameters, vectors=True), "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=schedule.lr, fused=fused)


def start_average(module: nn.Module, schedule: Schedule, steps_per_epoch: int) -> AveragedModel | None:
    """Start the moving average of a module's weights and statistics. Return None if the schedule averages less than two steps.

    After a number of steps, a step counts 1/e of what it counted at first. `ema_epochs` is this number, in epochs.
    """
    steps = schedule.ema_epochs * steps_per_epoch
    if steps < 2:
        return None
    blend = get_ema_multi_avg_fn(1 - 1 / steps)  # type: ignore[no-untyped-call]
    return AveragedModel(module, multi_avg_fn=blend, use_buffers=True)


def _of(parameters: Iterable[nn.Parameter], *, vectors: bool) -> list[nn.Parameter]:
    return [p for p in parameters if (p.ndim <= 1) == vectors]


def term_weight(term: Term, epoch: float, epochs: int) -> float:
    """Return a term's weight at a time. It rises linearly over its first epochs and falls linearly over the last ones.

    >>> from pixeldistill.recipe.losses import PKDTerm
    >>> [term_weight(PKDTerm(kind="pkd", weight=2, warmup_epochs=2, cooldown_epochs=1), e, 5) for e in (0, 1, 3, 4.5)]
    [0.0, 1.0, 2.0, 1.0]
    """
    rise = min(1.0, epoch / term.warmup_epochs) if term.warmup_epochs else 1.0
    fall = min(1.0, (epochs - epoch) / term.cooldown_epochs) if term.cooldown_epochs else 1.0
    return term.weight * rise * fall
