"""Generated scenes with objects, to try a detector without photographs. No torch.

An object's class shows only in a small mark inside a disc. So small images lose it, as they lose details of photographs.
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pixeldistill.data.formats.annotations import AnnotatedImage
from pixeldistill.data.formats.base import ListedData
from pixeldistill.data.formats.coco import read_coco
from pixeldistill.data.formats.generated import draw_once
from pixeldistill.recipe.data import Data

HEIGHT, WIDTH = 192, 256
IMAGES = {"train": 200, "val": 24, "test": 60}
MARKS = ("plain", "bar", "cross", "dot")
SEED = 0


def read_scenes(data: Data) -> ListedData[AnnotatedImage]:
    """Read the scenes in `data.root`. Draw them first if they are missing.

    Raises:
        DataError: the folder holds something else.
    """
    assert data.root is not None
    draw_once(data.root, [f"{split}.json" for split in IMAGES], draw_scenes)
    files = {split: f"{split}.json" for split in IMAGES}
    return read_coco(data.model_copy(update=files))


def draw_scenes(root: Path) -> None:
    """Draw the scenes of all splits into a folder, as JPEGs and COCO files."""
    for number, (split, count) in enumerate(IMAGES.items()):
        _draw_split(root, split, count, np.random.default_rng([SEED, number]))


def _draw_split(folder: Path, split: str, count: int, rng: np.random.Generator) -> None:
    (folder / split).mkdir(parents=True)
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number in range(1, count + 1):
        name = f"{number:04d}.jpg"
        picture, objects = draw_scene(rng)
        Image.fromarray(picture).save(folder / split / name, quality=90)
        images.append({"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT})
        for (x0, y0, x1, y1), label in objects:
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": number, "category_id": label + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": 0,
                }
            )  # fmt: skip
    categories = [{"id": i, "name": mark} for i, mark in enumerate(MARKS, start=1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / f"{split}.json").write_text(json.dumps(content), encoding="utf-8")


def draw_scene(rng: np.random.Generator) -> tuple[NDArray[np.uint8], list[tuple[tuple[int, int, int, int], int]]]:
    """Draw discs with marks on a cloudy background. Return the picture, (height, width, 3), and every disc's box and mark."""
    ground = rng.uniform(40, 200, (6, 8, 3)).astype(np.uint8)
    image = Image.fromarray(ground).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    objects: list[tuple[tuple[int, int, int, int], int]] = []
    for _ in range(int(rng.integers(2, 9))):
        side = int(rng.integers(14, 48))
        x, y = int(rng.integers(WIDTH - side)), int(rng.integers(HEIGHT - side))
        box = (x, y, x + side, y + side)
        if any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b, _ in objects):
            continue
        label = int(rng.integers(len(MARKS)))
        shade, ink = _colours(rng)
        pen.ellipse((x, y, x + side - 1, y + side - 1), fill=shade)
        _mark(pen, MARKS[label], x + side / 2, y + side / 2, side / 4, ink)
        objects.append((box, label))
    noise = rng.normal(0, 6, (HEIGHT, WIDTH, 1))
    return (np.asarray(image) + noise).clip(0, 255).astype(np.uint8), objects


def _colours(rng: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Draw a random colour for a disc, and a contrasting one for its mark."""
    shade = rng.integers(60, 256, 3)
    ink = shade // 3 if shade.mean() > 120 else 255 - (255 - shade) // 3
    return tuple(int(n) for n in shade), tuple(int(n) for n in ink)


def _mark(pen: ImageDraw.ImageDraw, mark: str, x: float, y: float, reach: float, ink: tuple[int, ...]) -> None:
    thick = max(1, round(reach / 2))
    if mark in ("bar", "cross"):
        pen.line((x - reach, y, x + reach, y), fill=ink, width=thick)
    if mark == "cross":
        pen.line((x, y - reach, x, y + reach), fill=ink, width=thick)
    if mark == "dot":
        pen.ellipse((x - reach / 2, y - reach / 2, x + reach / 2, y + reach / 2), fill=ink)
