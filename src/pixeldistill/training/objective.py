"""The objective of a stage: a student and terms in, the weighted sum out."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pixeldistill.networks.classifier import Classifier
from pixeldistill.recipe import Term
from pixeldistill.terms import build_term
from pixeldistill.types import Batch, FeatureSpec


class Objective(nn.Module):
    """Sums the weighted terms of a stage; called as `objective(batch) → {"loss": ..., "<term>": weighted share}`.

    Of the teacher it knows the shapes alone: what the teacher says comes with the batch.
    """

    def __init__(self, student: Classifier, teacher: FeatureSpec | None, terms: tuple[Term, ...]) -> None:
        super().__init__()
        self.student = student
        self.weights: Mapping[str, float] = {term.kind: term.weight for term in terms}
        self.terms = nn.ModuleDict({term.kind: build_term(term, student.spec, teacher) for term in terms})

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Compute the loss of a batch and every term's weighted share of it."""
        student = self.student(batch.views["student"].image)
        shares = {name: self.weights[name] * term(student, batch.teacher, batch) for name, term in self.terms.items()}
        return {"loss": torch.stack(list(shares.values())).sum(), **shares}
