"""Settings of a search: networks and cameras to choose from, the budget, and the rules of the choice."""

from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field, PlainSerializer, PositiveInt, model_validator

from pixeldistill.errors import RecipeError
from pixeldistill.recipe.architectures import Architecture
from pixeldistill.recipe.base import ImageSize, Strict, Stride
from pixeldistill.recipe.budget import AXES, parse_limit
from pixeldistill.recipe.camera import Camera
from pixeldistill.recipe.network import AUTO


class StudentOptions(NamedTuple):
    """Networks and cameras as the options of a command name them. What is None or empty is not named."""

    networks: list[str] | None
    image_sizes: list[int] | None
    stem_strides: list[int] | None
    codecs: list[str] | None
    grey: bool


class Candidates(Strict):
    """Students to choose from: every network, at every image size, with every stride, behind every camera."""

    networks: tuple[Architecture, ...] = Field(min_length=1, description="timm names, or globs such as mobilenetv3_*")
    image_sizes: tuple[ImageSize, ...] = Field(min_length=1, description="of the student's image, in pixels")
    cameras: tuple[Camera, ...] = Field((), description="by default the recipe's `camera`")
    stem_strides: tuple[Stride, ...] = Field((), description="of the first convolution; by default each network's own")
    weights: str = Field(AUTO, description="what every student starts from; auto as of a `student`")
    patch_size: PositiveInt | None = Field(None, description="patch size of ViTs")
    options: dict[str, Any] = Field(default_factory=dict, description="passed on to timm.create_model")
    fps: float | None = Field(None, gt=0, lt=1e6, description="images a second, for a budget of bit rate")

    @model_validator(mode="after")
    def _once(self) -> "Candidates":
        for name in ("networks", "image_sizes", "cameras", "stem_strides"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} names one thing twice")
        return self


class Halving(Strict):
    """Successive halving: at certain epochs the most dominated students are stopped. See `experiments.halving`."""

    reduction: int = Field(3, ge=2, description="of those below the front one in so many goes on")
    first: PositiveInt = Field(
        1, description="the epoch at which the first are given up; later ones are `reduction` times as far"
    )


def _limits(budget: Any) -> Any:  # noqa: ANN401
    if not isinstance(budget, dict):
        return budget
    try:
        return {name: parse_limit(str(name), limit) for name, limit in budget.items()}
    except RecipeError as error:
        raise ValueError(str(error).removeprefix("budget: ")) from error


def _with_units(budget: dict[str, float]) -> dict[str, str]:
    return {name: f"{limit!r} {AXES[name].unit}" for name, limit in budget.items()}


Budget = Annotated[dict[str, float], BeforeValidator(_limits), PlainSerializer(_with_units)]
