"""Settings of a process that trains on the CPU. Imports no torch, because they must be set before it is loaded."""

import ctypes
import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SPINS = "3000"  # some microseconds
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # names of glibc's mallopt(3)
_PARENT_DEATH_SIGNAL = 1  # of prctl(2)


def tune_process() -> None:
    """Make waiting threads sleep soon, and a rank end with torchrun. Settings in the environment are kept.

    OpenMP's threads spin for long while they wait, so two trainings on one machine slow each other down, and a training slows
    its own loader. If threads sleep at once, each of a small network's many operations must wake them. The effect of the
    settings is measured in `docs/benchmarks/process.md`.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        _end_with_parent()


def keep_memory() -> None:
    """Keep freed memory for the next step. Otherwise glibc returns buffers above 32 MB, and every step needs new pages."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)


def _end_with_parent() -> None:
    """Let the system kill this process when its parent ends. Otherwise torchrun's ranks go on or wait. Linux only."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "prctl"):
        libc.prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)


@contextmanager
def importing() -> Iterator[None]:
    """Import large libraries in two thirds of the time, without repeated garbage collection of their definitions."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def release_memory() -> None:
    """Return kept but unused memory to the system.

    A forked process shares its parent's pages until the parent writes to them. From then on it holds its own copy. Without this
    call, a loader's worker would end up holding all memory that the parent had kept.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
