"""Which outputs of a teacher its cache holds, how they are called and how large they are."""

from collections.abc import Iterable

import numpy as np

from pixeldistill.types import FeatureSpec, WantedMap

LOGITS = "logits"


def cache_bytes(spec: FeatureSpec, wanted: Iterable[WantedMap], views: int, images: int) -> int:
    """Return how large a teacher cache will be."""
    return sum(views * images * output_bytes(shape) for shape in output_shapes(spec, wanted).values())


def output_shapes(spec: FeatureSpec, wanted: Iterable[WantedMap]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every output for one view, by its name."""
    maps = {map_name(want): (spec.features[want.number].channels, want.height, want.width) for want in wanted}
    return {LOGITS: (spec.classes,), **maps}


def output_bytes(shape: tuple[int, ...]) -> int:
    """Return how large one output is, in half precision."""
    return 2 * int(np.prod(shape))


def map_name(want: WantedMap) -> str:
    """Name a map as its folder is called."""
    return f"map-{want.number}-{want.height}x{want.width}"
