"""Loss terms: a function and what it learns. Each is built from its recipe entry and two `FeatureSpec`s."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from pixeldistill.losses import Term
from pixeldistill.terms.detection import FKD, Boxes, ClassMaps, CrossKD, DetectionLoss
from pixeldistill.terms.exits import Exits
from pixeldistill.terms.isrd import ISRD
from pixeldistill.terms.maps import AT, ICKD, SP, Hint, Upsampled
from pixeldistill.terms.prediction import DIST, DKD, PKD, Supervised
from pixeldistill.types import FeatureSpec, WantedMap

_MAPS: dict[str, type[Any]] = {"isrd": ISRD, "at": AT, "sp": SP, "ickd": ICKD, "hint": Hint, "upsampled": Upsampled}
TERMS: dict[str, dict[str, type[Any]]] = {
    "classification": {"supervised": Supervised, "pkd": PKD, "dkd": DKD, "dist": DIST, "exits": Exits, **_MAPS},
    "detection": {
        "supervised": DetectionLoss, "pkd": ClassMaps, "boxes": Boxes, "fkd": FKD, "crosskd": CrossKD, **_MAPS,
    },
}  # fmt: skip


def build_term(config: Term, student: FeatureSpec, teacher: FeatureSpec | None) -> nn.Module:
    """Build the term that a recipe entry names; called as `term(student: Outputs, teacher: Outputs, batch) → scalar`."""
    term: nn.Module = TERMS["detection" if student.detector else "classification"][config.kind](config, student, teacher)
    return term


def wanted_maps(terms: Iterable[nn.Module]) -> tuple[WantedMap, ...]:
    """List the maps that terms ask of the teacher; of one that several want, the largest size."""
    sizes: dict[int, tuple[int, int]] = {}
    for term in terms:
        for number, (height, width) in getattr(term, "wanted", {}).items():
            before = sizes.get(number, (0, 0))
            sizes[number] = (max(height, before[0]), max(width, before[1]))
    return tuple(WantedMap(number, *size) for number, size in sorted(sizes.items()))


def needs_teacher_view(terms: Sequence[Term]) -> bool:
    """Tell whether some term looks at the teacher's image itself, and not only at what the teacher says of it."""
    return any(term.kind == "isrd" for term in terms)
