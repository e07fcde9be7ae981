"""Drawing boxes onto an image."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pixeldistill.storage.files import write_file

LEGIBLE = 400  # minimum of a picture's shorter side in pixels: labels would cover a small image
LONGEST = 200  # bytes of a picture's name
COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000", "#f032e6", "#000075")

Box = tuple[float, float, float, float]
Labelled = tuple[str, float | None, Box]  # class, probability (None for an annotation), box in pixels


def draw_boxes(image: NDArray[np.uint8], objects: Sequence[Labelled], classes: Sequence[str]) -> Image.Image:
    """Draw objects onto an image (H, W, 3), each class in its own colour, with its name and its probability in percent.

    A small image is enlarged by a whole number. The boxes are in pixels of the given image.
    """
    picture = Image.fromarray(image)
    times = -(-LEGIBLE // min(picture.size))
    picture = picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)
    objects = [(name, probability, _enlarged(box, times)) for name, probability, box in objects]
    pen = ImageDraw.Draw(picture)
    height = max(10, min(picture.size) // 40)
    font: Any = ImageFont.load_default(height)
    colours = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(classes)}
    for name, _, box in reversed(objects):  # the likeliest comes on top
        pen.rectangle(box, outline=colours[name], width=max(1, height // 6))
    taken: list[Box] = []
    for name, probability, (x0, y0, _, _) in objects:
        text = name if probability is None else f"{name} {100 * probability:.0f}"
        left = max(0.0, min(x0, picture.width - pen.textlength(text, font=font) - 2))
        label = pen.textbbox((left + 1, max(0.0, y0 - height - 2)), text, font=font)
        while any(_overlap(label, other) for other in taken) and label[3] < picture.height:
            label = pen.textbbox((left + 1, label[1] + height + 2), text, font=font)
        taken.append(label)
        pen.rectangle(label, fill=colours[name])
        pen.text((label[0], label[3]), text, fill="white", font=font, anchor="lb")
    return picture


def _enlarged(box: Box, times: int) -> Box:
    x0, y0, x1, y1 = box
    return x0 * times, y0 * times, x1 * times, y1 * times


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def save_png(path: Path, picture: Image.Image) -> None:
    """Replace a whole PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    write_file(path, buffer.getvalue())


def picture_names(paths: Sequence[Path]) -> list[str]:
    """Return a file name of a picture for each image: the image's name, with a number if two images share it.

    >>> picture_names([Path("a/one.jpg"), Path("b/one.jpg")])
    ['one.boxes.png', 'one-2.boxes.png']
    """
    names: list[str] = []
    taken: set[str] = set()
    numbers: dict[str, int] = {}  # last number of each stem
    for path in paths:
        stem = path.stem.encode("utf-8", "surrogateescape")[:LONGEST].decode("utf-8", "ignore")
        number = numbers.get(stem, 0) + 1
        while (name := f"{stem}{f'-{number}' if number > 1 else ''}.boxes.png").casefold() in taken:
            number += 1
        numbers[stem] = number
        taken.add(name.casefold())  # for file systems that ignore case
        names.append(name)
    return names
