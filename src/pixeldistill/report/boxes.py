"""Drawing boxes onto an image."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pixeldistill.files import write_file

COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000", "#f032e6", "#000075")

Labelled = tuple[str, float, tuple[float, float, float, float]]  # class, probability, box in pixels


def draw_boxes(image: NDArray[np.uint8], objects: Sequence[Labelled], classes: Sequence[str]) -> Image.Image:
    """Draw objects onto an image (H, W, 3), each class in its colour, with its name and its probability in percent."""
    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    height = max(10, min(picture.size) // 40)
    font: Any = ImageFont.load_default(height)
    for name, probability, (x0, y0, x1, y1) in reversed(objects):  # the likeliest on top
        colour = COLOURS[list(classes).index(name) % len(COLOURS)]
        pen.rectangle((x0, y0, x1, y1), outline=colour, width=max(1, height // 6))
        text = f"{name} {100 * probability:.0f}"
        left, top = max(0.0, x0), max(0.0, y0 - height - 2)
        pen.rectangle(pen.textbbox((left + 1, top), text, font=font), fill=colour)
        pen.text((left + 1, top), text, fill="white", font=font)
    return picture


def save_png(path: Path, picture: Image.Image) -> None:
    """Replace a PNG as a whole."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    write_file(path, buffer.getvalue())


def picture_names(paths: Sequence[Path]) -> list[str]:
    """Name a picture for each image: its name, with a number where two images share it.

    >>> picture_names([Path("a/one.jpg"), Path("b/one.jpg")])
    ['one.png', 'one-2.png']
    """
    names: list[str] = []
    for path in paths:
        name, number = f"{path.stem}.png", 1
        while name in names:
            number += 1
            name = f"{path.stem}-{number}.png"
        names.append(name)
    return names
