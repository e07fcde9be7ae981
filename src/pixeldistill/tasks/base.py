"""What a task is: all that depends on what is asked of an image, in one object. Loads no torch until a network is needed.

A third task is a subclass of `Task`, its recipes' rules (`recipe.tasks`) and a line in `tasks.TASKS`. Only the task knows of what
types are a label (what an image shows), a target (what a batch of views shows) and an answer (what a network says of an image).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixeldistill.errors import RecipeError
from pixeldistill.recipe.tasks import TaskRules

if TYPE_CHECKING:
    import onnx
    from PIL import Image
    from torch import Tensor, nn

    from pixeldistill.data.crops import Crop
    from pixeldistill.data.labels import Label
    from pixeldistill.data.splits import Sample
    from pixeldistill.networks.adapter import Adapter
    from pixeldistill.recipe.camera import Camera
    from pixeldistill.recipe.network import Network
    from pixeldistill.recipe.recipe import Recipe
    from pixeldistill.recipe.stage import Stage
    from pixeldistill.types import FeatureSpec, Outputs

Pixels = NDArray[np.uint8]
Target = Any
Prediction = Any
Result = Any
Size = tuple[int, int]  # height and width in pixels


class TaughtStudent(NamedTuple):
    """A student that a frozen teacher will teach; `supervised`: its figure on val without a teacher, if it was trained so."""

    name: str
    network: "Network"
    teacher: "Network"
    supervised: float | None


class Compared(NamedTuple):
    """How far an exported file is from its network on one image.

    raw: largest difference of what the network gives, relative to its largest value (or 1). answer: largest difference of a
    probability. lost: objects without counterpart in the other. objects: how many either is sure of.
    """

    raw: float
    prediction: float
    lost: int = 0
    objects: int = 0


class Task(ABC):
    """What is asked of images.

    Class variables:

    - `rules`: of its recipes.
    - `noun`: what its networks are called.
    - `outputs`: names of what an exported file answers.
    - `quantised`: ONNX operators that are computed in 8-bit integers.
    - `predict_options`: those of `predict` that are its own: of `top`, `min_score` and `draw`.
    """

    rules: ClassVar[TaskRules]
    noun: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]]
    quantised: ClassVar[tuple[str, ...]]
    predict_options: ClassVar[tuple[str, ...]]

    @property
    def name(self) -> str:
        """As a recipe's `task` says it."""
        return self.rules.name

    # Images and what they show

    @abstractmethod
    def view(self, image: Pixels, image_size: int, camera: "Camera") -> "Tensor":
        """Return the test view of an image (H, W, 3), uint8 (3, h, w): the only place that says what a network is fed."""

    @abstractmethod
    def view_size(self, image: Size, image_size: int) -> Size:
        """Return height and width of the test view of an image of a size."""

    @abstractmethod
    def describe_input(self, image_size: int) -> str:
        """Describe in words what a network of a side is fed."""

    @abstractmethod
    def together(self, most: int) -> int:
        """Return how many test views go into a batch: no more than `most`, one if their shapes differ."""

    @abstractmethod
    def collate(
        self, labels: Sequence["Label"], crops: Sequence["Crop"], sizes: Sequence[Size], crop_size: int, visible: float | None
    ) -> Target:
        """Return what a batch of training views shows.

        Args:
            labels: of the images.
            crops: of each.
            sizes: of the image that each crop was cut out of.
            crop_size: of the views, in pixels.
            visible: share of its area that a box must show to count; None for the default.
        """

    def soften(self, target: Target, classes: int, smoothing: float) -> Target:
        """Return a target whose labels are smoothed."""
        return target

    def resize(self, target: Target, times: float) -> Target:
        """Return the target of views that are so many times as large."""
        return target

    def mix(self, target: Target, partner: "Tensor", share: float, classes: int) -> Target:
        """Return the target of views each of which is mixed with its partner, of which it keeps a share.

        Raises:
            RecipeError: the task has no such target.
        """
        raise RecipeError(f"augmentation.mixup: labels of {self.name} cannot be mixed: leave it out")

    @abstractmethod
    def placeholder(self, count: int) -> Target:
        """Return a target that shows nothing in particular: for measuring arithmetic."""

    @abstractmethod
    def caption(self, sample: "Sample", classes: Sequence[str]) -> str:
        """Return what stands below a picture of an image."""

    # Networks

    @abstractmethod
    def build(self, network: "Network", classes: tuple[str, ...], source: str, *, trained: bool) -> "Adapter":
        """Build the network that a recipe names.

        Args:
            network: as the recipe says.
            classes: their names, compared with those of a former run.
            source: of its weights.
            trained: the weights must know these classes already (a frozen teacher).

        Raises:
            NetworkError, WeightsError: it cannot be built so, or its weights do not fit.
        """

    @abstractmethod
    def check_trained(self, network: "Network", source: str) -> None:
        """Raise WeightsError if weights are not of this task, or of another build; nothing is built."""

    @abstractmethod
    def load_state(self, network: "Adapter", state: Mapping[str, "Tensor"], source: "Network", name: str) -> None:
        """Load, in place, what another network of the same architecture has learned.

        Args:
            network: to be loaded.
            state: of the other's `net`.
            source: what the other is.
            name: where it comes from, for an error.

        Raises:
            WeightsError: they do not fit.
        """

    @abstractmethod
    def deploy(self, network: "Adapter") -> "nn.Module":
        """Return what is deployed of a network, a copy in evaluation mode without anything of the training."""

    @abstractmethod
    def without_weights(self, network: "Network", classes: int, view: Size) -> tuple["nn.Module", "Tensor"]:
        """Return what is deployed of a network, on the meta device, and an input: for counting, with nothing computed."""

    # Answers

    @abstractmethod
    def postprocess(
        self, network: "Adapter", outputs: "Outputs", view: Size, sizes: Sequence[Size], levels: range | None = None
    ) -> list[Prediction]:
        """Return what a network says of each image of a batch, on the CPU.

        Args:
            network: whose outputs these are.
            outputs: of a batch of test views.
            view: size of the views.
            sizes: of the original images.
            levels: of a pyramid, the numbers of those to look at; by default all.
        """

    @abstractmethod
    def metrics(self, predictions: Sequence[Prediction], labels: Sequence["Label"], classes: int) -> dict[str, Any]:
        """Measure answers; the figures as fractions, the headline among them."""

    @abstractmethod
    def record(self, prediction: Prediction, sample: "Sample", classes: Sequence[str]) -> dict[str, Any]:
        """Return an answer, and what is there, as a run folder keeps them (`predictions.json`)."""

    @abstractmethod
    def result(self, path: Path, prediction: Prediction, classes: Sequence[str], top: int, min_score: float) -> Result:
        """Return an answer for the user: a `tasks.results.ClassificationResult` or `DetectionResult`, or what the task has."""

    @abstractmethod
    def unreadable(self, path: Path, error: str) -> Result:
        """Return the result of an image that cannot be read."""

    @abstractmethod
    def describe_teacher(
        self, title: str, ask: Callable[[range | None], Sequence[Prediction]], labels: Sequence["Label"], classes: Sequence[str],
        students: Sequence[TaughtStudent],
    ) -> list[str]:  # fmt: skip
        """Return what a frozen teacher knows, before it teaches; with a warning where that is little.

        Args:
            title: what it is called.
            ask: returns its answers to the images of val, by some of its pyramid's levels or by all.
            labels: of these images.
            classes: their names.
            students: whom it teaches.
        """

    # The dry run

    @abstractmethod
    def describe_network(self, role: str, network: "Network", spec: "FeatureSpec", origin: str) -> list[str]:
        """Describe in lines what a network sees and gives.

        Args:
            role: student, teacher, …
            network: as the recipe says.
            spec: its shapes.
            origin: of its weights, in words.
        """

    def describe_coverage(self, recipe: "Recipe", stages: Sequence["Stage"]) -> list[str]:
        """Return which share of the objects in train the networks can learn at all."""
        return []

    # An exported file

    @abstractmethod
    def example(self, network: "Adapter", deployed: "nn.Module") -> tuple["Tensor", dict[int, Any], list[str]]:
        """Return an input for the exporter, which of its dimensions vary, and the names of the outputs; prepares `deployed`."""

    @abstractmethod
    def feed(self, network: "Adapter", images: "Tensor") -> "Tensor":
        """Return what the exported network is fed for 8-bit views (N, 3, h, w)."""

    @abstractmethod
    def assemble(self, converted: "onnx.ModelProto", network: "Adapter", camera: "Camera", prefix: str) -> "onnx.ModelProto":
        """Put the camera's optics before an exported network, and what makes answers of its scores after it."""

    @abstractmethod
    def compare(
        self, session: Any, prefix: str, network: "Adapter", deployed: "nn.Module", view: "Tensor", image: Pixels  # noqa: ANN401
    ) -> Compared:  # fmt: skip
        """Compare an exported file with its network on an image.

        Args:
            session: of ONNX Runtime, which gives the network's own outputs too.
            prefix: of their names.
            network: in evaluation mode.
            deployed: see `deploy`.
            view: of the image as its camera has sent it, uint8 (1, 3, h, w).
            image: (H, W, 3), as it came.
        """

    @abstractmethod
    def check_outputs(self, outputs: Sequence[NDArray[Any]], images: int, classes: int) -> bool:
        """Return whether an exported file's outputs are what its card says."""

    @abstractmethod
    def split_outputs(self, outputs: Sequence[NDArray[Any]], images: int) -> list[Any]:
        """Return an exported file's outputs image by image: answers, but as arrays."""

    @abstractmethod
    def from_arrays(self, prediction: Any, view: Size, size: Size) -> Prediction:  # noqa: ANN401
        """Return the answer that such arrays stand for, where a file was fed views instead of the images themselves."""

    @abstractmethod
    def prepare_image(self, image: Pixels) -> Pixels:
        """Return what of an image an exported file must be given."""

    # For the user

    @abstractmethod
    def to_json(self, result: Result) -> dict[str, Any]:
        """Return a result as JSON has it."""

    @abstractmethod
    def columns(self, results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
        """Return a table of results: the names of its columns, and its rows."""

    def draw(self, image: Pixels, result: Result, classes: Sequence[str]) -> "Image.Image | None":
        """Draw a result into its image, if the task has such a picture."""
        return None
