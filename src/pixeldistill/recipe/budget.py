"""Axes of costs that a budget can limit, and their units. Pure data."""

import math
import re
from typing import NamedTuple

from pixeldistill.errors import RecipeError, nearest


class Axis(NamedTuple):
    """A cost that a budget may limit: its title, its unit's name, and the accepted units."""

    title: str
    unit: str
    units: dict[str, float]


_COUNT = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}

_BYTES = {"B": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1024.0, "MiB": 1024.0**2, "GiB": 1024.0**3}

_BITS = {f"{prefix}{unit}": factor for prefix, factor in _COUNT.items() for unit in ("bit/s", "bps", "b/s")}

_TIMES = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}

AXES = {
    "params": Axis("params", "", _COUNT),
    "macs": Axis("MACs", "", _COUNT),
    "memory": Axis("peak memory", "B", _BYTES),
    "pixels": Axis("pixels", "", _COUNT),
    "latency": Axis("latency", "s", _TIMES),
    "bytes": Axis("bytes", "B", _BYTES),
    "bitrate": Axis("bit rate", "bit/s", _BITS),
}

_QUANTITY = re.compile(r"^\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*(\S*)\s*$")


def parse_limit(name: str, text: str | float) -> float:
    """Read a limit, such as 4kB, 50M, 5ms, in the axis' base unit.

    Raises:
        RecipeError: the axis or unit is unknown, or there is no number.

    >>> parse_limit("bytes", "4kB"), parse_limit("latency", "5ms"), parse_limit("macs", "50M")
    (4000.0, 0.005, 50000000.0)
    """
    if name not in AXES:
        raise RecipeError(f"budget: unknown cost {name!r}, {nearest(name, AXES)}")
    units = AXES[name].units
    match = _QUANTITY.match(str(text))
    if not match:
        raise RecipeError(f"budget: {name} {text!r} is no quantity: write a number and a unit, such as {_example(name)}")
    number, unit = float(match[1]), match[2]
    if unit not in units and not (unit == "" and AXES[name].unit == ""):
        shown = ", ".join(unit for unit in units if unit)
        said = f"unknown unit {unit!r}" if unit else "it has no unit"
        raise RecipeError(f"budget: {name} {text!r}: {said}; valid: {shown}, as in {_example(name)}")
    value = number * units[unit]
    if not 0 < value < math.inf:
        raise RecipeError(f"budget: {name} {text!r} must be more than nothing, and finite")
    return value


def _example(name: str) -> str:
    return {"B": "4kB", "s": "5ms", "bit/s": "100kbit/s", "": "50M"}[AXES[name].unit]
