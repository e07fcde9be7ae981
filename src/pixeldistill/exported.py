"""Using an exported file: from images to answers with ONNX Runtime alone. No torch."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from pixeldistill.answers import Detection, FoundObject, Prediction, read_images
from pixeldistill.data.crops import cut_long
from pixeldistill.errors import ExportError, RunError

CARD = "pixeldistill"  # the name under which a file's metadata holds its card
FORMAT = 1
_OUTPUTS = {"classification": ["probabilities"], "detection": ["objects", "probabilities", "classes", "images"]}

Pixels = NDArray[np.uint8]


def open_session(model: Path | bytes, threads: int | None = None) -> onnxruntime.InferenceSession:
    """Open a model for ONNX Runtime on the CPU, with so many threads (by default all cores)."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads:
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
    )


def read_card(session: onnxruntime.InferenceSession, name: str) -> dict[str, Any]:
    """Read what a file says of its network. Raises ExportError for a file that is none of ours."""
    try:
        card = json.loads(session.get_modelmeta().custom_metadata_map.get(CARD, ""))
    except ValueError:
        card = None
    if isinstance(card, dict) and card.get("format") == FORMAT and {"task", "classes", "side"} <= card.keys():
        return card
    raise ExportError(f"{name} was not made by this version of `pixeldistill export`: it does not say what it answers")


class ExportedModel:
    """An exported file, ready to be asked.

    Args:
        path: the ONNX file.
        threads: for one image; by default all cores.

    Raises:
        ExportError: no such file, no ONNX file, or none of ours.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        path = Path(path)
        if not path.is_file():
            raise ExportError(f"{path} is not there: `pixeldistill export RUN` makes such a file")
        try:
            self.session = open_session(path, threads)
        except Exception as error:  # of ONNX Runtime's own, without a common base
            raise ExportError(f"{path} is no ONNX file that can be run: {str(error).splitlines()[0][:160]}") from error
        self.card = read_card(self.session, str(path))
        names = ([node.name for node in self.session.get_inputs()], [node.name for node in self.session.get_outputs()])
        if names != (["image"], _OUTPUTS.get(self.card["task"])):
            raise ExportError(f"{path} was not made by `pixeldistill export`: it takes {names[0]} and answers {names[1]}")
        self.title = str(path)
        self.classes: tuple[str, ...] = tuple(self.card["classes"])
        self.pictures = path.with_name(f"{path.stem}-predictions")

    @property
    def detects(self) -> bool:
        """Whether it finds objects rather than classes of whole images."""
        return bool(self.card["task"] == "detection")

    def run(self, images: Pixels) -> list[NDArray[Any]]:
        """Ask it of images (N, H, W, 3): probabilities (N, classes); or boxes, probabilities, classes, numbers of the images."""
        return [np.asarray(output) for output in self.session.run(None, {"image": images})]

    def predict(self, files: Sequence[str | Path], top: int = 5) -> list[Prediction]:
        """Classify image files, and the images in folders, of any size; see `predict.Predictor`."""
        if self.detects:
            raise RunError(f"{self.title} is a detector: ask it to `detect`")
        predictions = []
        for path, image, error in read_images(files):
            if image is None:
                predictions.append(Prediction(path, (), error))
                continue
            probabilities = self.run(cut_long(image)[None])[0][0]
            best = np.argsort(-probabilities, kind="stable")[:top]
            predictions.append(Prediction(path, tuple((self.classes[i], float(probabilities[i])) for i in best)))
        return predictions

    def detect(self, files: Sequence[str | Path], least: float = 0.3) -> list[Detection]:
        """Find the objects in image files, and in the images of folders, of any size; see `predict.Predictor`."""
        if not self.detects:
            raise RunError(f"{self.title} is a classifier: ask it to `predict`")
        detections = []
        for path, image, error in read_images(files):
            if image is None:
                detections.append(Detection(path, (), error))
                continue
            boxes, probabilities, classes, _ = self.run(image[None])
            objects = tuple(
                FoundObject(self.classes[label], score, (box[0], box[1], box[2], box[3]))
                for box, score, label in zip(boxes.tolist(), probabilities.tolist(), classes.tolist(), strict=True)
                if score >= least
            )
            detections.append(Detection(path, objects))
        return detections
