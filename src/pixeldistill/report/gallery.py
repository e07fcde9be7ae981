"""Pictures of a student's mistakes that its teacher does not make, and of found objects. No torch."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pixeldistill.data.camera import photograph
from pixeldistill.data.images import read_image
from pixeldistill.errors import DataError, RunError
from pixeldistill.report.collect import FinishedTraining
from pixeldistill.statistics import spread
from pixeldistill.tasks.detection.drawing import Labelled, draw_boxes

SHOWN, WIDTH = 12, 420  # pictures on a page; width of a picture with boxes in pixels


class Mistake(NamedTuple):
    """An image as both networks read it (data URIs), its class, and the student's prediction."""

    large: str
    small: str
    label: str
    predicted: str
    probability: float


class Overlay(NamedTuple):
    """An image with its true boxes, the teacher's and the student's (data URIs)."""

    name: str
    truth: str
    teacher: str
    student: str


def view(image: NDArray[np.uint8], trained: FinishedTraining, number: int) -> Image.Image:
    """Return the test view of an image (H, W, 3), as a network's camera delivers it."""
    from pixeldistill.data.views import to_image
    from pixeldistill.tasks import task_of

    card = trained.card
    small = to_image(task_of(card).view(image, card.image_size, card.camera))
    return Image.fromarray(photograph(small, card.camera, (2, number)))


def mistakes(student: FinishedTraining, teacher: FinishedTraining, shown: int = SHOWN) -> tuple[list[Mistake], int]:
    """Draw test images that only the teacher gets right, the student's most confident mistakes first. Count all of them."""
    right = {told["file"] for told in teacher.predictions if "predicted" in told and told["predicted"] == told["label"]}
    wrong = [
        (number, told)
        for number, told in enumerate(student.predictions)
        if told["file"] in right and told["predicted"] != told["label"]
    ]
    found = []
    for number, told in sorted(wrong, key=lambda pair: -pair[1]["probability"]):
        image = _open(told["file"], student.card.bits)
        if image is None:
            continue
        large, small = (view(np.asarray(image), trained, number) for trained in (teacher, student))
        found.append(Mistake(_uri(large), _uri(small, "PNG"), told["label"], told["predicted"], told["probability"]))
        if len(found) == shown:
            break
    return found, len(wrong)


def overlays(student: FinishedTraining, teacher: FinishedTraining, shown: int = SHOWN // 2) -> list[Overlay]:
    """Draw true objects, and those found by teacher and student, on test images from all over the split."""
    classes = student.card.classes
    of_teacher = {told["file"]: told for told in teacher.predictions}
    found = []
    chosen = [told for told in student.predictions if told.get("truth") and told["file"] in of_teacher]
    for told in spread(chosen, shown):
        image = _open(told["file"], student.card.bits)
        if image is None:
            continue
        scale = min(1.0, WIDTH / image.width)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        small = image.resize(size, Image.Resampling.BILINEAR)
        parts = [
            _uri(draw_boxes(np.asarray(small), _scaled(objects, scale), classes))
            for objects in (told["truth"], of_teacher[told["file"]]["objects"], told["objects"])
        ]
        found.append(Overlay(Path(told["file"]).name, *parts))
    return found


def _scaled(objects: Sequence[Mapping[str, Any]], scale: float) -> list[Labelled]:
    drawn: list[Labelled] = []
    for told in objects:
        x0, y0, x1, y1 = (n * scale for n in told["box"])
        drawn.append((told["class"], told.get("probability"), (x0, y0, x1, y1)))
    return drawn


def _open(path: str, bits: int | None) -> Image.Image | None:
    """Open an image of the data, if it still exists."""
    try:
        return Image.fromarray(read_image(Path(path), bits=bits))
    except DataError:
        return None


def picture_uri(path: Path) -> str:
    """Return a picture as a JPEG data URI, so that the page can be sent as one file. Raise RunError if it is damaged."""
    try:
        with Image.open(path) as picture:
            return _uri(picture)
    except (OSError, ValueError) as error:
        raise RunError(f"picture {path} cannot be read ({error}): remove it") from error


def _uri(image: Image.Image, kind: str = "JPEG") -> str:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, kind, **({"quality": 88} if kind == "JPEG" else {}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
