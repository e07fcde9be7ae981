"""The objective of a stage: student, teacher and terms in, the weighted sum out."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pixeldistill.networks.classifier import Classifier
from pixeldistill.recipe import Term
from pixeldistill.terms import build_term
from pixeldistill.types import Batch


class Objective(nn.Module):
    """Sums the weighted terms of a stage; called as `objective(batch) → {"loss": ..., "<term>": weighted share}`.

    The teacher is frozen, in eval mode, and not a child module: it is neither trained, saved nor synchronised.
    """

    def __init__(self, student: Classifier, teacher: Classifier | None, terms: tuple[Term, ...]) -> None:
        super().__init__()
        self.student = student
        self._teacher = (teacher.requires_grad_(False).eval(),) if teacher else ()
        self.weights: Mapping[str, float] = {term.kind: term.weight for term in terms}
        spec = teacher.spec if teacher else None
        self.terms = nn.ModuleDict({term.kind: build_term(term, student.spec, spec) for term in terms})

    @property
    def teacher(self) -> Classifier | None:
        """The frozen teacher, if there is one."""
        return self._teacher[0] if self._teacher else None

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Compute the loss of a batch and every term's weighted share of it."""
        student = self.student(batch.views["student"].image)
        teacher = None
        if self.teacher:
            with torch.no_grad():
                teacher = self.teacher(batch.views["teacher"].image)
        shares = {name: self.weights[name] * term(student, teacher, batch) for name, term in self.terms.items()}
        return {"loss": torch.stack(list(shares.values())).sum(), **shares}
