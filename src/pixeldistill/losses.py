"""What a recipe says of its losses: one class each, told apart by `kind`. Pure data; `terms.TERMS` builds them."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, PositiveInt, model_validator

from pixeldistill.strict import Strict

Maps = Literal["all", "last"] | Annotated[tuple[int, ...], Field(min_length=1)]


class _Term(Strict):
    """A loss, its weight, and how that changes: it rises from 0 in the first epochs and falls to 0 in the last ones."""

    weight: float = Field(1.0, ge=0)
    warmup_epochs: float = Field(0, ge=0)
    cooldown_epochs: float = Field(0, ge=0)

    def stretched(self, times: float) -> Self:
        """Give the same term for a schedule that many times as long: it rises and falls in the same share of it."""
        return self.model_copy(update={name: times * getattr(self, name) for name in ("warmup_epochs", "cooldown_epochs")})


class SupervisedTerm(_Term):
    """The task's own loss with the labels: cross-entropy, or the detector's."""

    kind: Literal["supervised"]
    exposed: tuple[PositiveInt, PositiveInt] | None = Field(
        None, description="detection: first and last of the levels that objects are matched with as if there were no others"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.exposed and self.exposed[0] > self.exposed[1]:
            raise ValueError(f"exposed is [first, last] with first <= last, not {list(self.exposed)}")
        return self


class PKDTerm(_Term):
    """Distillation of the prediction (METHOD: L_PKD). Of a classifier with the labels' cross-entropy, of a detector without."""

    kind: Literal["pkd"]
    temperature: float = Field(4.0, gt=0)
    alpha: float = Field(0.9, ge=0, le=1)


class DKDTerm(_Term):
    """Decoupled distillation of the prediction, without the labels' cross-entropy."""

    kind: Literal["dkd"]
    temperature: float = Field(4.0, gt=0)
    alpha: float = Field(1.0, ge=0)
    beta: float = Field(2.0, ge=0)


class DISTTerm(_Term):
    """Relations in the prediction, without the labels' cross-entropy."""

    kind: Literal["dist"]
    temperature: float = Field(1.0, gt=0)
    beta: float = Field(1.0, ge=0)
    gamma: float = Field(1.0, ge=0)


class ExitsTerm(_Term):
    """Exit branches on the student's maps that learn the teacher's prediction, as the student's own prediction does (OFA)."""

    kind: Literal["exits"]
    maps: Maps = "all"
    temperature: float = Field(1.0, gt=0)
    exponent: float = Field(1.5, ge=1)


class ISRDTerm(_Term):
    """Input spatial representation distillation (METHOD: L_ISRD)."""

    kind: Literal["isrd"]
    fit: Literal["resize", "crop"] = "resize"


class ATTerm(_Term):
    """Attention transfer."""

    kind: Literal["at"]
    maps: Maps = "all"


class SPTerm(_Term):
    """Similarity-preserving distillation."""

    kind: Literal["sp"]
    maps: Maps = "last"


class ICKDTerm(_Term):
    """Inter-channel correlation; the student's map is projected to the teacher's channels."""

    kind: Literal["ickd"]
    maps: Maps = "last"


class HintTerm(_Term):
    """FitNet hints: the student's map, projected to the teacher's channels, against the teacher's."""

    kind: Literal["hint"]
    maps: Maps = "last"


class UpsampledTerm(_Term):
    """The input-compression stage's feature loss (METHOD: L_up): the student's map upsampled to the assistant's."""

    kind: Literal["upsampled"]
    maps: Maps = "last"


class BoxesTerm(_Term):
    """Detection: the teacher's boxes, where it is confident."""

    kind: Literal["boxes"]
    threshold: float = Field(0.1, ge=0, le=1, description="the teacher's probability from which a box counts, by its confidence")


class FKDTerm(_Term):
    """Detection: the pyramid levels that correspond, summed."""

    kind: Literal["fkd"]
    form: Literal["pearson", "mse"] = Field("pearson", description="the channels' correlation, or squared differences")


class CrossKDTerm(_Term):
    """Detection: the teacher's head, on the student's features, mimics the teacher's prediction."""

    kind: Literal["crosskd"]


Term = Annotated[
    SupervisedTerm
    | PKDTerm
    | DKDTerm
    | DISTTerm
    | ExitsTerm
    | ISRDTerm
    | ATTerm
    | SPTerm
    | ICKDTerm
    | HintTerm
    | UpsampledTerm
    | BoxesTerm
    | FKDTerm
    | CrossKDTerm,
    Field(discriminator="kind"),
]


def name_terms(terms: Sequence["Term"]) -> dict[str, "Term"]:
    """Give every term of a list a name: its kind, with a number where a kind is there again.

    >>> list(name_terms([ATTerm(kind="at", maps=(1,)), PKDTerm(kind="pkd"), ATTerm(kind="at", maps=(4,))]))
    ['at', 'pkd', 'at-2']
    """
    found: dict[str, Term] = {}
    for i, term in enumerate(terms):
        before = sum(other.kind == term.kind for other in terms[:i])
        found[f"{term.kind}-{before + 1}" if before else term.kind] = term
    return found


OF_CLASSIFIERS = ("dkd", "dist", "exits")  # the others serve both tasks
OF_DETECTORS = ("boxes", "fkd", "crosskd")

_CONFIGS: tuple[type[_Term], ...] = get_args(get_args(Term)[0])
KINDS: dict[str, type[_Term]] = {get_args(config.model_fields["kind"].annotation)[0]: config for config in _CONFIGS}
