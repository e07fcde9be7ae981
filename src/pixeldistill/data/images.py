"""Reading one image file of any kind that a folder of photographs may hold. No torch: the base install predicts with it."""

import hashlib
import io
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from pixeldistill.data.depth import Depth, low_bytes, peak_of, stated_depth, to_eight_bits
from pixeldistill.errors import DataError

# Pillow opens a file by its content, not its name. An EPS file would start Ghostscript.
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM", "AVIF", "JPEG2000")
LARGEST_FILE = 2**30  # bytes
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_BY_A_QUARTER = [turn for orientation, turn in _TURNS.items() if orientation >= 5]

# Pillow warns of odd metadata, which do not matter to the user, and of huge images, which are refused here.
warnings.filterwarnings("ignore", module=r"PIL\.")


class ImageCheck(NamedTuple):
    """Result of checking an image file.

    `digest`: hash of its content. `problem`: what is wrong with it, or None. `size`: upright height and width. `turned`:
    whether EXIF turns or mirrors it. `peak`: the largest value of a 16-bit image that does not state how many bits it uses,
    otherwise 0.
    """

    digest: str
    problem: str | None
    size: tuple[int, int] = (0, 0)
    turned: bool = False
    peak: int = 0


def read_image(
    path: Path, reduction: Callable[[int, int], int] | None = None, *, bits: int | None = None, stamp: int | None = None
) -> NDArray[np.uint8]:  # fmt: skip
    """Read an image as RGB, (height, width, 3), upright by its EXIF orientation.

    Grey, palette, CMYK and 16-bit images are converted. Transparency is blended with white. For an animation, the first frame
    is read.

    Args:
        path: path of the file.
        reduction: called with the upright height and width. Returns the factor (1, 2, 4 or 8) by which the image may be
            smaller. A JPEG is then decoded smaller, which is much faster. Other formats are decoded at full size.
        bits: number of bits that a 16-bit image uses if it does not state it. By default all.
        stamp: earlier state of the file, see `file_stamp`.

    Raises:
        DataError: the file is missing, empty, no image, truncated, far too large or of floating point, or it has changed since
            `stamp`. The message names the file.
    """
    if stamp is not None and file_stamp(path) not in (stamp, None):
        raise DataError(f"{path} was changed while it was used: put it back, and give the same command again")
    with _opened(path) as image:
        depth = stated_depth(image)
        if reduction and (factor := reduction(*_upright_size(image))) > 1:
            with _naming(path):
                image.draft(image.mode, (image.width // factor, image.height // factor))
        return np.asarray(_to_rgb(image, path, depth, bits))


def file_stamp(path: Path) -> int | None:
    """Return the size and modification time of a file, to detect changes. Return None if it does not exist."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return hash((found.st_size, found.st_mtime_ns))


def read_size(path: Path) -> tuple[int, int]:
    """Return the upright height and width that `read_image` would return, from the file's header alone."""
    with _opened(path) as image:
        return _upright_size(image)


def unstated_peak(path: Path) -> int:
    """Return the largest value of a 16-bit image that does not state how many bits it uses. Return 0 for other images.

    Raises:
        DataError: as `read_image`.
    """
    with _opened(path) as image:
        depth = stated_depth(image)
        return peak_of(_deep_values(image, path, depth)) if depth and not depth.stated else 0


def check_image(path: Path) -> ImageCheck:
    """Hash an image file's content, and check the image for problems.

    The image is decoded completely (a JPEG at an eighth of its size) so that truncation is found.
    """
    digest = ""
    try:
        content = _content(path)
        digest = hashlib.blake2b(content, digest_size=16).hexdigest()
        with _opened(path, content) as image:
            depth, peak = stated_depth(image), 0  # first, because later calls may decode it
            size, turned = _upright_size(image), _turn(image) is not None
            if depth and not depth.stated:
                peak = peak_of(_deep_values(image, path, depth, content))
            elif image.mode not in ("RGB", "L", "CMYK"):
                _to_rgb(image, path, depth)
            else:
                with _naming(path):
                    image.draft(image.mode, (1, 1))
                    image.load()
    except DataError as error:
        return ImageCheck(digest, str(error))
    return ImageCheck(digest, None, size, turned, peak)


def _content(path: Path) -> bytes:
    _check_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {_reason(error)}") from error


def _check_file(path: Path) -> None:
    """Raise DataError if a path is no regular file (a pipe or a device would never end), empty, or far too large."""
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {_reason(error)}") from error
    if not stat.S_ISREG(found.st_mode):
        raise DataError(f"{path} is {'a folder' if stat.S_ISDIR(found.st_mode) else 'no regular file'}: remove or replace it")
    if found.st_size == 0:
        raise DataError(f"{path} is empty (zero bytes): remove or replace it")
    if found.st_size > LARGEST_FILE:
        raise DataError(f"{path} has {found.st_size / 2**30:.1f} GiB, too much for one image: remove or replace it")


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)  # older versions of Pillow do not have all formats


@contextmanager
def _opened(path: Path, content: bytes | None = None) -> Iterator[ImageFile.ImageFile]:
    """Open an image file, or its content if it was read already."""
    if content is None:
        _check_file(path)
    with ExitStack() as stack:
        yield stack.enter_context(_open(path, stack, content))


def _open(path: Path, stack: ExitStack, content: bytes | None) -> ImageFile.ImageFile:
    try:
        # Not by its path: Pillow then maps raw pixels into memory, with the sides of a TIFF that is not turned yet.
        file = stack.enter_context(path.open("rb")) if content is None else io.BytesIO(content)
        image = Image.open(file, formats=_formats())
    except UnidentifiedImageError as error:
        raise DataError(f"{path} is not an image that can be read: remove or replace it") from error
    except Exception as error:  # a damaged file can raise any error in a decoder
        raise DataError(f"{path} cannot be read: {_reason(error)}") from error
    pixels, most = image.width * image.height, Image.MAX_IMAGE_PIXELS
    if most and pixels > most:
        raise DataError(f"{path} has {pixels / 1e6:.0f} million pixels, more than {most / 1e6:.0f}: make it smaller")
    return image


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Add the file's name to every error while it is decoded."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # see `_opened`
        raise DataError(f"{path} is broken: {_reason(error)}; remove or replace it") from error


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return how to turn an image upright. A broken EXIF block is ignored, because the pixels may be fine.

    For a PNG file, only what stands before the pixels is read. Pillow's `getexif` would decode the pixels and hide their
    errors.
    """
    try:
        orientation: Any = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
        return _TURNS.get(orientation)
    except Exception:  # any tag may be of any type
        return None


def _upright_size(image: Image.Image) -> tuple[int, int]:
    height, width = image.height, image.width
    if isinstance(image, TiffImageFile):  # the stored size: newer versions of Pillow return the upright size above
        height, width = (int(image.tag_v2[tag]) for tag in (ExifTags.Base.ImageLength, ExifTags.Base.ImageWidth))
    return (width, height) if _turn(image) in _BY_A_QUARTER else (height, width)


def _upright(image: Image.Image, path: Path) -> Image.Image:
    """Decode an image and turn its pixels. Newer versions of Pillow turn a TIFF themselves."""
    with _naming(path):
        turn = _turn(image)
        image.load()
        if isinstance(image, TiffImageFile):
            turn = _turn(image)
        return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image, path: Path, depth: Depth | None, bits: int | None = None) -> Image.Image:
    if depth:
        values = _deep_values(image, path, depth)
        upright = Image.fromarray(to_eight_bits(values, depth.bits if depth.stated else bits or depth.bits, depth.inverted))
    else:
        upright = _upright(image, path)
    if upright.mode in ("I", "F"):
        raise DataError(f"{path} has {'32-bit' if upright.mode == 'I' else 'floating-point'} pixels: convert it to 8 or 16 bits")
    with _naming(path):
        if upright.has_transparency_data:
            layer = upright.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
        return upright.convert("RGB")


def _deep_values(
    image: Image.Image, path: Path, depth: Depth, content: bytes | None = None
) -> NDArray[np.uint16]:  # fmt: skip
    """Return the values of an image of more than 8 bits, (height, width) or (height, width, channels)."""
    values = np.asarray(_upright(image, path))
    if values.ndim == 3:  # Pillow has kept only the upper bytes
        with _opened(path, content) as again:
            low_bytes(again)
            deep: NDArray[np.uint16] = values.astype(np.uint16) << 8 | np.asarray(_upright(again, path))
            return deep
    if depth.signed and values.min() < 0:
        raise DataError(f"{path} has negative values, which are no grey levels: convert it to unsigned 16 bits")
    return values.astype(np.uint16)


def _reason(error: BaseException) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).split("\n")[0][:200]
