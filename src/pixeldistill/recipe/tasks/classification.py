"""Recipes of classification: one class for an image."""

from typing import TYPE_CHECKING, ClassVar

from pixeldistill.recipe.data import Augmentation
from pixeldistill.recipe.losses import ATTerm, ISRDTerm, PKDTerm, UpsampledTerm
from pixeldistill.recipe.method import Method
from pixeldistill.recipe.tasks.base import Starting, TaskRules

if TYPE_CHECKING:
    from pixeldistill.recipe.recipe import Recipe

_PKD, _ISRD, _UPSAMPLED = PKDTerm(kind="pkd"), ISRDTerm(kind="isrd", weight=10), UpsampledTerm(kind="upsampled")


class ClassificationRules(TaskRules):
    """Rules for recipes of classification. See `TaskRules`."""

    name = "classification"
    labels = "classes"
    headline = "top1"
    averages_teachers = True
    starting = Starting(224, 4, 64, (10, 80), image_cache=True, after={"teacher_cache": {"views": 20}})
    published_terms: ClassVar = {"ts": (_PKD, _ISRD), "tas": (_PKD, _UPSAMPLED, _ISRD)}
    assistant_terms: ClassVar = (_PKD, ATTerm(kind="at", weight=1000))
    plain_terms: ClassVar = (_PKD,)
    chain_term: ClassVar = _UPSAMPLED

    def check(self, recipe: "Recipe") -> None:
        """Raise ValueError if a recipe has settings of detectors."""
        if recipe.detector or any(network.detector for network in recipe.networks):
            raise ValueError("`detector` settings need `task: detection`")

    def check_augmentation(self, augmentation: Augmentation) -> None:
        """Raise ValueError if it has settings of boxes."""
        if augmentation.visible is not None:
            raise ValueError("augmentation.visible is of boxes: it needs `task: detection`")

    def methods(self, epochs: int) -> dict[str, Method]:
        """Return the methods of all tasks, and the control whose first convolution keeps the small image's resolution."""
        return super().methods(epochs) | {"stem": Method(chain="supervised", stem_stride=1)}
