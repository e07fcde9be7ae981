"""Settings of a network: its architecture, its image size, the source of its weights. Pure data."""

import math
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, PrivateAttr, model_validator

from pixeldistill.recipe.architectures import Architecture
from pixeldistill.recipe.base import Channels, Deviations, ImageSize, Origin, StageRef, Strict, Stride
from pixeldistill.recipe.camera import Camera, InputSpec
from pixeldistill.recipe.detector import DetectorSettings
from pixeldistill.recipe.losses import Term
from pixeldistill.recipe.schedule import Schedule

AUTO = "auto"

Patch = Annotated[int, Field(ge=1, le=1024)]

_TAKEN = {"num_classes", "pretrained", "img_size", "patch_size", "in_chans", "features_only", "checkpoint_path"}

_TAKEN_FIX = "the classes come from the data; use `image_size`, `patch_size` and `weights` for the rest"


class ShapeKey(NamedTuple):
    """A network without its weights, hashable: its settings as JSON, and its task."""

    settings: str
    task: str

    def network(self) -> "Network":
        """Return the network."""
        return Network.model_validate_json(self.settings).of_task(self.task)


class Network(Strict):
    """A network, the size of the square image that it reads, and the source of its weights."""

    network: Architecture = Field(description="a timm name, or torchvision/shufflenet_v2_x1_0")
    image_size: ImageSize = Field(description="side of its square images in pixels; of a detector's images the shorter side")
    weights: Origin = Field("pretrained", description="none | pretrained | a weights file | a run folder")
    patch_size: Patch | None = Field(None, description="patch size of a ViT")
    options: dict[str, Any] = Field(default_factory=dict, description="passed on to timm.create_model")
    enlarge: ImageSize | None = Field(None, description="a control: the image is enlarged to this side before the network")
    stem_stride: Stride | None = Field(
        None,
        description="of the first convolution, instead of its own; 1 for 2 keeps more of a small image, for up to 4 × the MACs",
    )
    mean: Channels | None = Field(None, description="of its images in [0, 1], red, green, blue; by default the architecture's")
    std: Deviations | None = Field(None, description="likewise, the deviation")
    class_order: Literal["natural", "alphabetical"] | tuple[str, ...] | None = Field(
        None, description="of trained weights: the order of their classes, where it is not the data's"
    )
    detector: DetectorSettings | None = Field(None, description="detection: what differs from the recipe's `detector`")
    camera: Camera | None = Field(
        None, description="the camera that feeds it; by default the recipe's, of a teacher without noise and codec"
    )

    @property
    def input_spec(self) -> InputSpec:
        """Image size and camera of the network's input."""
        return InputSpec(self.image_size, self.camera or Camera())

    @property
    def built_for(self) -> int:
        """Image size that the network itself reads, after any enlargement."""
        return self.enlarge or self.image_size

    _task: str | None = PrivateAttr(None)  # the recipe's, which fills it in: no key of a network

    @property
    def task(self) -> str:
        """Name of the task that it is trained for."""
        assert self._task is not None, "a network outside a recipe needs of_task"
        return self._task

    def of_task(self, name: str) -> Self:
        """Return the same network for a task."""
        copy = self.model_copy()
        copy._task = name
        return copy

    @property
    def shape_key(self) -> ShapeKey:
        """Hashable key of everything that decides its shapes."""
        return ShapeKey(self.plain.model_dump_json(), self.task)

    @property
    def plain(self) -> "Network":
        """The same network without its initial weights."""
        return self.model_copy(update={"weights": "none"})

    @property
    def received(self) -> str:
        """Changes to an image before the network, in words. Empty if there are none."""
        camera = self.input_spec.camera
        noise = f", noise {camera.noise:g}" if camera.noise else ""
        enlarged = f", enlarged to {self.enlarge}" if self.enlarge else ""
        return (f", sent as {camera.encoding}{noise}" if camera.alters else "") + enlarged

    @property
    def scaled_detector(self) -> DetectorSettings:
        """Settings of a detector, with levels counted in pixels of the camera's image, before any enlargement."""
        assert self.detector is not None
        return self.detector.enlarged(self.built_for / self.image_size)

    @property
    def enlarges_levels(self) -> bool:
        """Whether any enlargement is by a power of two, so that a detector's levels shift by whole numbers."""
        return math.log2(self.built_for / self.image_size).is_integer()

    @model_validator(mode="after")
    def _own_settings(self) -> "Network":
        if self.enlarge is not None and self.enlarge <= self.image_size:
            raise ValueError(f"enlarge {self.enlarge} does not enlarge an image of side {self.image_size}")
        if taken := sorted(_TAKEN & self.options.keys()):
            raise ValueError(f"options.{taken[0]} is not for you to set: {_TAKEN_FIX}")
        return self


class Student(Network):
    """The small network. `name` distinguishes students with the same network and image size."""

    weights: Origin = Field(
        AUTO,
        description="auto | none | pretrained | a weights file | a run folder. auto: those of its assistant or teacher, if that "
        "has its architecture and `options`, else pretrained; in `compare` pretrained",
    )
    name: str | None = Field(None, pattern=r"^[\w.-]+$", description="tells students apart; by default network and image size")

    @property
    def label(self) -> str:
        """Name of the student among other students."""
        return self.name or f"{self.network.rsplit('/', maxsplit=1)[-1]}-{self.image_size}"


class Teacher(Network):
    """The large network. With a schedule it is trained first. Without one, its weights must already know the classes."""

    schedule: Schedule | None = Field(None, description="how it is trained first; without it, `weights` must know the classes")


class Assistant(Strict):
    """The assistant of a two-stage chain: large images, the student's architecture."""

    network: Architecture | None = Field(None, description="by default each student's own")
    image_size: ImageSize | None = Field(None, description="by default the teacher's")
    weights: Origin | None = Field(
        None, description="what it starts from, by default pretrained, or none as its student; without a schedule, a trained one"
    )
    patch_size: Patch | None = Field(None, description="patch size of a ViT, by default its student's")
    options: dict[str, Any] = Field(default_factory=dict, description="passed on to timm.create_model; by default its student's")
    terms: tuple[Term, ...] | None = Field(None, min_length=1, description="by default PKD and a feature loss")
    schedule: Schedule | None = Field(None, description="by default the recipe's")
    detector: DetectorSettings | None = Field(None, description="detection: by default the levels of teacher and student")

    @property
    def given(self) -> bool:
        """Whether the assistant is already trained."""
        return self.schedule is None and self.weights not in (None, "none", "pretrained")

    def start(self, student: str | StageRef) -> str | StageRef:
        """Return the assistant's initial weights, given its student's `weights`."""
        return self.weights or ("none" if student == "none" else "pretrained")


def misfit(other: Network, student: Network) -> str | None:
    """Return the setting for which a student does not start from another network's weights by itself. None: there is none.

    A detector may have other levels, and its norms may be frozen or not.
    """
    for name in ("network", "options", "mean", "std"):
        if getattr(other, name) != getattr(student, name):
            return name
    heads = [n.detector and n.detector.model_copy(update={"levels": (3, 7), "freeze_norms": False}) for n in (other, student)]
    if heads[0] != heads[1]:
        return "detector"
    return "class_order" if other.class_order is not None else None
