"""Reading one image file, whatever a folder of photographs may hold. No torch: the base install predicts with it."""

import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pixeldistill.errors import DataError

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"})
_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N")
_UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)

# Pillow warns of odd metadata, which is no concern of the user's, and of huge images, which are refused here.
warnings.filterwarnings("ignore", module=r"PIL\.")


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image as RGB, (height, width, 3), upright by its EXIF orientation.

    Grey, palette, CMYK and 16-bit grey images are converted; transparency is laid over white; of an animation the first
    frame is taken.

    Raises:
        DataError: naming the file, if it is missing, empty, no image, truncated, far too large or of floating point.
    """
    with _open(path) as image:
        return np.asarray(_to_rgb(image, path))


def check_image(path: Path) -> str | None:
    """Say what is wrong with an image file, or None. Decodes it wholly (JPEG at an eighth) so that truncation is found."""
    try:
        with _open(path) as image:
            if image.mode not in ("RGB", "L", "CMYK"):
                _to_rgb(image, path)
            else:
                image.draft(image.mode, (1, 1))
                _load(image, path)
    except DataError as error:
        return str(error)
    return None


def find_images(folder: Path) -> list[Path]:
    """List the files below a folder that have an image's name, sorted; hidden ones are passed over."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in EXTENSIONS and path.is_file() and not _hidden(path.relative_to(folder).parts)
    )


def _hidden(parts: Iterable[str]) -> bool:
    return any(part.startswith(".") for part in parts)


def _open(path: Path) -> Image.Image:
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty (zero bytes): remove or replace it")
        image = Image.open(path)
    except UnidentifiedImageError as error:
        raise DataError(f"{path} is not an image that can be read: remove or replace it") from error
    except _UNREADABLE as error:
        raise DataError(f"{path} cannot be read: {_reason(error)}") from error
    pixels, most = image.width * image.height, Image.MAX_IMAGE_PIXELS
    if most and pixels > most:
        raise DataError(f"{path} has {pixels / 1e6:.0f} million pixels, more than {most / 1e6:.0f}: make it smaller")
    return image


def _load(image: Image.Image, path: Path) -> None:
    try:
        image.load()
    except _UNREADABLE as error:
        raise DataError(f"{path} is broken: {_reason(error)}; remove or replace it") from error


def _to_rgb(image: Image.Image, path: Path) -> Image.Image:
    _load(image, path)
    try:
        upright = ImageOps.exif_transpose(image)
    except (*_UNREADABLE, KeyError, TypeError):  # a broken EXIF block says nothing about the pixels
        upright = image
    if upright.mode in _SIXTEEN_BIT:
        return Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8)).convert("RGB")
    if upright.mode in ("I", "F"):
        raise DataError(f"{path} has {'32-bit' if upright.mode == 'I' else 'floating-point'} pixels: convert it to 8 or 16 bits")
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return upright.convert("RGB")


def _reason(error: BaseException) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).split("\n")[0]
