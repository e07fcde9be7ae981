"""Losses of a recipe: one class for each `kind`. Pure data: `terms.build_term` builds them.

A class holds everything that is known about its loss. To add one, write its class here, list it in `_OWN`, and write the module
that computes it. Or do both in a package of your own (see `plugins`).
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, Union, get_args

from pydantic import Field, GetCoreSchemaHandler, PositiveInt, model_validator
from pydantic_core import CoreSchema

from pixeldistill.errors import PluginError
from pixeldistill.plugins import with_installed
from pixeldistill.recipe.base import Strict

Maps = Literal["all", "last"] | Annotated[tuple[int, ...], Field(min_length=1)]
EVERY_TASK = "*"
MAPS = "all (but the stem's), last, or the numbers of the student's maps as `show` lists them, counted from 0"


class Loss(Strict):
    """A loss, its weight, and the weight's schedule: it rises from 0 in the first epochs and falls to 0 in the last ones.

    A subclass has a field `kind: Literal["its name"]`, its settings, and these class variables:

    - `computed_by`: for each task that has the loss, `module:class` of the `torch.nn.Module` that computes it.
    - `trains_prediction`: tasks in which it trains the network's prediction. A stage needs one such loss.
    - `needs_teacher`: whether it compares the student with a teacher.
    - `needs_teacher_view`: whether it reads the teacher's image.
    - `needs_hard_labels`: whether every image must have one true class. Mixed images have none.
    - `published`: for each task in which comparisons use the loss by its own name, its paper's settings.
    - `published_warmup`: share of the schedule over which the weight rises there.
    """

    computed_by: ClassVar[Mapping[str, str]] = {}
    trains_prediction: ClassVar[tuple[str, ...]] = ()
    needs_teacher: ClassVar[bool] = True
    needs_teacher_view: ClassVar[bool] = False
    needs_hard_labels: ClassVar[bool] = False
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    published_warmup: ClassVar[Fraction] = Fraction(0)

    if TYPE_CHECKING:
        kind: str
    weight: float = Field(1.0, ge=0, description="factor of the loss")
    warmup_epochs: float = Field(0, ge=0, description="first epochs, over which the weight rises from 0")
    cooldown_epochs: float = Field(0, ge=0, description="last epochs, over which the weight falls to 0")

    def stretched(self, times: float) -> Self:
        """Return the same loss for a schedule `times` as long. The weight rises and falls over the same share of the schedule."""
        return self.model_copy(update={name: times * getattr(self, name) for name in ("warmup_epochs", "cooldown_epochs")})


def _everywhere(place: str) -> dict[str, str]:
    return {EVERY_TASK: f"pixeldistill.terms.{place}"}


class SupervisedTerm(Loss):
    """The task's own loss with the labels: cross-entropy, or the detector's loss."""

    computed_by: ClassVar = {
        "classification": "pixeldistill.terms.prediction:Supervised",
        "detection": "pixeldistill.terms.detection:DetectionLoss",
    }
    trains_prediction: ClassVar = (EVERY_TASK,)
    needs_teacher: ClassVar = False

    kind: Literal["supervised"]
    shared_levels: tuple[PositiveInt, PositiveInt] | None = Field(
        None, description="detection: first and last of the levels that objects are matched with as if there were no others"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.shared_levels and self.shared_levels[0] > self.shared_levels[1]:
            raise ValueError(f"shared_levels is [first, last] with first <= last, not {list(self.shared_levels)}")
        return self


class PKDTerm(Loss):
    """Distillation of the prediction (L_PKD of the paper). Only for a classifier, it includes the labels' cross-entropy."""

    computed_by: ClassVar = {
        "classification": "pixeldistill.terms.prediction:PKD",
        "detection": "pixeldistill.terms.detection:ClassMaps",
    }
    trains_prediction: ClassVar = ("classification",)

    kind: Literal["pkd"]
    temperature: float = Field(4.0, gt=0, description="T, by which both networks' logits are divided")
    alpha: float = Field(0.9, ge=0, le=1, description="share of the teacher; the labels have the rest (of a detector: a factor)")
    standardised: bool = Field(
        False, description="classifiers: each image's logits are first brought to mean 0 and deviation 1; T = 2 is published"
    )


class DKDTerm(Loss):
    """Decoupled distillation of the prediction, without the labels' cross-entropy."""

    computed_by: ClassVar = {"classification": "pixeldistill.terms.prediction:DKD"}
    trains_prediction: ClassVar = ("classification",)
    needs_hard_labels: ClassVar = True
    published: ClassVar = {"classification": {}}  # as in Pixel Distillation's comparison: 20 of 120 epochs
    published_warmup: ClassVar = Fraction(1, 6)

    kind: Literal["dkd"]
    temperature: float = Field(4.0, gt=0, description="T, by which both networks' logits are divided")
    alpha: float = Field(1.0, ge=0, description="weight of the true class against all others")
    beta: float = Field(2.0, ge=0, description="weight of the other classes among themselves")


class DISTTerm(Loss):
    """Distillation of relations in the prediction, without the labels' cross-entropy."""

    computed_by: ClassVar = {"classification": "pixeldistill.terms.prediction:DIST"}
    trains_prediction: ClassVar = ("classification",)
    published: ClassVar = {"classification": {"beta": 2, "gamma": 2}}  # as in its paper: 1, 2, 2

    kind: Literal["dist"]
    temperature: float = Field(1.0, gt=0, description="by which both networks' logits are divided")
    beta: float = Field(1.0, ge=0, description="weight of the correlation over an image's classes")
    gamma: float = Field(1.0, ge=0, description="weight of the correlation over a class's images")


class ExitsTerm(Loss):
    """Exit branches on the student's maps that learn the teacher's prediction, like the student's own prediction (OFA)."""

    computed_by: ClassVar = {"classification": "pixeldistill.terms.exits:Exits"}
    published: ClassVar = {"classification": {}}  # the weights of OFA's code: 1, 1, 1

    kind: Literal["exits"]
    maps: Maps = Field("all", description=MAPS)
    temperature: float = Field(1.0, gt=0, description="by which both networks' logits are divided")
    exponent: float = Field(1.5, ge=1, description="how much the true class is favoured")


class ISRDTerm(Loss):
    """Input spatial representation distillation (L_ISRD of the paper)."""

    computed_by: ClassVar = _everywhere("isrd:ISRD")
    needs_teacher_view: ClassVar = True

    kind: Literal["isrd"]
    fit: Literal["resize", "crop"] = Field("resize", description="how the rebuilt image is brought to the large image's size")


class ATTerm(Loss):
    """Attention transfer."""

    computed_by: ClassVar = _everywhere("maps:AT")
    published: ClassVar = {"classification": {"weight": 1000}}  # as in Pixel Distillation's comparison

    kind: Literal["at"]
    maps: Maps = Field("all", description=MAPS)


class SPTerm(Loss):
    """Similarity-preserving distillation."""

    computed_by: ClassVar = _everywhere("maps:SP")
    published: ClassVar = {"classification": {"weight": 3000}}  # as in Pixel Distillation's comparison

    kind: Literal["sp"]
    maps: Maps = Field("last", description=MAPS)


class ICKDTerm(Loss):
    """Inter-channel correlation. The student's map is projected to the teacher's channels."""

    computed_by: ClassVar = _everywhere("maps:ICKD")
    published: ClassVar = {"classification": {"weight": 2.5}}  # as in Pixel Distillation's comparison

    kind: Literal["ickd"]
    maps: Maps = Field("last", description=MAPS)


class HintTerm(Loss):
    """FitNet hints: the student's map is projected to the teacher's channels and compared with the teacher's map."""

    computed_by: ClassVar = _everywhere("maps:Hint")

    kind: Literal["hint"]
    maps: Maps = Field("last", description=MAPS)


class UpsampledTerm(Loss):
    """Feature loss of input compression (L_up of the paper's code): the student's map is upsampled to the assistant's."""

    computed_by: ClassVar = _everywhere("maps:Upsampled")

    kind: Literal["upsampled"]
    maps: Maps = Field("last", description=MAPS)


class BoxesTerm(Loss):
    """Detection: distillation of the teacher's boxes where it is confident."""

    computed_by: ClassVar = {"detection": "pixeldistill.terms.detection:Boxes"}

    kind: Literal["boxes"]
    threshold: float = Field(0.1, ge=0, le=1, description="the teacher's probability from which a box counts, by its confidence")


class FKDTerm(Loss):
    """Detection: distillation of the corresponding pyramid levels, summed."""

    computed_by: ClassVar = {"detection": "pixeldistill.terms.detection:FKD"}
    published: ClassVar = {"detection": {"weight": 10}}  # as in PKD's code

    kind: Literal["fkd"]
    form: Literal["pearson", "mse"] = Field("pearson", description="the channels' correlation, or squared differences")


class CrossKDTerm(Loss):
    """Detection: the teacher's head reads the student's features, and its prediction mimics the teacher's."""

    computed_by: ClassVar = {"detection": "pixeldistill.terms.detection:CrossKD"}
    published: ClassVar = {"detection": {}}  # as in its own code

    kind: Literal["crosskd"]


_OWN: tuple[type[Loss], ...] = (
    SupervisedTerm, PKDTerm, DKDTerm, DISTTerm, ExitsTerm, ISRDTerm, ATTerm, SPTerm, ICKDTerm, HintTerm, UpsampledTerm, BoxesTerm,
    FKDTerm, CrossKDTerm,
)  # fmt: skip


def kind_of(config: type[Loss]) -> str:
    """Return the name of a loss in recipes.

    >>> kind_of(ATTerm)
    'at'
    """
    names = get_args(config.model_fields["kind"].annotation) if "kind" in config.model_fields else ()
    return str(names[0]) if len(names) == 1 else ""


@cache
def losses() -> Mapping[str, type[Loss]]:
    """Return the classes of all losses by their kinds, including those of installed packages. Raises PluginError."""
    found = with_installed("losses", {kind_of(config): config for config in _OWN}, type)
    for name, config in found.items():
        if not (issubclass(config, Loss) and kind_of(config) == name and config.computed_by):
            raise PluginError(
                f"the loss {name!r} of an installed package must be a subclass of pixeldistill's Loss with "
                f'`kind: Literal["{name}"]` and `computed_by`, and is {config!r}'
            )
    return found


class _Known:
    """Marker that lets pydantic choose a loss class by `kind`, once all are known."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401
        known = Annotated[Union[tuple(losses().values())], Field(discriminator="kind")]  # type: ignore[valid-type]  # noqa: UP007
        return handler.generate_schema(known)


Term = Annotated[Loss, _Known()]


def name_terms(terms: Sequence["Term"]) -> dict[str, "Term"]:
    """Give every term of a list a name: its kind, with a number if the kind occurs again.

    >>> list(name_terms([ATTerm(kind="at", maps=(1,)), PKDTerm(kind="pkd"), ATTerm(kind="at", maps=(4,))]))
    ['at', 'pkd', 'at-2']
    """
    found: dict[str, Term] = {}
    for i, term in enumerate(terms):
        before = sum(other.kind == term.kind for other in terms[:i])
        found[f"{term.kind}-{before + 1}" if before else term.kind] = term
    return found


def published_losses(task: str, epochs: int) -> dict[str, Loss]:
    """Return the losses that a comparison knows by their own names, with their papers' settings.

    >>> list(published_losses("detection", 12))
    ['fkd', 'crosskd']
    """
    return {
        kind: config.model_validate(
            {"kind": kind, "warmup_epochs": float(epochs * config.published_warmup), **config.published[task]}
        )
        for kind, config in losses().items()
        if task in config.published
    }
