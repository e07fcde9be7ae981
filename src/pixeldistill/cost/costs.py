"""Costs of a pair of network and camera, and their units. Pure data, no torch."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pixeldistill.errors import DataError
from pixeldistill.recipe.budget import AXES


@dataclass(frozen=True)
class Costs:
    """Costs of a network behind a camera, for one image. A cost that was not measured is None.

    camera: in words, see `Camera.words`. kind: see `Camera.kind`. quality: of the camera's codec, 100 for a lossless one.
    built: settings of the network that are not the default (patch_size, options, a detector's levels, …).
    params: number of parameters. macs: multiply-accumulates. memory: peak bytes of activations. pixels: of the sensor.
    latency, p95: median and 95th percentile in seconds, with ONNX Runtime on `threads` threads.
    bytes: size of an encoded image. bitrate: bits a second at the given frame rate.
    """

    network: str
    image_size: int
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
    kind: str = ""
    quality: float = 100.0

    def __post_init__(self) -> None:
        """Give a camera without a kind its own words as its kind, so that it matches only itself."""
        if not self.kind:
            object.__setattr__(self, "kind", self.camera)

    @property
    def label(self) -> str:
        """Name of the pair: network, image size and camera."""
        return f"{self.title} at {self.image_size}, {self.camera}"

    @property
    def title(self) -> str:
        """Name of the network, and its settings that are not the default."""
        return f"{self.network} ({self.built})" if self.built else self.network


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
    """Write a number with three digits, or with all digits before the point, never with a power of ten.

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
    """Read a file that `to_csv` or `to_json` has written.

    Raises:
        DataError: the file holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = json.loads(text) if path.suffix == ".json" else list(csv.DictReader(io.StringIO(text)))
        return [_read_row(row) for row in rows]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, csv.Error) as error:
        raise DataError(f"{path} holds no costs ({error}): name what `pixeldistill cost ... --out costs.csv` writes") from error


def _read_row(row: dict[str, Any]) -> Costs:
    kinds: dict[str, Callable[[Any], Any]] = {"network": str, "camera": str, "image_size": int, "threads": int}
    found = {name: row[name] for name in (field.name for field in fields(Costs)) if name not in ("built", "kind", "quality")}
    read: dict[str, Any] = {n: None if value in (None, "") else kinds.get(n, float)(value) for n, value in found.items()}
    read |= {name: str(row.get(name) or "") for name in ("built", "kind")}
    read["quality"] = float(row.get("quality") or 100)
    for field in fields(Costs):
        value = read[field.name]
        if value is None and field.default is not None:
            raise ValueError(f"a row without {field.name}")
        if isinstance(value, int | float) and not 0 <= value < math.inf:
            raise ValueError(f"{field.name} {value}")
    return Costs(**read)


def columns(costs: Sequence[Costs]) -> list[str]:
    """Return the names of the axes on which at least one pair was measured."""
    return [name for name in AXES if any(getattr(cost, name) is not None for cost in costs)]
