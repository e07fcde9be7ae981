"""Objective of a stage: the weighted sum of a student's terms."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pixeldistill.errors import PluginError
from pixeldistill.networks.adapter import Adapter
from pixeldistill.recipe.losses import Term, name_terms
from pixeldistill.terms import build_term, wanted_maps
from pixeldistill.training.schedule import term_weight
from pixeldistill.types import Batch, FeatureSpec, Outputs


class Objective(nn.Module):
    """Weighted sum of a stage's terms; called as `objective(batch) → {"loss": ..., "<term>": weighted share}`.

    It knows only the shapes of the teacher. The teacher's outputs come with the batch.

    Attributes:
        wanted: the teacher's maps that the terms need.
    """

    def __init__(self, student: Adapter, teacher: FeatureSpec | None, terms: tuple[Term, ...], epochs: int) -> None:
        super().__init__()
        self.student = student
        self._compiled: Callable[[Tensor], Outputs] | None = None  # the same student, compiled
        self.configs = name_terms(terms)
        self.epochs = epochs
        self.terms = nn.ModuleDict({name: build_term(term, student.spec, teacher) for name, term in self.configs.items()})
        self.wanted = wanted_maps(self.terms.values())

    def compile_student(self) -> None:
        """Compile the student's forward pass for training. Evaluation is not compiled, because its images may have any shape."""
        self._compiled = torch.compile(self.student.forward)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss of a batch, and every term's weighted share of it."""
        student = (self._compiled or self.student)(batch.views["student"].image)
        shares = {
            name: term_weight(self.configs[name], batch.epoch, self.epochs) * _number(name, term(student, batch.teacher, batch))
            for name, term in self.terms.items()
        }
        return {"loss": torch.stack(list(shares.values())).sum(), **shares}


def _number(name: str, value: object) -> Tensor:
    """Return a term's value. Raise PluginError if it is no single number: a package's term may be wrong."""
    if isinstance(value, Tensor) and value.ndim == 0:
        return value
    found = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
    raise PluginError(f"term {name} must return one number, a tensor without dimensions, and returned {found}")
