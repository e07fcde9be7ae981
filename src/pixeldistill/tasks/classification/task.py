"""Classification as a task: one class for an image."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from pixeldistill.data.crops import Crop, cut_long
from pixeldistill.data.labels import ClassLabel, Label
from pixeldistill.data.splits import Sample
from pixeldistill.recipe.camera import Camera
from pixeldistill.recipe.network import Network
from pixeldistill.recipe.tasks.classification import ClassificationRules
from pixeldistill.tasks.base import Compared, Pixels, Prediction, Result, Size, Target, Task, TaughtStudent
from pixeldistill.tasks.results import ClassificationResult

if TYPE_CHECKING:
    import onnx
    from torch import Tensor, nn

    from pixeldistill.networks.adapter import Adapter
    from pixeldistill.types import FeatureSpec, Outputs


class Classification(Task):
    """Classification, see `Task`. Target: class indices (N,), or probabilities (N, classes). Prediction: logits (classes,)."""

    rules = ClassificationRules()
    noun = "a classifier"
    outputs = ("probabilities",)
    quantised = ("Conv", "Gemm", "MatMul", "Add", "AveragePool", "GlobalAveragePool", "MaxPool", "Relu", "Clip")
    predict_options = ("top",)

    def view(self, image: Pixels, image_size: int, camera: Camera) -> "Tensor":
        """Return the view of `data.views.camera_view`."""
        from pixeldistill.data.views import camera_view

        return camera_view(image, image_size, camera)

    def view_size(self, image: Size, image_size: int) -> Size:
        """Return the size of a square."""
        return image_size, image_size

    def describe_input(self, image_size: int) -> str:
        """Describe the square."""
        return f"{image_size}×{image_size} pixels"

    def together(self, most: int) -> int:
        """Return `most`, because all views have the same shape."""
        return most

    def collate(
        self, labels: Sequence[Label], crops: Sequence[Crop], sizes: Sequence[Size], crop_size: int, visible: float | None
    ) -> Target:
        """Return class indices (N,)."""
        import torch

        return torch.tensor([_number(label) for label in labels])

    def soften(self, target: Target, classes: int, smoothing: float) -> Target:
        """Smooth labels. See `loss.smooth_labels`."""
        from pixeldistill.tasks.classification.loss import smooth_labels

        return smooth_labels(target, classes, smoothing)

    def mix(self, target: Target, partner: Target, share: "Tensor", classes: int) -> Target:
        """Mix labels. See `loss.mix_labels`."""
        from pixeldistill.tasks.classification.loss import mix_labels

        return mix_labels(target, partner, share, classes)

    def chance(self, classes: int) -> float:
        """Return the cross-entropy of guessing, in nats. Smoothed or mixed labels do not change it."""
        return math.log(classes)

    def placeholder(self, count: int) -> Target:
        """Return the first class for all images."""
        import torch

        return torch.zeros(count, dtype=torch.int64)

    def caption(self, sample: Sample, classes: Sequence[str]) -> str:
        """Return the name of the class."""
        return classes[_number(sample.label)]

    def build(self, network: Network, classes: tuple[str, ...], source: str, *, trained: bool) -> "Adapter":
        """Build a classifier, with trained weights in the data's order of classes. See `networks.classifier.build_classifier`."""
        from pixeldistill.networks.classifier import build_classifier
        from pixeldistill.networks.heads import class_rows, reorder_heads

        classifier = build_classifier(
            network.network, len(classes), network.image_size, weights=source, patch_size=network.patch_size,
            options=network.options, classes=classes, trained=trained, enlarge=network.enlarge, stem_stride=network.stem_stride,
            mean=network.mean, std=network.std, task=self.name,
        )  # fmt: skip
        if trained and network.class_order:
            reorder_heads(classifier.net, class_rows(network.class_order, classes))
        return classifier

    def check_trained(self, network: Network, source: str) -> None:
        """Do nothing: any weights may be a classifier's."""

    def load_state(self, network: "Adapter", state: Mapping[str, "Tensor"], source: Network, name: str) -> None:
        """Load a state dict. See `networks.weights.load.load_net_state`."""
        from pixeldistill.networks.weights.load import load_net_state

        load_net_state(network.net, dict(state), source.network, network.spec.classes, name)

    def deploy(self, network: "Adapter") -> "nn.Module":
        """Return a `deployed.DeployedClassifier`."""
        from pixeldistill.tasks.classification.deployed import deploy

        return deploy(network)

    def without_weights(self, network: Network, classes: int, view: Size) -> tuple["nn.Module", "Tensor"]:
        """Return the classifier without weights. See `deployed.without_weights`."""
        from pixeldistill.tasks.classification.deployed import without_weights

        return without_weights(network, classes)

    def postprocess(
        self, network: "Adapter", outputs: "Outputs", view: Size, sizes: Sequence[Size], levels: range | None = None
    ) -> list[Prediction]:
        """Return the logits, one row an image."""
        return list(outputs.logits.float().cpu())

    def metrics(self, predictions: Sequence[Prediction], labels: Sequence[Label], classes: int) -> dict[str, Any]:
        """Measure predictions. See `metrics.classification_metrics`."""
        import torch

        from pixeldistill.tasks.classification.metrics import classification_metrics

        return classification_metrics(torch.stack(list(predictions)), torch.tensor([_number(label) for label in labels]))

    def record(self, prediction: Prediction, sample: Sample, classes: Sequence[str]) -> dict[str, Any]:
        """Return `file`, `label`, `predicted`, `probability`."""
        probability, number = prediction.softmax(dim=0).max(dim=0)
        return {
            "file": str(sample.path.resolve()), "label": self.caption(sample, classes), "predicted": classes[int(number)],
            "probability": round(float(probability), 4),
        }  # fmt: skip

    def result(self, path: Path, prediction: Prediction, classes: Sequence[str], top: int, min_score: float) -> Result:
        """Return the likeliest classes."""
        values = np.asarray(prediction, np.float32)
        shares = np.exp(values - values.max())
        shares /= shares.sum()
        best = np.argsort(-shares, kind="stable")[:top]
        return ClassificationResult(path, tuple((classes[i], float(shares[i])) for i in best))

    def unreadable(self, path: Path, error: str) -> Result:
        """Return a result with the error and no class."""
        return ClassificationResult(path, (), error)

    def describe_teacher(
        self, title: str, ask: Callable[[range | None], Sequence[Prediction]], labels: Sequence[Label], classes: Sequence[str],
        students: Sequence[TaughtStudent],
    ) -> list[str]:  # fmt: skip
        """Describe the teacher. See `teacher.describe_classifier`."""
        import torch

        from pixeldistill.tasks.classification.teacher import describe_classifier

        named = f"{title}, which teaches {', '.join(student.name for student in students)}"
        return describe_classifier(named, torch.stack(list(ask(None))), [_number(label) for label in labels], classes)

    def describe_network(self, role: str, network: Network, spec: "FeatureSpec", origin: str) -> list[str]:
        """Describe its maps."""
        maps = ", ".join(str(m) for m in spec.features)
        return [
            f"{role}: {network.network} (weights: {origin}) on 3×{network.image_size}×{network.image_size}{network.received}",
            f"  input feature {spec.input_feature} · maps {maps} · prediction {spec.classes}",
        ]

    def example(self, network: "Adapter", deployed: "nn.Module") -> tuple["Tensor", dict[int, Any], list[str]]:
        """Return two square images. The batch size is dynamic."""
        import torch

        images = torch.zeros(2, 3, *network.spec.image_size, dtype=torch.uint8)
        return images, {0: torch.export.Dim("batch", min=2, max=65536)}, ["scores"]

    def feed(self, network: "Adapter", images: "Tensor") -> "Tensor":
        """Return the 8-bit images, because the network does the rest."""
        return images

    def assemble(self, converted: "onnx.ModelProto", network: "Adapter", camera: Camera, prefix: str) -> "onnx.ModelProto":
        """Assemble the exported file. See `export.assemble`."""
        from pixeldistill.tasks.classification.export import assemble

        return assemble(converted, network, camera, prefix)

    def compare(
        self, session: Any, prefix: str, network: "Adapter", deployed: "nn.Module", view: "Tensor", image: Pixels  # noqa: ANN401
    ) -> Compared:  # fmt: skip
        """Compare an exported file. See `export.compare`."""
        from pixeldistill.tasks.classification.export import compare

        return compare(session, prefix, network, view, self.prepare_image(image))

    def check_outputs(self, outputs: Sequence[NDArray[Any]], images: int, classes: int) -> bool:
        """Return whether the outputs are probabilities (images, classes)."""
        return outputs[0].shape == (images, classes) and outputs[0].dtype == np.float32

    def split_outputs(self, outputs: Sequence[NDArray[Any]], images: int) -> list[Any]:
        """Return logarithms of the probabilities. Their softmax gives the probabilities again."""
        with np.errstate(divide="ignore"):
            return list(np.log(outputs[0]))

    def from_arrays(self, prediction: Any, view: Size, size: Size) -> Prediction:  # noqa: ANN401
        """Return the arrays as a tensor."""
        import torch

        return torch.from_numpy(prediction)

    def prepare_image(self, image: Pixels) -> Pixels:
        """Cut the middle out of a very long image, because only that part is used."""
        return np.ascontiguousarray(cut_long(image))

    def to_json(self, result: Result) -> dict[str, Any]:
        """Return `file` and `classes`."""
        found = cast(ClassificationResult, result)
        return {"file": str(found.path), "classes": [{"class": c, "probability": round(q, 6)} for c, q in found.classes]}

    def columns(self, results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
        """Return one row an image: the likeliest class, the second, and so on."""
        rows = [[str(p.path), *(f"{c} {100 * q:.1f} %" for c, q in p.classes)] for p in results]
        return ["file", *(f"{i}." for i in range(1, len(rows[0]) if rows else 1))], rows


def _number(label: Label) -> int:
    return cast(ClassLabel, label).number
