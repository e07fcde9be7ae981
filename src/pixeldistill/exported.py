"""Using an exported file: from images to answers with ONNX Runtime alone. No torch."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pixeldistill.answers import Detection, FoundObject, Prediction, read_images
from pixeldistill.data.crops import cut_long
from pixeldistill.errors import ExportError, RunError
from pixeldistill.strict import Side
from pixeldistill.wording import printable

CARD = "pixeldistill"  # the name under which a file's metadata holds its card
FORMAT = 2
_OUTPUTS = {"classification": ["probabilities"], "detection": ["objects", "probabilities", "classes", "images"]}

Pixels = NDArray[np.uint8]


def open_session(model: Path | bytes, threads: int | None = None) -> onnxruntime.InferenceSession:
    """Open a model for ONNX Runtime on the CPU, with so many threads (by default all cores)."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is wrong is said by the errors that it raises
    if threads:
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
    )


class _Card(BaseModel):
    """What must be right in a file's card for the file to be used; the rest is for the user."""

    model_config = ConfigDict(extra="allow")

    format: Literal[2]
    task: Literal["classification", "detection"]
    classes: tuple[str, ...] = Field(min_length=1)
    side: Side
    bits: int | None = Field(None, ge=8, le=16)


def read_card(session: onnxruntime.InferenceSession, name: str) -> dict[str, Any]:
    """Read what a file says of its network. Raises ExportError for a file that is none of ours."""
    text = session.get_modelmeta().custom_metadata_map.get(CARD)
    if text is None:
        raise ExportError(f"{name} was not made by `pixeldistill export`: it does not say what it answers")
    try:
        return _Card.model_validate(json.loads(text)).model_dump(mode="json")
    except (ValidationError, ValueError, RecursionError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        what = printable(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")[:160]
        raise ExportError(f"{name} was not made by this version of `pixeldistill export`: its card says {what}") from error


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
            raise ExportError(f"{path} is no ONNX file that can be run: {_first_line(error)}") from error
        self.card = read_card(self.session, str(path))
        takes = [(node.name, node.type, len(node.shape)) for node in self.session.get_inputs()]
        answers = [node.name for node in self.session.get_outputs()]
        if takes != [("image", "tensor(uint8)", 4)] or answers != _OUTPUTS[self.card["task"]]:
            raise ExportError(f"{path} was not made by `pixeldistill export`: it takes {takes} and answers {answers}")
        self.title, self.bits = str(path), self.card.get("bits")
        self.classes: tuple[str, ...] = tuple(self.card["classes"])
        self.pictures = path.with_name(f"{path.stem}-predictions")

    @property
    def detects(self) -> bool:
        """Whether it finds objects rather than classes of whole images."""
        return bool(self.card["task"] == "detection")

    def run(self, images: Pixels) -> list[NDArray[Any]]:
        """Ask it of images (N, H, W, 3): probabilities (N, classes); or boxes, probabilities, classes, numbers of the images."""
        try:
            answers = [np.asarray(output) for output in self.session.run(None, {"image": images})]
        except Exception as error:  # of ONNX Runtime's own
            raise ExportError(f"{self.title} cannot be run: {_first_line(error)}") from error
        if self.detects:
            boxes, probabilities, classes, numbers = answers
            fits = boxes.shape[1:] == (4,) and len({len(boxes), *(x.shape for x in (probabilities, classes, numbers))}) == 2
            fits = fits and not ((classes < 0) | (classes >= len(self.classes))).any()
        else:
            fits = answers[0].shape == (len(images), len(self.classes))
        if not fits or answers[0].dtype != np.float32:
            raise ExportError(f"{self.title} does not answer what its card says: it was not made by `pixeldistill export`")
        return answers

    def predict(self, files: Sequence[str | Path], top: int = 5) -> list[Prediction]:
        """Classify image files, and the images in folders, of any size; see `predict.Predictor`."""
        if self.detects:
            raise RunError(f"{self.title} is a detector: ask it to `detect`")
        predictions = []
        for path, image, error in read_images(files, self.bits):
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
        for path, image, error in read_images(files, self.bits):
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


def _first_line(error: Exception) -> str:
    return printable((str(error).splitlines() or [type(error).__name__])[0])[:160]
