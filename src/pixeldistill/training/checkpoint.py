"""Checkpoint of a training. Its digest is checked before anything in it is used."""

import hashlib
import io
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixeldistill.errors import RunError
from pixeldistill.storage.files import check_regular, write_file

_MARK = b"pixeldistill checkpoint 3\n"  # followed by the digest and the length of the rest, which torch.load reads
_DIGEST, _LENGTH = 32, 8  # bytes


@dataclass
class State:
    """Progress of a training. With the weights and the optimiser's state, it is enough to resume."""

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)  # of the current epoch, over its steps
    history: list[dict[str, float]] = field(default_factory=list)
    best: float = -math.inf
    best_epoch: int = 0
    seconds: float = 0.0  # of the current epoch


def write_checkpoint(path: Path, content: Mapping[str, Any], state: State) -> None:
    """Replace a checkpoint. Raise RunError if it cannot be written."""
    buffer = io.BytesIO()
    torch.save({**content, "state": asdict(state)}, buffer)
    saved = buffer.getbuffer()
    write_file(path, b"".join([_MARK, _digest(saved), len(saved).to_bytes(_LENGTH, "little"), saved]))


def read_checkpoint(
    path: Path, like: Mapping[str, Any], device: torch.device, *, epochs: int, steps: int
) -> tuple[dict[str, Any], State]:  # fmt: skip
    """Read a checkpoint for a training whose parts currently have the shapes of `like`.

    Args:
        path: path of the file.
        like: "objective", "average" and "optimizer", as `state_dict` returns them for the training that resumes. The last may be
            fresh.
        device: device of the tensors.
        epochs: number of epochs in the schedule.
        steps: number of steps in an epoch.

    Returns:
        The saved content, and the state.

    Raises:
        RunError: the file is damaged, or belongs to another training: a tensor has another shape, a number is out of its range.
    """
    try:
        content = torch.load(io.BytesIO(_content(path)), map_location=device, weights_only=True)
        _check_tensors(content["objective"], like["objective"])
        _check_tensors(content["average"], like["average"])
        _check_optimizer(content["optimizer"], like["optimizer"], [*like["parameters"]])
        state = State(**content["state"])
        _check_state(state, epochs, steps)
    except Exception as error:  # the file may hold anything
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise RunError(f"checkpoint {path} cannot be read ({reason}): remove it to begin anew") from error
    return content, state


def _content(path: Path) -> bytes:
    """Return the saved content, if it is complete and nothing was added. A longer file is not read at all."""
    check_regular(path)
    with path.open("rb") as file:
        head = file.read(len(_MARK) + _DIGEST + _LENGTH)
        size = int.from_bytes(head[-_LENGTH:], "little")
        if not head.startswith(_MARK) or path.stat().st_size != len(head) + size:
            raise ValueError("it is not as it was written")
        content = file.read()
    if _digest(content) != head[len(_MARK) : -_LENGTH]:
        raise ValueError("it is not as it was written")
    return content


def _digest(content: Any) -> bytes:  # noqa: ANN401
    return hashlib.sha256(content).digest()


def _check_tensors(saved: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> None:
    if saved.keys() != like.keys():
        raise ValueError(f"it holds another network: {min(saved.keys() ^ like.keys())} is not in both")
    for name, value in like.items():
        if saved[name].shape != value.shape or saved[name].dtype != value.dtype:
            raise ValueError(f"{name} is {_words(saved[name])}, not {_words(value)}")


def _check_optimizer(saved: Mapping[str, Any], like: Mapping[str, Any], parameters: list[Tensor]) -> None:
    """Raise ValueError if the optimiser's state differs from a fresh one's. Fused kernels do not check shapes themselves."""
    groups, own = saved["param_groups"], like["param_groups"]
    if [g["params"] for g in groups] != [g["params"] for g in own] or [g.keys() for g in groups] != [g.keys() for g in own]:
        raise ValueError("its optimiser has other parameters")
    for group, now in zip(groups, own, strict=True):
        for name, value in now.items():
            if name not in ("lr", "initial_lr", "params") and group[name] != value:
                raise ValueError(f"its optimiser has {name} {group[name]}, not {value}")
    for number, values in saved["state"].items():
        for name, value in values.items():
            fits = not isinstance(value, Tensor) or value.numel() == 1 or value.shape == parameters[number].shape
            if not fits or (isinstance(value, Tensor) and not value.is_floating_point()):
                raise ValueError(f"its optimiser's {name} of parameter {number} is {_words(value)}")


def _check_state(state: State, epochs: int, steps: int) -> None:
    numbers = [state.best, state.seconds, *state.sums.values(), *(value for row in state.history for value in row.values())]
    whole = [state.epoch, state.step, state.best_epoch]
    if not all(type(n) is int for n in whole) or not all(isinstance(n, (int, float)) for n in numbers):
        raise ValueError("its state is no numbers")
    inside = state.epoch >= 0 and 0 <= state.step <= steps and state.epoch * steps + state.step <= epochs * steps
    if not inside or not 0 <= state.best_epoch <= state.epoch:
        raise ValueError(f"it is at epoch {state.epoch}, step {state.step}, of {epochs} epochs of {steps} steps")
    if [row.get("epoch") for row in state.history] != list(range(1, state.epoch + 1)) or math.isnan(state.best):
        raise ValueError("its history is not that of its epochs")


def _words(value: Tensor) -> str:
    return f"{'×'.join(map(str, value.shape)) or 'a number'} of {str(value.dtype).removeprefix('torch.')}"
