"""The objective of a stage: a student and terms in, the weighted sum out."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pixeldistill.networks.adapter import Adapter
from pixeldistill.recipe.losses import Term, name_terms
from pixeldistill.terms import build_term, wanted_maps
from pixeldistill.training.schedule import term_weight
from pixeldistill.types import Batch, FeatureSpec, Outputs


class Objective(nn.Module):
    """Sums the weighted terms of a stage; called as `objective(batch) → {"loss": ..., "<term>": weighted share}`.

    Of the teacher it knows the shapes alone: what the teacher says comes with the batch.

    Attributes:
        wanted: the maps that the terms ask of the teacher.
    """

    def __init__(self, student: Adapter, teacher: FeatureSpec | None, terms: tuple[Term, ...], epochs: int) -> None:
        super().__init__()
        self.student = student
        self._compiled: Callable[[Tensor], Outputs] | None = None  # of the same student
        self.configs = name_terms(terms)
        self.epochs = epochs
        self.terms = nn.ModuleDict({name: build_term(term, student.spec, teacher) for name, term in self.configs.items()})
        self.wanted = wanted_maps(self.terms.values())

    def compile_student(self) -> None:
        """Compile the student's forward pass, as it is trained: evaluation, whose images may have any shape, is left as it is."""
        self._compiled = torch.compile(self.student.forward)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Compute the loss of a batch and every term's weighted share of it."""
        student = (self._compiled or self.student)(batch.views["student"].image)
        shares = {
            name: term_weight(self.configs[name], batch.epoch, self.epochs) * term(student, batch.teacher, batch)
            for name, term in self.terms.items()
        }
        return {"loss": torch.stack(list(shares.values())).sum(), **shares}
