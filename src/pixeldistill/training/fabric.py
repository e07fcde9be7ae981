"""Devices and processes. This is the only file that imports Lightning Fabric."""

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
    """Mixed precision by autocast alone. Fabric would also round all inputs, such as boxes in pixels and teacher outputs."""

    def convert_input(self, data: Any) -> Any:  # noqa: ANN401
        """Return inputs unchanged."""
        return data


def make_fabric(precision: str = "32", accelerator: str = "auto") -> Fabric:
    """Create the Fabric of this process: one device, or this process's share of a job started by torchrun."""
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
    except (ValueError, RuntimeError) as error:  # Fabric's error for a missing device is a RuntimeError
        raise RunError(f"accelerator {accelerator!r} cannot be used here: {str(error).splitlines()[0]}") from error
    if precision == "16" and fabric.device.type == "cpu":
        raise RecipeError("schedule.precision 16 needs a GPU: use bf16 or 32")
    fabric.launch()
    if world > 1:
        atexit.unregister(_leave)  # once, for any number of Fabrics
        atexit.register(_leave)
    return fabric


def _device_type(accelerator: str) -> str:
    """Return the kind of device that Fabric will use."""
    if accelerator != "auto":
        return "cuda" if accelerator == "gpu" else accelerator
    if torch.backends.mps.is_available():
        return "mps"
    return "cuda" if torch.cuda.is_available() else "cpu"


def first_machine(fabric: Fabric) -> int:
    """Return the number of processes on the first machine. They have the first ranks."""
    return min(int(os.environ.get("LOCAL_WORLD_SIZE", fabric.world_size)), fabric.world_size)


def _leave() -> None:
    """Disconnect from the other processes. With threads still open, a process is sometimes aborted at exit."""
    gc.collect()  # the training's objects hold the group
    if distributed.is_initialized():
        distributed.destroy_process_group()


def to_device(tensor: Tensor, fabric: Fabric) -> Tensor:
    """Send a tensor to the device without waiting for it."""
    return tensor.pin_memory().to(fabric.device, non_blocking=True) if fabric.device.type == "cuda" else tensor.to(fabric.device)
