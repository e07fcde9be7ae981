"""Images of more than 8 bits a value: how many bits they use, and their conversion to 8 bits. No torch.

Values of 10, 12 or 14 bits are often stored in 16. Read as 16 bits, their images would be nearly black.
"""

import sys
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.TiffImagePlugin import TiffImageFile

_PHOTOMETRIC, _BITS_PER_SAMPLE = 262, 258  # TIFF's tags
_WHITE_IS_ZERO = 0
FULL = 16
_USUAL = (8, 10, 12, 14, 15, FULL)  # usual for sensors; 15 if stored as signed 16


class Depth(NamedTuple):
    """Format of an image's values.

    `bits`: bits of a value. `stated`: whether the file states that it uses fewer than 16, so that no guess is needed.
    `inverted`: 0 is white. `signed`: values may be negative.
    """

    bits: int
    stated: bool = False
    inverted: bool = False
    signed: bool = False


def stated_depth(image: Image.Image) -> Depth | None:
    """Return the format of an opened, not yet decoded image's values. Return None for 8 bits or fewer, or 32."""
    rawmode = _rawmode(image)
    grey = image.mode.startswith("I;16") or (image.mode == "I" and (image.format == "PPM" or ";16" in rawmode))
    colours = image.mode in ("RGB", "RGBA") and rawmode[-4:-1] == ";16"
    if not (grey or colours):
        return None
    if not isinstance(image, TiffImageFile):
        return Depth(16, stated=image.format != "PNG")  # in other formats Pillow spreads the values over 16 bits
    bits = min(16, int(np.max(image.tag_v2.get(_BITS_PER_SAMPLE, 16))))
    inverted = image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    return Depth(bits, stated=bits < 16, inverted=inverted, signed=rawmode.endswith("S"))


def low_bytes(image: ImageFile.ImageFile) -> None:
    """Make an opened, not yet decoded image of 16 bits a channel decode to its lower bytes.

    Pillow has no mode for such images and keeps one byte of each value. The file's byte order decides which one, so it is
    swapped.
    """
    other = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
    rawmode = _rawmode(image)
    changed = rawmode[:-1] + other[rawmode[-1]]
    for place, tile in enumerate(image.tile):
        args = (changed, *tile.args[1:]) if isinstance(tile.args, tuple) else changed
        image.tile[place] = tile._replace(args=args)


def used_bits(peak: int) -> int:
    """Return the number of bits of a camera from the largest value in its images.

    >>> used_bits(4095), used_bits(3000), used_bits(65535), used_bits(200)
    (12, 12, 16, 8)
    """
    return next(bits for bits in _USUAL if peak < 2**bits)


def peak_of(values: NDArray[np.uint16]) -> int:
    """Return the largest value of an image, (height, width) or (height, width, channels), without transparency."""
    return int((values[..., :3] if values.ndim == 3 else values).max())


def to_eight_bits(values: NDArray[np.uint16], bits: int, inverted: bool) -> NDArray[np.uint8]:
    """Reduce values of `bits` bits to 8. Larger values become white. A fourth channel, transparency, has 16 bits.

    >>> to_eight_bits(np.array([[0, 4095]], np.uint16), 12, False).tolist()
    [[0, 255]]
    """
    eight: NDArray[np.uint8] = np.minimum(values >> (bits - 8), 255).astype(np.uint8)
    if values.ndim == 3 and values.shape[2] == 4:
        eight[..., 3] = values[..., 3] >> 8
    return 255 - eight if inverted else eight


def _rawmode(image: Image.Image) -> str:
    """Return the name of the layout that Pillow decodes from."""
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    args = tiles[0].args if tiles else None
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""
