"""Failures outside the program (memory, disks, processes, values that a library refuses), in one line each. No torch."""

import errno
import os

from pixeldistill.errors import Interrupted, PixelDistillError, RunError
from pixeldistill.extras import missing_extra

TRACEBACK = "PIXELDISTILL_TRACEBACK"  # if set in the environment, the traceback of an error is shown

LOST_WORKER = (
    "a loader process was killed, most likely as memory ran out: give the same command again with fewer --workers, or a smaller "
    "schedule.batch_size in another `run`"
)
_LOST_PROCESS = (
    "another process of this job has ended: its own line says why, unless it was killed; the same command goes on from what was "
    "saved"
)
_NO_MEMORY = (
    "memory ran out: choose smaller images or networks, a smaller schedule.batch_size or a larger schedule.accumulate, or "
    "train_together: false"
)
_DISTRIBUTED = ("DistBackendError", "DistNetworkError", "DistStoreError", "DistError", "DistQueueEmptyError")
_LOST_PEER = ("closed by peer", "Connection reset", "Broken pipe", "gloo", "NCCL", "Socket Timeout", "recvValue failed")


def is_lost_worker(error: BaseException) -> bool:
    """Return whether an error is PyTorch's about a killed loader worker. PyTorch may raise it anywhere."""
    return isinstance(error, RuntimeError) and "DataLoader worker" in str(error)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the memory of the machine or of the device ran out."""
    words = ("can't allocate memory", "not enough memory", "Cannot allocate memory")
    known = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    full = isinstance(error, OSError) and error.errno == errno.ENOMEM
    return known or full or (isinstance(error, RuntimeError) and any(word in str(error) for word in words))


def in_one_line(error: Exception) -> PixelDistillError | None:
    """Return an error that says what a user can do about an unexpected error. Return None for a defect of the program."""
    told: PixelDistillError | None = None
    if isinstance(error, PixelDistillError):
        told = error
    elif is_out_of_memory(error):
        told = RunError(_NO_MEMORY)
    elif is_lost_worker(error):
        told = RunError(LOST_WORKER)
    elif _is_lost_process(error):
        told = Interrupted(_LOST_PROCESS)
    elif isinstance(error, ModuleNotFoundError):
        told = missing_extra(error)
    elif isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        told = RunError(f"the system says {error.strerror or str(error) or type(error).__name__}{where}")
    elif isinstance(error, RecursionError):
        told = RunError("something in the recipe or in a file is nested too deeply to be read")
    elif isinstance(error, ValueError | OverflowError | RuntimeError):  # PyTorch raises RuntimeError for bad values of all kinds
        kind = "something could not be computed" if isinstance(error, RuntimeError) else "a value cannot be used"
        what = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        told = RunError(f"{kind}: {what} (with {TRACEBACK}=1 before it, the same command says where)")
    return told


def _is_lost_process(error: Exception) -> bool:
    if int(os.environ.get("WORLD_SIZE") or 1) == 1 or not isinstance(error, RuntimeError):
        return False
    return type(error).__name__ in _DISTRIBUTED or any(word in str(error) for word in _LOST_PEER)
