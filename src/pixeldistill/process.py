"""Settings of a process that trains on the CPU. Imports no torch: they must be made before it is loaded."""

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
    """Let threads that wait sleep soon, and a rank end with torchrun. What the environment says already stays.

    OpenMP's threads spin for long while they wait, so that two trainings on one machine hold up each other, and a training its
    own loader; if they sleep at once, each of a small network's many operations must wake them. What the settings are worth
    is measured in `docs/benchmarks/process.md`.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        _end_with_parent()


def keep_memory() -> None:
    """Keep freed memory for the next step: glibc else returns buffers above 32 MB, and every step pays for fresh pages."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)


def _end_with_parent() -> None:
    """Let this process be killed when its parent ends: torchrun's ranks would go on, or wait for each other. On Linux alone."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "prctl"):
        libc.prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)


@contextmanager
def importing() -> Iterator[None]:
    """Import large libraries in two thirds of the time: what they define is no garbage, and is not looked at again and again."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def release_memory() -> None:
    """Give memory that is kept but not in use back to the system.

    A forked process shares its parent's pages until the parent writes to them. From then on it holds a copy of its own: without
    this, a loader's worker comes to hold all that the parent had kept.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
