"""Devices and processes. The one file that imports Lightning Fabric."""

import atexit
import gc
import os
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers.logger import Logger
from lightning_fabric.loggers.tensorboard import TensorBoardLogger
from lightning_fabric.plugins import MixedPrecision
from torch import Tensor, distributed

from pixeldistill.errors import RecipeError, RunError
from pixeldistill.process import keep_memory

__all__ = ["Fabric", "Logger", "TensorBoardLogger", "make_fabric", "to_device"]

_MIXED: dict[str, Any] = {"bf16": "bf16-mixed", "16": "16-mixed"}


class _Autocast(MixedPrecision):
    """Mixed precision by autocast alone: Fabric would round all that goes in, boxes in pixels and a teacher's answers too."""

    def convert_input(self, data: Any) -> Any:  # noqa: ANN401
        """Leave inputs as they are."""
        return data


def make_fabric(precision: str = "32", accelerator: str = "auto") -> Fabric:
    """Make the Fabric of this process: one device, or this process's share of a job started by torchrun."""
    keep_memory()
    local, world = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), int(os.environ.get("WORLD_SIZE", "1"))
    try:
        fabric = Fabric(
            accelerator=accelerator,
            devices=local,
            num_nodes=max(1, world // local),
            strategy="ddp" if world > 1 else "auto",
            plugins=[_Autocast(_MIXED[precision], _device_type(accelerator))] if precision in _MIXED else None,
        )
    except (ValueError, RuntimeError) as error:  # Fabric's own class of error for a missing device is a RuntimeError
        raise RunError(f"accelerator {accelerator!r} cannot be used here: {str(error).splitlines()[0]}") from error
    if precision == "16" and fabric.device.type == "cpu":
        raise RecipeError("schedule.precision 16 needs a GPU: use bf16 or 32")
    fabric.launch()
    if world > 1:
        atexit.unregister(_leave)  # once, however many are made
        atexit.register(_leave)
    return fabric


def _device_type(accelerator: str) -> str:
    """Name the kind of device that Fabric will take."""
    if accelerator != "auto":
        return "cuda" if accelerator == "gpu" else accelerator
    if torch.backends.mps.is_available():
        return "mps"
    return "cuda" if torch.cuda.is_available() else "cpu"


def first_machine(fabric: Fabric) -> int:
    """Return how many processes the first machine has: their ranks come first."""
    return min(int(os.environ.get("LOCAL_WORLD_SIZE", fabric.world_size)), fabric.world_size)


def _leave() -> None:
    """Take leave of the other processes: one whose connections still have threads at its very end is aborted now and then."""
    gc.collect()  # what trained holds the group
    if distributed.is_initialized():
        distributed.destroy_process_group()


def to_device(tensor: Tensor, fabric: Fabric) -> Tensor:
    """Send a tensor to the device without waiting for it."""
    return tensor.pin_memory().to(fabric.device, non_blocking=True) if fabric.device.type == "cuda" else tensor.to(fabric.device)
