"""Reading one image file, whatever a folder of photographs may hold. No torch: the base install predicts with it."""

import hashlib
import io
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from pixeldistill.errors import DataError

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"})
_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N")
_TURNED = (5, 6, 7, 8)  # EXIF orientations by a quarter
_UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)

# Pillow warns of odd metadata, which is no concern of the user's, and of huge images, which are refused here.
warnings.filterwarnings("ignore", module=r"PIL\.")


def read_image(path: Path, reduction: Callable[[int, int], int] | None = None) -> NDArray[np.uint8]:
    """Read an image as RGB, (height, width, 3), upright by its EXIF orientation.

    Grey, palette, CMYK and 16-bit grey images are converted; transparency is laid over white; of an animation the first
    frame is taken.

    Args:
        path: of the file.
        reduction: given the upright height and width, says by which factor (1, 2, 4 or 8) the image may come smaller. A JPEG
            then does, in a fraction of the time, since its decoder leaves out what is not needed; other formats come whole.

    Raises:
        DataError: naming the file, if it is missing, empty, no image, truncated, far too large or of floating point.
    """
    with _open(path) as image:
        if reduction and (factor := reduction(*_upright_size(image))) > 1:
            image.draft(image.mode, (image.width // factor, image.height // factor))
        return np.asarray(_to_rgb(image, path))


def image_size(path: Path) -> tuple[int, int]:
    """Give the upright height and width that `read_image` would give, from the file's header alone."""
    with _open(path) as image:
        return _upright_size(image)


def orientation(path: Path) -> int:
    """Give the EXIF orientation of an image file: 1 where it says none."""
    with _open(path) as image:
        return _orientation(image)


def check_image(path: Path) -> tuple[str, str | None]:
    """Identify an image file by its content, and say what is wrong with it, or None.

    Decodes it wholly (JPEG at an eighth) so that truncation is found.
    """
    digest = ""
    try:
        content = _content(path)
        digest = hashlib.blake2b(content, digest_size=16).hexdigest()
        with _open(path, content) as image:
            if image.mode not in ("RGB", "L", "CMYK"):
                _to_rgb(image, path)
            else:
                image.draft(image.mode, (1, 1))
                _load(image, path)
    except DataError as error:
        return digest, str(error)
    return digest, None


def find_images(folder: Path) -> list[Path]:
    """List the files below a folder that have an image's name, sorted; hidden ones are passed over."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in EXTENSIONS and path.is_file() and not _hidden(path.relative_to(folder).parts)
    )


def _hidden(parts: Iterable[str]) -> bool:
    return any(part.startswith(".") for part in parts)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {_reason(error)}") from error


def _open(path: Path, content: bytes | None = None) -> Image.Image:
    """Open an image file, or its content where that is at hand."""
    try:
        if (path.stat().st_size if content is None else len(content)) == 0:
            raise DataError(f"{path} is empty (zero bytes): remove or replace it")
        image = Image.open(path if content is None else io.BytesIO(content))
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


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(ExifTags.Base.Orientation)
    except (*_UNREADABLE, KeyError, TypeError):
        return 1
    return found if isinstance(found, int) else 1


def _upright_size(image: Image.Image) -> tuple[int, int]:
    height, width = image.height, image.width
    if isinstance(image, TiffImageFile):  # as it is stored: newer versions of Pillow give the upright size above
        height, width = (int(image.tag_v2[tag]) for tag in (ExifTags.Base.ImageLength, ExifTags.Base.ImageWidth))
    return (width, height) if _orientation(image) in _TURNED else (height, width)


def _to_rgb(image: Image.Image, path: Path) -> Image.Image:
    _load(image, path)
    try:
        upright = ImageOps.exif_transpose(image)
    except (*_UNREADABLE, KeyError, TypeError):  # a broken EXIF block says nothing about the pixels
        upright = image
    if upright.mode in _SIXTEEN_BIT or (upright.mode == "I" and image.format == "PPM"):  # PGM ends at 16 bits
        return Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8)).convert("RGB")
    if upright.mode in ("I", "F"):
        raise DataError(f"{path} has {'32-bit' if upright.mode == 'I' else 'floating-point'} pixels: convert it to 8 or 16 bits")
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return upright.convert("RGB")


def _reason(error: BaseException) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).split("\n")[0]
