"""Settings of a process that trains on the CPU. Imports no torch: they must be made before it is loaded."""

import ctypes
import os
import sys

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # names of glibc's mallopt(3)


def tune_process() -> None:
    """Keep freed memory for the next step, and let idle threads sleep.

    glibc returns buffers above 32 MB to the system as soon as they are freed, so that every step pays for fresh pages: kept,
    steps with ISRD are 1.4 times as fast. OpenMP's threads spin while they wait, so that two trainings on one machine hold
    up each other, and a training its own loader; asleep, each of two is 3 times as fast (`docs/performance.md`). An
    OMP_WAIT_POLICY that is set stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
