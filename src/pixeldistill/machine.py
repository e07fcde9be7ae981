"""Processor of this machine, its cores and its instructions."""

import os
import platform
from pathlib import Path


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> str:
    """Return the name of the processor and of its software. A latency holds only for these."""
    import onnxruntime

    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return f"{platform.machine()}, {model}, {cores()} cores, onnxruntime {onnxruntime.__version__}"


def integer_instructions() -> list[str]:
    """Return the processor's instructions for products of 8-bit integers. Without any, integers are no faster than floats."""
    info = Path("/proc/cpuinfo")
    known = info.read_text(encoding="utf-8").split() if info.is_file() else []
    return [name for name in ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm") if name in known]
