"""Stage: one training of a recipe. Pure data."""

from typing import Literal

from pydantic import Field, PositiveInt

from pixeldistill.recipe.base import Count, StageRef, Strict, UserPath
from pixeldistill.recipe.data import Augmentation
from pixeldistill.recipe.losses import Term
from pixeldistill.recipe.network import Network
from pixeldistill.recipe.schedule import Schedule, Seeds


class TeacherCache(Strict):
    """The teacher's outputs for every training view, computed once and kept on disk (half precision)."""

    views: Count | Literal["exact"] = Field(description="distinct views of an image, after which they repeat; exact: no repeat")
    folder: UserPath | None = Field(None, description="where; by default <run>/teacher_cache")


class Stage(Strict):
    """One training: a student, its teacher and terms, and its schedule. Recipes expand to stages."""

    name: str
    student: Network
    teacher: Network | None = None
    other_teachers: tuple[Network, ...] = ()
    terms: tuple[Term, ...]
    schedule: Schedule
    augmentation: Augmentation
    crop_size: PositiveInt = Field(description="side at which every view is cropped before it is made smaller")
    distinct_views: PositiveInt | None = Field(None, description="epochs after which the views repeat")
    teacher_cache: TeacherCache | None = None
    shuffle_seed: int | None = Field(None, description="of the order of the images; by default each seed has its own order")
    seeds: tuple[int, ...] = (0,)
    match_compute_of: str | None = Field(None, description="the stage whose cost decides the epochs")

    @property
    def teachers(self) -> tuple[Network, ...]:
        """All its teachers. Features come from the first, the prediction is the mean of all."""
        return (self.teacher, *self.other_teachers) if self.teacher else ()

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the stages that it starts from."""
        weights = [network.weights for network in (self.student, *self.teachers)]
        return tuple(dict.fromkeys(origin.name for origin in weights if isinstance(origin, StageRef)))


class StageEntry(Strict):
    """One stage as written in a recipe. `teacher` names an earlier stage, or is a network whose weights know the classes."""

    name: str = Field(pattern=r"^[\w.-]+$", description="of its folder in the run")
    student: Network = Field(description="the network that is trained; weights: '@name' starts from an earlier stage")
    teacher: str | Network | None = Field(None, description="the name of an earlier stage, or a trained network")
    other_teachers: tuple[str | Network, ...] = Field(
        (), description="the student learns from the mean of all teachers' logits; features come from `teacher`"
    )
    terms: tuple[Term, ...] = Field(min_length=1, description="its losses")
    schedule: Schedule | None = Field(None, description="by default the recipe's")
    augmentation: Augmentation | None = Field(None, description="by default the recipe's")
    match_compute_of: str | None = Field(
        None, description="as many epochs as the training of that stage, and of its assistant, costs"
    )
    live: bool = Field(False, description="ask the teacher at every step, whatever `teacher_cache` says")
    seeds: Seeds | None = Field(None, description="by default the recipe's, or its first for what later stages start from")

    @property
    def teachers(self) -> tuple[str | Network, ...]:
        """All its teachers: names of earlier stages, or trained networks."""
        return (self.teacher, *self.other_teachers) if self.teacher else ()

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the stages that it starts from, by its weights or its teachers."""
        start = self.student.weights
        own = (start.name,) if isinstance(start, StageRef) else ()
        return (*own, *(teacher for teacher in self.teachers if isinstance(teacher, str)))
