"""Base of tasks: everything that depends on the task, in one object. Loads no torch until a network is needed.

A third task is a subclass of `Task`, its recipes' rules (`recipe.tasks`) and a line in `tasks.TASKS`. Only the task knows the
types of a label (of an image), a target (of a batch of views) and a prediction (of a network for an image).
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
    """A student that a frozen teacher will teach. `supervised`: its figure on val without a teacher, if trained that way."""

    name: str
    network: "Network"
    teacher: "Network"
    supervised: float | None


class Compared(NamedTuple):
    """Differences between an exported file and its network on one image.

    raw: largest difference of the raw outputs, relative to the largest value (or 1). prediction: largest difference of a
    probability.
    lost: objects without a counterpart on the other side. objects: number of confident objects on either side.
    """

    raw: float
    prediction: float
    lost: int = 0
    objects: int = 0


class Task(ABC):
    """A task of networks on images.

    Class variables:

    - `rules`: rules for its recipes.
    - `noun`: word for its networks.
    - `outputs`: names of an exported file's outputs.
    - `quantised`: ONNX operators that are computed in 8-bit integers.
    - `predict_options`: its own options of `predict`: some of `top`, `min_score` and `draw`.
    """

    rules: ClassVar[TaskRules]
    noun: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]]
    quantised: ClassVar[tuple[str, ...]]
    predict_options: ClassVar[tuple[str, ...]]

    @property
    def name(self) -> str:
        """Value of a recipe's `task`."""
        return self.rules.name

    # Images and their labels

    @abstractmethod
    def view(self, image: Pixels, image_size: int, camera: "Camera") -> "Tensor":
        """Return the test view of an image (H, W, 3), uint8 (3, h, w). Only this method defines a network's input."""

    @abstractmethod
    def view_size(self, image: Size, image_size: int) -> Size:
        """Return height and width of the test view of an image of a given size."""

    @abstractmethod
    def describe_input(self, image_size: int) -> str:
        """Describe in words the input of a network at an image size."""

    @abstractmethod
    def together(self, most: int) -> int:
        """Return the number of test views in a batch: at most `most`, or one if their shapes differ."""

    @abstractmethod
    def collate(
        self, labels: Sequence["Label"], crops: Sequence["Crop"], sizes: Sequence[Size], crop_size: int, visible: float | None
    ) -> Target:
        """Return the target of a batch of training views.

        Args:
            labels: labels of the images.
            crops: crop of each image.
            sizes: size of the image that each crop was cut from.
            crop_size: size of the views in pixels.
            visible: share of its area that a box must show to count. None for the default.
        """

    def soften(self, target: Target, classes: int, smoothing: float) -> Target:
        """Return a target with smoothed labels."""
        return target

    def resize(self, target: Target, times: float) -> Target:
        """Return the target of views that are `times` as large."""
        return target

    def mix(self, target: Target, partner: Target, share: "Tensor", classes: int) -> Target:
        """Return the target of views that are each mixed with a partner's. Each view keeps its share (N,).

        Raises:
            RecipeError: the task has no mixed targets.
        """
        raise RecipeError(f"augmentation: labels of {self.name} cannot be mixed: leave out mixup and cutmix")

    def chance(self, classes: int) -> float | None:
        """Return the supervised loss of a network that gives every class the same probability. None if the task has none."""
        return None

    @abstractmethod
    def placeholder(self, count: int) -> Target:
        """Return an arbitrary target, for counting computation."""

    @abstractmethod
    def caption(self, sample: "Sample", classes: Sequence[str]) -> str:
        """Return the caption of an image's picture."""

    # Networks

    @abstractmethod
    def build(self, network: "Network", classes: tuple[str, ...], source: str, *, trained: bool) -> "Adapter":
        """Build the network of a recipe.

        Args:
            network: the network in the recipe.
            classes: names of the classes, compared with those of a former run.
            source: source of its weights.
            trained: the weights must already know these classes (a frozen teacher).

        Raises:
            NetworkError, WeightsError: it cannot be built this way, or its weights do not fit.
        """

    @abstractmethod
    def check_trained(self, network: "Network", source: str) -> None:
        """Raise WeightsError if weights belong to another task or to another build. Nothing is built."""

    @abstractmethod
    def load_state(self, network: "Adapter", state: Mapping[str, "Tensor"], source: "Network", name: str) -> None:
        """Load the weights of another network of the same architecture, in place.

        Args:
            network: network to load into.
            state: state dict of the other network's `net`.
            source: settings of the other network.
            name: origin of the weights, named in errors.

        Raises:
            WeightsError: the weights do not fit.
        """

    @abstractmethod
    def deploy(self, network: "Adapter") -> "nn.Module":
        """Return the deployed part of a network: a copy in evaluation mode, without anything that only training needs."""

    @abstractmethod
    def without_weights(self, network: "Network", classes: int, view: Size) -> tuple["nn.Module", "Tensor"]:
        """Return the deployed part of a network on the meta device, and an input, for counting without computation."""

    # Predictions

    @abstractmethod
    def postprocess(
        self, network: "Adapter", outputs: "Outputs", view: Size, sizes: Sequence[Size], levels: range | None = None
    ) -> list[Prediction]:
        """Return a network's prediction for each image of a batch, on the CPU.

        Args:
            network: network that made the outputs.
            outputs: outputs for a batch of test views.
            view: size of the views.
            sizes: sizes of the original images.
            levels: numbers of the pyramid levels to use. By default all.
        """

    @abstractmethod
    def metrics(self, predictions: Sequence[Prediction], labels: Sequence["Label"], classes: int) -> dict[str, Any]:
        """Measure predictions. Return the metrics as fractions, including the main metric."""

    @abstractmethod
    def record(self, prediction: Prediction, sample: "Sample", classes: Sequence[str]) -> dict[str, Any]:
        """Return a prediction and the label as run folders store them (`predictions.json`)."""

    @abstractmethod
    def result(self, path: Path, prediction: Prediction, classes: Sequence[str], top: int, min_score: float) -> Result:
        """Return a prediction for the user: a `tasks.results.ClassificationResult` or `DetectionResult`, or the task's own."""

    @abstractmethod
    def unreadable(self, path: Path, error: str) -> Result:
        """Return the result of an image that cannot be read."""

    @abstractmethod
    def describe_teacher(
        self, title: str, ask: Callable[[range | None], Sequence[Prediction]], labels: Sequence["Label"], classes: Sequence[str],
        students: Sequence[TaughtStudent],
    ) -> list[str]:  # fmt: skip
        """Describe a frozen teacher's accuracy before it teaches. Warn if it is low.

        Args:
            title: name of the teacher.
            ask: returns its predictions of val's images, with some of its pyramid levels or with all.
            labels: labels of these images.
            classes: names of the classes.
            students: students of the teacher.
        """

    # The dry run

    @abstractmethod
    def describe_network(self, role: str, network: "Network", spec: "FeatureSpec", origin: str) -> list[str]:
        """Describe in lines a network's input and outputs.

        Args:
            role: student, teacher, …
            network: the network in the recipe.
            spec: shapes of its outputs.
            origin: source of its weights, in words.
        """

    def describe_coverage(self, recipe: "Recipe", stages: Sequence["Stage"]) -> list[str]:
        """Describe the share of train's objects that the networks can learn at all."""
        return []

    # An exported file

    @abstractmethod
    def example(self, network: "Adapter", deployed: "nn.Module") -> tuple["Tensor", dict[int, Any], list[str]]:
        """Return an input for the exporter, its dynamic dimensions, and the names of the outputs. Also prepare `deployed`."""

    @abstractmethod
    def feed(self, network: "Adapter", images: "Tensor") -> "Tensor":
        """Return the exported network's input for 8-bit views (N, 3, h, w)."""

    @abstractmethod
    def assemble(self, converted: "onnx.ModelProto", network: "Adapter", camera: "Camera", prefix: str) -> "onnx.ModelProto":
        """Add the camera's optics before an exported network, and the postprocessing of its scores after it."""

    @abstractmethod
    def compare(
        self, session: Any, prefix: str, network: "Adapter", deployed: "nn.Module", view: "Tensor", image: Pixels  # noqa: ANN401
    ) -> Compared:  # fmt: skip
        """Compare an exported file with its network on an image.

        Args:
            session: session of ONNX Runtime, which also returns the network's raw outputs.
            prefix: prefix of the raw outputs' names.
            network: network in evaluation mode.
            deployed: see `deploy`.
            view: view of the image as its camera has sent it, uint8 (1, 3, h, w).
            image: the original image (H, W, 3).
        """

    @abstractmethod
    def check_outputs(self, outputs: Sequence[NDArray[Any]], images: int, classes: int) -> bool:
        """Return whether an exported file's outputs agree with its card."""

    @abstractmethod
    def split_outputs(self, outputs: Sequence[NDArray[Any]], images: int) -> list[Any]:
        """Return an exported file's outputs image by image: predictions in the form of arrays."""

    @abstractmethod
    def from_arrays(self, prediction: Any, view: Size, size: Size) -> Prediction:  # noqa: ANN401
        """Convert arrays to a prediction, if the file's inputs were views instead of the original images."""

    @abstractmethod
    def prepare_image(self, image: Pixels) -> Pixels:
        """Return the part of an image that an exported file needs."""

    # For the user

    @abstractmethod
    def to_json(self, result: Result) -> dict[str, Any]:
        """Return a result as JSON content."""

    @abstractmethod
    def columns(self, results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
        """Return a table of results: the names of its columns, and its rows."""

    def draw(self, image: Pixels, result: Result, classes: Sequence[str]) -> "Image.Image | None":
        """Draw a result into its image, if the task has such pictures."""
        return None
