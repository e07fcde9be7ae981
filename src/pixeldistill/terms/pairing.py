"""Pairing of the student's maps with the teacher's, for any two networks."""

from math import ceil
from typing import NamedTuple

from pixeldistill.errors import RecipeError
from pixeldistill.recipe.levels import Pair, pair_levels
from pixeldistill.recipe.losses import Maps
from pixeldistill.tasks.detection.pyramid import shared_grids
from pixeldistill.types import FeatureSpec, MapSpec


class MapPair(NamedTuple):
    """Numbers of two paired maps."""

    student: int
    teacher: int


def level_pairs(student: FeatureSpec, teacher: FeatureSpec) -> list[Pair]:
    """Pair two detectors' levels. See `recipe.levels.pair_levels`."""
    return pair_levels(student.levels, student.image_size[0], teacher.levels, teacher.image_size[0])


def common_parts(pair: MapPair, student: FeatureSpec, teacher: FeatureSpec) -> tuple[MapSpec, MapSpec]:
    """Return the shapes of the parts of two paired maps that show the same part of the image.

    A classifier's maps show the whole image. A detector's image is padded on its lower and right edges, see `shared_grids`.
    """
    ours, theirs = student.features[pair.student], teacher.features[pair.teacher]
    if not student.levels:
        return ours, theirs
    level = next(level for level in level_pairs(student, teacher) if level.student == pair.student)
    near, far = shared_grids(level, (ours.height, ours.width), (theirs.height, theirs.width))
    return MapSpec(ours.channels, *near), MapSpec(theirs.channels, *far)


def choose_maps(maps: Maps, student: FeatureSpec, kind: str) -> list[int]:
    """Return the numbers of the student's maps that a term's `maps` mean.

    Raises:
        RecipeError: the student does not have a map of a given number.
    """
    if maps == "all":
        return _deep(student)
    if maps == "last":
        return [len(student.features) - 1]
    count = len(student.features)
    if wrong := [number for number in maps if not -count <= number < count]:
        raise RecipeError(f"term {kind}: maps {wrong[0]}: the student has {count} maps, 0 to {count - 1}")
    return sorted({number % count for number in maps if isinstance(number, int)})


def pair_maps(maps: Maps, student: FeatureSpec, teacher: FeatureSpec, kind: str) -> list[MapPair]:
    """Pair maps by relative depth: the last with the last, the middle with the middle, for any numbers of maps (ours).

    Maps at half the image size or larger belong to the stem. They count only if the recipe gives the number of one of them. A
    detector's maps are the levels of its pyramid, and are paired by `level_pairs`.
    """
    chosen = choose_maps(maps, student, kind)
    if student.levels:
        return _chosen_levels(maps, chosen, student, teacher, kind)
    ours, theirs = _deep(student), _deep(teacher)
    if not set(chosen) <= set(ours):
        ours, theirs = list(range(len(student.features))), list(range(len(teacher.features)))
    return [MapPair(number, theirs[ceil((ours.index(number) + 1) * len(theirs) / len(ours)) - 1]) for number in chosen]


def _chosen_levels(
    maps: Maps, chosen: list[int], student: FeatureSpec, teacher: FeatureSpec, kind: str
) -> list[MapPair]:  # fmt: skip
    """Pair two detectors' levels. "last" means the last level with a partner."""
    pairs = [MapPair(p.student, p.teacher) for p in level_pairs(student, teacher)]
    found = pairs[-1:] if maps == "last" else [pair for pair in pairs if pair.student in chosen]
    if not found:
        raise RecipeError(f"term {kind}: none of the student's levels that it names has its like in the teacher's: see `show`")
    return found


def _deep(spec: FeatureSpec) -> list[int]:
    """List the maps behind the stem, or all maps if there are no others."""
    height = spec.nominal_size
    if spec.levels:
        return list(range(len(spec.features)))
    return [i for i, m in enumerate(spec.features) if 2 * m.height < height] or list(range(len(spec.features)))
