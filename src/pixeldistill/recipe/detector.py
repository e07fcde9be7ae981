"""Settings of a detector beyond its backbone: its pyramid levels, its anchors or points, its head. Pure data."""

import math
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PositiveInt, ValidationError, model_validator

from pixeldistill.errors import RecipeError, nearest
from pixeldistill.recipe.base import Strict
from pixeldistill.recipe.heads import heads

MAX_ASPECT = 100
MIN_LEVEL, MAX_LEVEL = 1, 12  # a stride of 4096 pixels is larger than most images
Level = Annotated[int, Field(ge=MIN_LEVEL, le=MAX_LEVEL)]


def _known_head(name: object) -> object:
    if not isinstance(name, str) or name not in heads():
        raise ValueError(f"{name!r} is not valid, {nearest(str(name), heads())}")
    return name


class DetectorSettings(Strict):
    """A one-stage detector on a backbone's maps. Level l has a stride of 2^l pixels.

    The defaults are those of the RetinaNet paper (and torchvision's). `channels: 64, depth: 2` is a light head.
    """

    head: Annotated[str, BeforeValidator(_known_head)] = Field(
        "retinanet", description="such as retinanet (anchors) or fcos (points)"
    )
    levels: tuple[Level, Level] = Field((3, 7), description="the first and the last pyramid level")
    channels: int = Field(256, ge=1, le=4096, description="of every level and of the head")
    depth: PositiveInt = Field(4, le=4, description="convolutions of the head before its last one")
    anchor: float = Field(4.0, gt=0, le=1000, description="retinanet: side of the smallest anchor / stride of its level")
    aspects: tuple[float, ...] = Field(
        (0.5, 1.0, 2.0), min_length=1, max_length=16, description="retinanet: height / width of the anchors"
    )
    scales: int = Field(3, ge=1, le=16, description="retinanet: anchor sizes of a level, spread over an octave")
    freeze_norms: bool = Field(False, description="keep the backbone's batch norms as they were pretrained, for small batches")

    @model_validator(mode="after")
    def _possible(self) -> "DetectorSettings":
        first, last = self.levels
        if first > last:
            raise ValueError(f"levels are [first, last] with first <= last, not {list(self.levels)}")
        if any(not 0 < aspect <= MAX_ASPECT for aspect in self.aspects):
            raise ValueError(f"aspects are height / width, above zero and up to {MAX_ASPECT}, not {list(self.aspects)}")
        groups = heads()[self.head].norm_groups  # with one channel a group, a map of 1×1 cannot be normalised
        if groups and (self.channels % groups or self.channels == groups):
            raise ValueError(
                f"the {self.head} head normalises {groups} groups of channels: choose {2 * groups}, or more by {groups}"
            )
        return self

    @property
    def numbers(self) -> tuple[int, ...]:
        """Numbers of the levels."""
        return tuple(range(self.levels[0], self.levels[1] + 1))

    def enlarged(self, times: float) -> "DetectorSettings":
        """Return the settings with levels counted in pixels before an enlargement by `times`, a power of two.

        >>> DetectorSettings(levels=(3, 7)).enlarged(2).levels
        (2, 6)
        """
        shift = round(math.log2(times))
        return self.model_copy(update={"levels": (self.levels[0] - shift, self.levels[1] - shift)})

    @property
    def anchors(self) -> dict[str, Any]:
        """Settings that define the boxes' targets. Two detectors with equal ones can be compared place by place.

        >>> DetectorSettings(head="fcos", anchor=2).anchors
        {'head': 'fcos'}
        """
        names = ("head", "anchor", "aspects", "scales") if heads()[self.head].anchored else ("head",)
        return {name: getattr(self, name) for name in names}

    @property
    def shapes(self) -> int:
        """Number of anchors (or points) at every place of a level."""
        return len(self.aspects) * self.scales if heads()[self.head].anchored else 1


def merged(base: DetectorSettings, own: DetectorSettings | None) -> DetectorSettings:
    """Return a network's own settings, with the recipe's settings for all others. Raises RecipeError."""
    said = {} if own is None else {name: getattr(own, name) for name in own.model_fields_set}
    try:
        return DetectorSettings(**{**dict(base), **said})
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise RecipeError(f"a network's own `detector` {said} does not go with the recipe's: {reason}") from None
