"""What a comparison compares: methods by name, with the settings of their papers. Pure data."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from pixeldistill.errors import RecipeError, nearest
from pixeldistill.losses import (
    ATTerm,
    BoxesTerm,
    CrossKDTerm,
    DISTTerm,
    DKDTerm,
    ExitsTerm,
    FKDTerm,
    ICKDTerm,
    ISRDTerm,
    PKDTerm,
    SPTerm,
    SupervisedTerm,
    Term,
    UpsampledTerm,
)
from pixeldistill.schedules import Seeds
from pixeldistill.strict import Count, Strict


class Method(Strict):
    """One way to train a student, among others that are given the same images in the same order."""

    chain: Literal["alone", "ts", "tas"] = Field("ts", description="without a teacher, from the teacher, from an assistant")
    terms: tuple[Term, ...] | None = Field(None, min_length=1, description="of the last stage; by default the recipe's")
    from_assistant: bool = Field(False, description="the student starts from the assistant's weights, whoever teaches it")
    epochs: Count | None = Field(None, description="by default the recipe's: equally many updates")
    cost_as: str | None = Field(None, description="instead of `epochs`: as many as the whole training of that method costs")
    enlarge: bool = Field(False, description="a control: the student is fed its small image enlarged to the teacher's side")
    stem_stride: int | None = Field(None, ge=1, le=64, description="a control: stride of the student's first convolution")
    seeds: Seeds | None = Field(None, min_length=1, description="by default the recipe's")

    @model_validator(mode="after")
    def _possible(self) -> "Method":
        if self.terms and self.chain == "alone":
            raise ValueError("`terms` compare the student with a teacher: leave them out, or `chain: alone`")
        if self.epochs and self.cost_as:
            raise ValueError("`epochs` and `cost_as` both say how long: give one of the two")
        if self.seeds and len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds names one thing twice: {', '.join(map(str, self.seeds))}")
        return self


def _named(methods: Any) -> Any:  # noqa: ANN401
    """Take a list of names for methods without settings of their own."""
    if isinstance(methods, list | tuple) and all(isinstance(name, str) for name in methods):
        return {name: {} for name in methods}
    if isinstance(methods, Mapping):
        return {name: {} if settings is None else settings for name, settings in methods.items()}
    return methods


Methods = Annotated[dict[str, Method], BeforeValidator(_named), Field(min_length=1)]

_SUPERVISED = SupervisedTerm(kind="supervised")
_PKD = PKDTerm(kind="pkd")
_ISRD, _ISRD_LIGHT = ISRDTerm(kind="isrd", weight=10), ISRDTerm(kind="isrd")
_FKD_LIGHT = FKDTerm(kind="fkd", weight=0.2)  # beside the losses of the prediction; ours
_DETECTED = (_SUPERVISED, _PKD, BoxesTerm(kind="boxes"))
# Of the last stage of each method, and of an assistant, where the recipe names none.
DEFAULT_TERMS: dict[str, dict[str, tuple[Term, ...]]] = {
    "classification": {"ts": (_PKD, _ISRD), "tas": (_PKD, UpsampledTerm(kind="upsampled"), _ISRD)},
    "detection": {"ts": (*_DETECTED, _ISRD_LIGHT), "tas": (*_DETECTED, _FKD_LIGHT, _ISRD_LIGHT)},
}
ASSISTANT_TERMS: dict[str, tuple[Term, ...]] = {
    "classification": (_PKD, ATTerm(kind="at", weight=1000)),
    "detection": (*_DETECTED, _FKD_LIGHT),
}


def presets(epochs: int, task: str = "classification") -> dict[str, Method]:
    """Give the methods that are known by name, for a schedule of so many epochs.

    Source:
        AT, SP, ICKD and DKD with the weights of Pixel Distillation's comparison (DKD's warm-up is the same share of the
        schedule, 20 of 120 epochs); DIST as in its paper (1, 2, 2); OFA's exits with the weights of its code (1, 1, 1).
    """
    if task == "detection":
        return _detection_presets()
    decoupled = (_SUPERVISED, DKDTerm(kind="dkd", warmup_epochs=epochs / 6))
    return {
        "alone": Method(chain="alone"),
        "pkd": Method(terms=(_PKD,)),
        "dkd": Method(terms=decoupled),
        "dist": Method(terms=(_SUPERVISED, DISTTerm(kind="dist", beta=2, gamma=2))),
        "exits": Method(terms=(_SUPERVISED, ExitsTerm(kind="exits"))),
        "at": Method(terms=(_SUPERVISED, ATTerm(kind="at", weight=1000))),
        "sp": Method(terms=(_SUPERVISED, SPTerm(kind="sp", weight=3000))),
        "ickd": Method(terms=(_SUPERVISED, ICKDTerm(kind="ickd", weight=2.5))),
        "ts": Method(),
        "tas": Method(chain="tas"),
        "tas-start": Method(chain="tas", from_assistant=True),
        "alone-start": Method(chain="alone", from_assistant=True),
        "pkd-start": Method(terms=(_PKD,), from_assistant=True),
        "alone-long": Method(chain="alone", cost_as="tas"),
        "pkd-long": Method(terms=(_PKD,), cost_as="tas"),
        "dkd-long": Method(terms=decoupled, cost_as="tas"),
        "ts-long": Method(cost_as="tas"),
        "enlarged": Method(chain="alone", enlarge=True),
        "stem": Method(chain="alone", stem_stride=1),
    }


def _detection_presets() -> dict[str, Method]:
    """Give a detector's methods: what mimics the prediction, the features, the head; and the chains.

    Source:
        FKD with the weight of PKD's code (10), CrossKD with those of its own.
    """
    return {
        "alone": Method(chain="alone"),
        "pkd": Method(terms=_DETECTED),
        "fkd": Method(terms=(_SUPERVISED, FKDTerm(kind="fkd", weight=10))),
        "crosskd": Method(terms=(_SUPERVISED, CrossKDTerm(kind="crosskd"))),
        "ts": Method(),
        "tas": Method(chain="tas"),
        "tas-start": Method(chain="tas", from_assistant=True),
        "alone-start": Method(chain="alone", from_assistant=True),
        "pkd-start": Method(terms=_DETECTED, from_assistant=True),
        "alone-long": Method(chain="alone", cost_as="tas"),
        "pkd-long": Method(terms=_DETECTED, cost_as="tas"),
        "ts-long": Method(cost_as="tas"),
        "enlarged": Method(chain="alone", enlarge=True),
    }


def settings(methods: Mapping[str, Method], epochs: int, task: str = "classification") -> dict[str, Method]:
    """Complete what a recipe says of its methods by what is known of them.

    Raises:
        RecipeError: a name that is neither known nor given terms, or that stages need for themselves.
    """
    found = {name: _completed(name, method, presets(method.epochs or epochs, task)) for name, method in methods.items()}
    if task == "detection":
        for name, method in found.items():
            _check_controls(name, method)
    return found


def _check_controls(name: str, method: Method) -> None:
    """Refuse controls that a detector does not have."""
    if method.stem_stride:
        raise RecipeError(f"compare.{name}: `stem_stride` is a control of classification")
    if method.enlarge and (method.chain == "tas" or method.from_assistant):
        raise RecipeError(
            f"compare.{name}: an enlarged student meets other levels than those its assistant is trained to expose: "
            "make it one of the `students`, with `enlarge`"
        )


def _completed(name: str, method: Method, presets: Mapping[str, Method]) -> Method:
    if name == "teacher" or name.startswith("assistant"):
        raise RecipeError(f"compare: {name!r} is what a stage before the methods is called: give the method another name")
    if name not in presets:
        if not method.model_fields_set & {"terms", "chain"}:
            raise RecipeError(f"compare: unknown method {name!r}, {nearest(name, presets)}; or say its `terms`")
        return method
    known = presets[name]
    if method.chain != known.chain and "chain" in method.model_fields_set:
        raise RecipeError(f"compare.{name} is known with chain {known.chain!r}: with another one, give it another name")
    said = {setting: getattr(method, setting) for setting in method.model_fields_set}
    said |= {"cost_as": None} if method.epochs else {}
    try:
        return Method.model_validate({**dict(known), **said})
    except ValidationError as error:
        raise RecipeError(f"compare.{name}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from error
