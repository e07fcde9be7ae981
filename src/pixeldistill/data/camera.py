"""Changes that the deployed camera makes to an image: grey, noise, compression. No torch."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pixeldistill.recipe.camera import QUALITY, Camera

Pixels = NDArray[np.uint8]


def photograph(image: Pixels, camera: Camera, seed: Sequence[int]) -> Pixels:
    """Return an image (H, W, 3) of the camera's size as the network receives it, again (H, W, 3).

    Args:
        image: image that is already resized and cropped.
        camera: camera that the image passes through.
        seed: seed of the noise. The same seed gives the same image.

    Source:
        Ours: the luma of ITU-R 601 for a grey camera, Gaussian noise of the sensor, then the codec.
    """
    if not camera.alters:
        return image
    pixels = captured(image, camera, seed)
    if camera.lossy:
        with Image.open(io.BytesIO(encode(pixels, camera))) as sent:
            pixels = np.asarray(sent.convert("L" if camera.colour == "grey" else "RGB"))
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def captured(image: Pixels, camera: Camera, seed: Sequence[int]) -> Pixels:
    """Return the sensor's output for an image (H, W, 3): the same shape, or (H, W) for a grey camera."""
    pixels = np.asarray(Image.fromarray(image).convert("L")) if camera.colour == "grey" else image
    if camera.noise:
        noise = np.random.default_rng(seed).standard_normal(pixels.shape, np.float32) * np.float32(camera.noise)
        pixels = np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)
    return pixels


def encode(pixels: Pixels, camera: Camera) -> bytes:
    """Encode the sensor's output, (H, W, 3) or (H, W), as it is sent. All settings except the quality are Pillow's defaults."""
    if camera.codec == "raw":
        return pixels.tobytes()
    settings: dict[str, Any] = {"quality": camera.quality or QUALITY} if camera.lossy else {}
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, camera.codec.upper(), **settings)
    return buffer.getvalue()
