"""Loss terms: a function and what it learns. Each is built from its recipe entry and two `FeatureSpec`s."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from pixeldistill.recipe import Term
from pixeldistill.terms.isrd import ISRD
from pixeldistill.terms.prediction import PKD, Supervised
from pixeldistill.types import FeatureSpec

TERMS: dict[str, type[Any]] = {"supervised": Supervised, "pkd": PKD, "isrd": ISRD}


def build_term(config: Term, student: FeatureSpec, teacher: FeatureSpec | None) -> nn.Module:
    """Build the term that a recipe entry names; called as `term(student: Outputs, teacher: Outputs, batch) → scalar`."""
    term: nn.Module = TERMS[config.kind](config, student, teacher)
    return term


def needs_teacher_view(terms: Sequence[Term]) -> bool:
    """Tell whether some term looks at the teacher's image itself, and not only at what the teacher says of it."""
    return any(getattr(TERMS[term.kind], "needs_teacher_view", False) for term in terms)
