"""Detection as a task: boxes around objects."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from pixeldistill.data.boxes import Annotation
from pixeldistill.data.crops import Crop
from pixeldistill.data.labels import Label
from pixeldistill.data.splits import Sample
from pixeldistill.recipe.camera import Camera
from pixeldistill.recipe.network import Network
from pixeldistill.recipe.recipe import Recipe
from pixeldistill.recipe.stage import Stage
from pixeldistill.recipe.tasks.detection import DetectionRules
from pixeldistill.tasks.base import Compared, Pixels, Prediction, Result, Size, Target, Task, TaughtStudent
from pixeldistill.tasks.results import DetectedObject, DetectionResult

if TYPE_CHECKING:
    import onnx
    from PIL import Image
    from torch import Tensor, nn

    from pixeldistill.networks.adapter import Adapter
    from pixeldistill.types import FeatureSpec, Outputs

RECORDED = 0.3  # less likely objects are left out of a run's records


class ObjectDetection(Task):
    """Detection, see `Task`. Target: `types.BoxTarget`. Prediction: `results.Detections`, in pixels of the original."""

    rules = DetectionRules()
    noun = "a detector"
    outputs = ("objects", "probabilities", "classes", "images")
    quantised = ("Conv",)
    predict_options = ("min_score", "draw")

    def view(self, image: Pixels, image_size: int, camera: Camera) -> "Tensor":
        """Return the view of `data.views.whole_view`."""
        from pixeldistill.data.views import whole_view

        return whole_view(image, image_size, camera)

    def view_size(self, image: Size, image_size: int) -> Size:
        """Return the size of `data.views.whole_size`."""
        from pixeldistill.data.views import whole_size

        return whole_size(*image, image_size)

    def describe_input(self, image_size: int) -> str:
        """Describe the shorter side."""
        return f"whole images, their shorter side {image_size} pixels"

    def together(self, most: int) -> int:
        """Return 1, because whole images differ in shape."""
        return 1

    def collate(
        self, labels: Sequence[Label], crops: Sequence[Crop], sizes: Sequence[Size], crop_size: int, visible: float | None
    ) -> Target:
        """Return the objects of `targets.shown_objects`."""
        from pixeldistill.tasks.detection.targets import shown_objects

        return shown_objects(cast(Sequence[Annotation], labels), crops, sizes, crop_size, visible)

    def resize(self, target: Target, times: float) -> Target:
        """Return the boxes in pixels of the resized view."""
        return target._replace(boxes=target.boxes * times)

    def placeholder(self, count: int) -> Target:
        """Return a target without objects."""
        import torch

        from pixeldistill.types import BoxTarget

        return BoxTarget(torch.zeros(count, 1, 4), torch.full((count, 1), -1))

    def caption(self, sample: Sample, classes: Sequence[str]) -> str:
        """Return the file's name."""
        return sample.path.name

    def build(self, network: Network, classes: tuple[str, ...], source: str, *, trained: bool) -> "Adapter":
        """Build a detector. A classifier's weights are loaded into its backbone."""
        from pixeldistill.networks.weights.load import detector_settings, read_trained
        from pixeldistill.tasks.detection.detector import build_detector
        from pixeldistill.tasks.detection.load_state import load_detector_state

        assert network.detector is not None
        learned = None if source in ("none", "pretrained") else detector_settings(source)
        own = source if learned is None else "none"  # weights of the backbone alone
        detector = build_detector(
            network.network, len(classes), network.image_size, network.detector, weights=own, patch_size=network.patch_size,
            options=network.options, enlarge=network.enlarge, mean=network.mean, std=network.std,
        )  # fmt: skip
        if learned:
            known = classes if trained else None
            state = read_trained(source, network.network, network.built_for if trained else None, known)
            load_detector_state(detector, state, learned, source, trained=trained)
        return detector

    def check_trained(self, network: Network, source: str) -> None:
        """Raise WeightsError if a run folder has no detector, or a different one."""
        from pixeldistill.errors import WeightsError
        from pixeldistill.networks.weights.load import check_settings, detector_settings, missing_weights

        assert network.detector is not None
        if not Path(source).exists():
            raise WeightsError(f"{missing_weights(source)}: name the run folder of a trained detector")
        learned = detector_settings(source)
        if learned is None:
            raise WeightsError(
                f"{source} is no training of a detector, and a teacher or given assistant must be one: name its run folder"
            )
        check_settings(source, learned, network.detector)

    def load_state(self, network: "Adapter", state: Mapping[str, "Tensor"], source: Network, name: str) -> None:
        """Load the levels that both detectors have. See `load_state.load_detector_state`."""
        from pixeldistill.tasks.detection.detector import Detector
        from pixeldistill.tasks.detection.load_state import load_detector_state

        assert source.detector is not None
        load_detector_state(cast(Detector, network), state, source.detector, name, trained=False)

    def deploy(self, network: "Adapter") -> "nn.Module":
        """Return a `deployed.DeployedDetector`."""
        from pixeldistill.tasks.detection.deployed import deploy

        return deploy(network)

    def without_weights(self, network: Network, classes: int, view: Size) -> tuple["nn.Module", "Tensor"]:
        """Build the detector with weights, then move it to the meta device."""
        import torch

        from pixeldistill.tasks.detection.deployed import deploy

        built = self.build(network, tuple(map(str, range(classes))), "none", trained=False)
        deployed, meta = deploy(built), torch.device("meta")
        multiple = deployed.detector.multiple
        return deployed.to(meta), torch.empty(1, 3, *(length + -length % multiple for length in view), device=meta)

    def postprocess(
        self, network: "Adapter", outputs: "Outputs", view: Size, sizes: Sequence[Size], levels: range | None = None
    ) -> list[Prediction]:
        """Return the objects of `results.find_objects`, in pixels of the original."""
        from pixeldistill.tasks.detection.detector import Detector
        from pixeldistill.tasks.detection.results import Detections, find_objects, to_original

        found = find_objects(outputs, cast(Detector, network).settings, view, levels)
        return [
            Detections(to_original(one.boxes, view, size).cpu(), one.scores.cpu(), one.labels.cpu())
            for one, size in zip(found, sizes, strict=True)
        ]

    def metrics(self, predictions: Sequence[Prediction], labels: Sequence[Label], classes: int) -> dict[str, Any]:
        """Measure predictions. See `metrics.average_precision`."""
        from pixeldistill.tasks.detection.metrics import average_precision

        return average_precision(predictions, cast(Sequence[Annotation], labels), classes)

    def record(self, prediction: Prediction, sample: Sample, classes: Sequence[str]) -> dict[str, Any]:
        """Return `file`, `truth` and `objects`, each with `class` and `box` in pixels of the original."""
        label = cast(Annotation, sample.label)
        truth = zip(label.boxes.tolist(), label.labels.tolist(), strict=True)
        found = zip(prediction.boxes.tolist(), prediction.scores.tolist(), prediction.labels.tolist(), strict=True)
        return {
            "file": str(sample.path.resolve()),
            "truth": [{"class": classes[number], "box": [round(n, 1) for n in box]} for box, number in truth],
            "objects": [
                {"class": classes[number], "probability": round(score, 4), "box": [round(n, 1) for n in box]}
                for box, score, number in found
                if score >= RECORDED
            ],
        }

    def result(self, path: Path, prediction: Prediction, classes: Sequence[str], top: int, min_score: float) -> Result:
        """Return the sufficiently likely objects."""
        boxes, scores, numbers = (values.tolist() for values in prediction)
        objects = tuple(
            DetectedObject(classes[number], score, (box[0], box[1], box[2], box[3]))
            for box, score, number in zip(boxes, scores, numbers, strict=True)
            if score >= min_score
        )
        return DetectionResult(path, objects)

    def unreadable(self, path: Path, error: str) -> Result:
        """Return a result with the error and no object."""
        return DetectionResult(path, (), error)

    def describe_teacher(
        self, title: str, ask: Callable[[range | None], Sequence[Prediction]], labels: Sequence[Label], classes: Sequence[str],
        students: Sequence[TaughtStudent],
    ) -> list[str]:  # fmt: skip
        """Describe the teacher. See `teacher.describe_shared_levels`."""
        from pixeldistill.tasks.detection.teacher import describe_shared_levels

        def score(levels: range | None) -> float:
            return float(self.metrics(ask(levels), labels, len(classes))[self.rules.headline] or 0.0)

        return describe_shared_levels(score, students)

    def describe_network(self, role: str, network: Network, spec: "FeatureSpec", origin: str) -> list[str]:
        """Describe the pyramid's levels and the head."""
        from pixeldistill.tasks.detection.heads.base import head_named

        settings = spec.detector
        assert settings is not None
        levels = ", ".join(f"P{n} {level.height}×{level.width}" for n, level in zip(spec.levels, spec.features, strict=True))
        what = head_named(settings.head).describe(settings)
        return [
            f"{role}: {network.network} (weights: {origin}) on 3×{network.image_size}×{network.image_size}, {settings.head}"
            + network.received,
            f"  input feature {spec.input_feature} · {settings.channels} channels on {levels} · {what} · {spec.classes} classes",
        ]

    def describe_coverage(self, recipe: Recipe, stages: Sequence[Stage]) -> list[str]:
        """Describe the coverage. See `coverage.describe_coverage`."""
        from pixeldistill.tasks.detection.coverage import describe_coverage

        return describe_coverage(recipe, stages)

    def example(self, network: "Adapter", deployed: "nn.Module") -> tuple["Tensor", dict[int, Any], list[str]]:
        """Return an input for the exporter. See `export.example`."""
        from pixeldistill.tasks.detection.export import example

        return example(network, deployed)

    def feed(self, network: "Adapter", images: "Tensor") -> "Tensor":
        """Return the normalised and padded images."""
        from pixeldistill.data.views import to_unit

        return network.prepare(to_unit(images))

    def assemble(self, converted: "onnx.ModelProto", network: "Adapter", camera: Camera, prefix: str) -> "onnx.ModelProto":
        """Assemble the exported file. See `export.assemble`."""
        from pixeldistill.tasks.detection.export import assemble

        return assemble(converted, network, camera, prefix)

    def compare(
        self, session: Any, prefix: str, network: "Adapter", deployed: "nn.Module", view: "Tensor", image: Pixels  # noqa: ANN401
    ) -> Compared:  # fmt: skip
        """Compare an exported file. See `export.compare`."""
        from pixeldistill.tasks.detection.export import compare

        return compare(session, prefix, network, deployed, view, image)

    def check_outputs(self, outputs: Sequence[NDArray[Any]], images: int, classes: int) -> bool:
        """Return whether the outputs are boxes (K, 4), probabilities (K,), classes (K,) and image numbers (K,)."""
        boxes, probabilities, numbers, of = outputs
        fits = boxes.shape[1:] == (4,) and len({len(boxes), *(x.shape for x in (probabilities, numbers, of))}) == 2
        return fits and boxes.dtype == np.float32 and not ((numbers < 0) | (numbers >= classes)).any()

    def split_outputs(self, outputs: Sequence[NDArray[Any]], images: int) -> list[Any]:
        """Return boxes, probabilities and classes of each image."""
        boxes, probabilities, numbers, of = outputs
        return [(boxes[of == n], probabilities[of == n], numbers[of == n]) for n in range(images)]

    def from_arrays(self, prediction: Any, view: Size, size: Size) -> Prediction:  # noqa: ANN401
        """Return the arrays as tensors, in pixels of the original."""
        import torch

        from pixeldistill.tasks.detection.results import Detections, to_original

        boxes, scores, numbers = (torch.from_numpy(values) for values in prediction)
        return Detections(to_original(boxes, view, size), scores, numbers)

    def prepare_image(self, image: Pixels) -> Pixels:
        """Return the whole image."""
        return image

    def to_json(self, result: Result) -> dict[str, Any]:
        """Return `file` and `objects`."""
        found = cast(DetectionResult, result)
        objects = [{"class": c, "probability": round(q, 6), "box": [round(n, 2) for n in box]} for c, q, box in found.objects]
        return {"file": str(found.path), "objects": objects}

    def columns(self, results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
        """Return one row an object."""
        rows = [
            [str(d.path), c, f"{100 * q:.1f} %", " ".join(f"{n:.0f}" for n in box)] for d in results for c, q, box in d.objects
        ]
        return ["file", "class", "probability", "x0 y0 x1 y1"], rows

    def draw(self, image: Pixels, result: Result, classes: Sequence[str]) -> "Image.Image | None":
        """Draw the objects. See `drawing.draw_boxes`."""
        from pixeldistill.tasks.detection.drawing import draw_boxes

        return draw_boxes(image, cast(DetectionResult, result).objects, classes)
