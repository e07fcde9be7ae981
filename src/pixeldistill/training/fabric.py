"""Devices and processes. The one file that imports Lightning Fabric."""

import atexit
import gc
import os
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor, distributed

from pixeldistill.errors import RecipeError, RunError

__all__ = ["Fabric", "make_fabric", "to_device"]

_PRECISION: dict[str, Any] = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


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
    if world > 1:
        atexit.unregister(_leave)  # once, however many are made
        atexit.register(_leave)
    return fabric


def _leave() -> None:
    """Take leave of the other processes: one whose connections still have threads at its very end is aborted now and then."""
    gc.collect()  # what trained holds the group
    if distributed.is_initialized():
        distributed.destroy_process_group()


def to_device(tensor: Tensor, fabric: Fabric) -> Tensor:
    """Send a tensor to the device without waiting for it."""
    return tensor.pin_memory().to(fabric.device, non_blocking=True) if fabric.device.type == "cuda" else tensor.to(fabric.device)
