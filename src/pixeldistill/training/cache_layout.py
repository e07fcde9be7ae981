"""Layout of a teacher cache: its outputs, their names and their sizes."""

from collections.abc import Iterable

import numpy as np

from pixeldistill.types import FeatureSpec, WantedMap

LOGITS = "logits"


def cache_bytes(spec: FeatureSpec, wanted: Iterable[WantedMap], views: int, images: int) -> int:
    """Return the size of a teacher cache in bytes."""
    return sum(views * images * output_bytes(shape) for shape in output_shapes(spec, wanted).values())


def output_shapes(spec: FeatureSpec, wanted: Iterable[WantedMap]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every output for one view, by name."""
    maps = {map_name(want): (spec.features[want.number].channels, want.height, want.width) for want in wanted}
    return {LOGITS: (spec.classes,), **maps}


def output_bytes(shape: tuple[int, ...]) -> int:
    """Return the size of one output in bytes, in half precision."""
    return 2 * int(np.prod(shape))


def map_name(want: WantedMap) -> str:
    """Return the name of a map, which is also the name of its folder."""
    return f"map-{want.number}-{want.height}x{want.width}"
