"""Method: one way to train a student in a comparison. Pure data."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from pixeldistill.recipe.base import Count, Strict
from pixeldistill.recipe.data import Augmentation
from pixeldistill.recipe.losses import Term
from pixeldistill.recipe.schedule import Seeds


class Method(Strict):
    """One way to train a student. All methods of a comparison get the same images in the same order."""

    chain: Literal["supervised", "ts", "tas"] = Field("ts", description="without a teacher, from the teacher, from an assistant")
    terms: tuple[Term, ...] | None = Field(None, min_length=1, description="of the last stage; by default the recipe's")
    with_teacher: bool = Field(False, description="tas: learn from the mean of assistant and teacher")
    warm_start: bool = Field(False, description="the student starts from the assistant's weights, whoever teaches it")
    epochs: Count | None = Field(None, description="by default the recipe's: equally many updates")
    match_compute_of: str | None = Field(
        None, description="instead of `epochs`: as many as the whole training of that method costs"
    )
    augmentation: Augmentation | None = Field(None, description="of the last stage; by default the recipe's")
    enlarge: bool = Field(False, description="a control: the student is fed its small image enlarged to the teacher's side")
    stem_stride: int | None = Field(None, ge=1, le=64, description="a control: stride of the student's first convolution")
    seeds: Seeds | None = Field(None, min_length=1, description="by default the recipe's")

    @model_validator(mode="after")
    def _possible(self) -> "Method":
        if self.terms and self.chain == "supervised":
            raise ValueError("`terms` compare the student with a teacher: leave them out, or `chain: supervised`")
        if self.with_teacher and self.chain != "tas":
            raise ValueError("`with_teacher` adds the teacher to an assistant: it needs `chain: tas`")
        if self.epochs and self.match_compute_of:
            raise ValueError("`epochs` and `match_compute_of` both say how long: give one of the two")
        if self.seeds and len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds names one thing twice: {', '.join(map(str, self.seeds))}")
        return self


def _named(methods: Any) -> Any:  # noqa: ANN401
    """Convert a list of names to methods without settings of their own."""
    if isinstance(methods, list | tuple) and all(isinstance(name, str) for name in methods):
        return {name: {} for name in methods}
    if isinstance(methods, Mapping):
        return {name: {} if settings is None else settings for name, settings in methods.items()}
    return methods


Methods = Annotated[dict[str, Method], BeforeValidator(_named), Field(min_length=1)]
