"""What a pair of network and camera costs, and the units in which it is said. Pure data; no torch."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from pixeldistill.errors import DataError, RecipeError, nearest


@dataclass(frozen=True)
class Costs:
    """Costs of a network behind a camera, for one image. What was not measured is None.

    camera: in words, see `Imaging.words`. built: what is not as usual in the network (patch, options, a detector's levels, …).
    params: of the network. macs: multiply-accumulates. memory: bytes of activations alive at the peak. pixels: of the sensor.
    latency, p95: seconds, median and 95th percentile, with ONNX Runtime on `threads` threads. bytes: of an image as it is sent.
    bitrate: bits a second at the frame rate that was asked for.
    """

    network: str
    side: int
    camera: str
    params: float
    macs: float
    memory: float
    pixels: float
    latency: float | None = None
    p95: float | None = None
    threads: int | None = None
    bytes: float | None = None
    bitrate: float | None = None
    built: str = ""

    @property
    def label(self) -> str:
        """What the pair is called: network, side and camera."""
        return f"{self.title} at {self.side}, {self.camera}"

    @property
    def title(self) -> str:
        """The network, and what is not as usual in it."""
        return f"{self.network} ({self.built})" if self.built else self.network


class Axis(NamedTuple):
    """A cost that a budget may limit: its title, its unit's name, the units in which it may be said."""

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
        RecipeError: an unknown axis or unit, or no number.

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


def write_quantity(name: str, value: float | None) -> str:
    """Write a cost with its unit.

    >>> write_quantity("bytes", 4250), write_quantity("latency", 0.0031), write_quantity("macs", 29.1e6)
    ('4.25 kB', '3.1 ms', '29.1 M')
    """
    if value is None:
        return "–"
    base = AXES[name].unit
    if base == "s":
        return f"{_three_digits(1e3 * value)} ms"
    prefixes = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
    factor, prefix = next(((factor, prefix) for factor, prefix in prefixes if value >= 0.9995 * factor), (1, ""))
    return f"{_three_digits(value / factor)} {prefix}{base}".strip()


def _three_digits(value: float) -> str:
    """Write three digits, or all before the point, never a power of ten.

    >>> _three_digits(3.14159), _three_digits(12345.6), _three_digits(0.0123456)
    ('3.14', '12346', '0.0123')
    """
    return f"{value:.0f}" if value >= 999.5 else f"{value:.3g}"


def to_csv(costs: Iterable[Costs]) -> str:
    """Write costs as CSV, in base units."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [field.name for field in fields(Costs)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(cost) for cost in costs)
    return buffer.getvalue()


def to_json(costs: Iterable[Costs]) -> str:
    """Write costs as JSON, in base units."""
    return json.dumps([asdict(cost) for cost in costs], indent=1) + "\n"


def read_costs(path: Path) -> list[Costs]:
    """Read what `to_csv` or `to_json` has written.

    Raises:
        DataError: another file.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = json.loads(text) if path.suffix == ".json" else list(csv.DictReader(io.StringIO(text)))
        return [_read_row(row) for row in rows]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, csv.Error) as error:
        raise DataError(f"{path} holds no costs ({error}): name what `pixeldistill cost ... --out costs.csv` writes") from error


def _read_row(row: dict[str, Any]) -> Costs:
    kinds: dict[str, Callable[[Any], Any]] = {"network": str, "camera": str, "side": int, "threads": int}
    found = {name: row[name] for name in (field.name for field in fields(Costs)) if name != "built"}
    read: dict[str, Any] = {n: None if value in (None, "") else kinds.get(n, float)(value) for n, value in found.items()}
    read["built"] = str(row.get("built") or "")
    for field in fields(Costs):
        value = read[field.name]
        if value is None and field.default is not None:
            raise ValueError(f"a row without {field.name}")
        if isinstance(value, int | float) and not 0 <= value < math.inf:
            raise ValueError(f"{field.name} {value}")
    return Costs(**read)


def columns(costs: Sequence[Costs]) -> list[str]:
    """Name the axes that anything was measured on."""
    return [name for name in AXES if any(getattr(cost, name) is not None for cost in costs)]
