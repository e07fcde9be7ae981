"""What the deployed camera does to an image on its way: grey, noise, compression. No torch."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pixeldistill.recipe.camera import QUALITY, Camera

Pixels = NDArray[np.uint8]


def photograph(image: Pixels, camera: Camera, seed: Sequence[int]) -> Pixels:
    """Return an image (H, W, 3) of the camera's size as the network receives it, (H, W, 3) again.

    Args:
        image: resized and cropped already.
        camera: what the image goes through.
        seed: of the noise; the same numbers make the same image.

    Source:
        Ours: the luma of ITU-R 601 where it sees no colour, Gaussian noise of the sensor, then the codec.
    """
    if not camera.alters:
        return image
    pixels = captured(image, camera, seed)
    if camera.lossy:
        with Image.open(io.BytesIO(encode(pixels, camera))) as sent:
            pixels = np.asarray(sent.convert("L" if camera.colour == "grey" else "RGB"))
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def captured(image: Pixels, camera: Camera, seed: Sequence[int]) -> Pixels:
    """Return what the sensor makes of an image (H, W, 3): that shape, or (H, W) of a grey one."""
    pixels = np.asarray(Image.fromarray(image).convert("L")) if camera.colour == "grey" else image
    if camera.noise:
        noise = np.random.default_rng(seed).standard_normal(pixels.shape, np.float32) * np.float32(camera.noise)
        pixels = np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)
    return pixels


def encode(pixels: Pixels, camera: Camera) -> bytes:
    """Encode what the sensor gave, (H, W, 3) or (H, W), as it is sent; Pillow's defaults but for the quality."""
    if camera.codec == "raw":
        return pixels.tobytes()
    settings: dict[str, Any] = {"quality": camera.quality or QUALITY} if camera.lossy else {}
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, camera.codec.upper(), **settings)
    return buffer.getvalue()
