"""Generated images of letters: to try a classifier where no photographs are at hand. No torch.

A letter's strokes are thin, so that it can be read on a large image and hardly on a small one.
"""

import string
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pixeldistill.data.formats.base import ListedData
from pixeldistill.data.formats.generated import draw_once
from pixeldistill.data.formats.named import Pair, read_folder
from pixeldistill.recipe.data import Data

SIDE = 80  # pixels of an image
FINER = 2  # a letter is drawn so many times as large, then reduced
IMAGES = {"train": 32, "val": 8, "test": 40}  # of each letter
FAMILIES = ("DejaVuSans", "DejaVuSerif", "STIXGeneral", "cmb10", "cmr10", "cmss10", "cmtt10")
SEED = 0


def read_letters(data: Data) -> ListedData[Pair]:
    """Read the images in `data.root`: a folder for each letter. They are drawn there first if need be.

    Raises:
        DataError: the folder holds something else.
    """
    assert data.root is not None
    letters = [f"{split}/{letter}" for split in IMAGES for letter in string.ascii_lowercase]
    draw_once(data.root, letters, draw_letters)
    return read_folder(data)


def draw_letters(root: Path) -> None:
    """Draw the images of all splits into a folder, as `<split>/<letter>/<number>.png`.

    One version of matplotlib and Pillow always draws the same.
    """
    fonts = font_files()
    for number, (split, count) in enumerate(IMAGES.items()):
        rng = np.random.default_rng([SEED, number])
        for letter in string.ascii_lowercase:
            folder = root / split / letter
            folder.mkdir(parents=True)
            for i in range(count):
                draw_letter(letter, fonts, rng).save(folder / f"{i:02d}.png")


def font_files() -> list[Path]:
    """Return the font files of letters that come with matplotlib, sorted."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return sorted(path for path in folder.glob("*.ttf") if path.stem.startswith(FAMILIES) and "Display" not in path.stem)


def draw_letter(letter: str, fonts: Sequence[Path], rng: np.random.Generator) -> Image.Image:
    """Draw a letter on a cloudy ground: font, size, place, slant, colours and noise are random."""
    side = FINER * SIDE
    base = rng.uniform(40, 215, 3)
    ground = (base + rng.normal(0, 18, (4, 4, 3))).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(ground).resize((side, side), Image.Resampling.BICUBIC)
    font = ImageFont.truetype(str(fonts[int(rng.integers(len(fonts)))]), int(rng.uniform(0.5, 0.75) * side))
    left, top, right, bottom = font.getbbox(letter)
    x, y = rng.uniform(0.44, 0.56, 2) * side
    mask = Image.new("L", (side, side), 0)
    ImageDraw.Draw(mask).text((x - (left + right) / 2, y - (top + bottom) / 2), letter, font=font, fill=255)
    mask = mask.rotate(float(rng.normal(0, 8)), Image.Resampling.BICUBIC, center=(x, y))
    shade, share = base.mean(), rng.uniform(0, 1, 3)
    ink = share * max(0.0, shade - 70) if shade > 127 else 255 - share * (255 - shade - 70)  # apart from the ground
    image.paste(tuple(int(level) for level in ink), mask=mask)
    pixels = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)) + rng.normal(0, 12, (SIDE, SIDE, 1))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
