"""What a recipe says of the loss."""

from typing import ClassVar, Literal

from pixeldistill.recipe.losses import Loss


class Cosine(Loss):
    """One minus the cosine between the predictions."""

    computed_by: ClassVar = {"classification": "toy_parts.terms:CosineTerm"}
    published: ClassVar = {"classification": {"weight": 2}}

    kind: Literal["cosine"]
    centred: bool = False
