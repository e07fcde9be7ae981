"""Loss terms: a function and its learned layers. Each is built from its recipe entry and two `FeatureSpec`s."""

from collections.abc import Iterable, Sequence

from torch import nn

from pixeldistill.plugins import load
from pixeldistill.recipe.losses import Term
from pixeldistill.recipe.tasks import RULES
from pixeldistill.types import FeatureSpec, WantedMap


def build_term(config: Term, student: FeatureSpec, teacher: FeatureSpec | None) -> nn.Module:
    """Build the term of a recipe entry. It is called as `term(student: Outputs, teacher: Outputs, batch) → scalar`."""
    place = next(config.computed_by[name] for name in RULES[student.task].names if name in config.computed_by)
    term: nn.Module = load(place)(config, student, teacher)
    return term


def wanted_maps(terms: Iterable[nn.Module]) -> tuple[WantedMap, ...]:
    """List the maps that terms need from the teacher. If several terms need one map, the largest size counts."""
    sizes: dict[int, tuple[int, int]] = {}
    for term in terms:
        for number, (height, width) in getattr(term, "wanted", {}).items():
            before = sizes.get(number, (0, 0))
            sizes[number] = (max(height, before[0]), max(width, before[1]))
    return tuple(WantedMap(number, *size) for number, size in sorted(sizes.items()))


def needs_teacher_view(terms: Sequence[Term]) -> bool:
    """Return whether a term reads the teacher's image itself, and not only the teacher's outputs."""
    return any(term.needs_teacher_view for term in terms)
