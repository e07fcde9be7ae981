"""Bytes that the camera sends for an image."""

from collections.abc import Sequence

from pixeldistill.data.camera import captured, encode
from pixeldistill.data.images import image_size
from pixeldistill.data.splits import Sample
from pixeldistill.recipe.camera import Camera
from pixeldistill.statistics import spread
from pixeldistill.tasks import Task

MOST = 64  # images that are encoded


def typical_view(samples: Sequence[Sample], side: int, task: Task) -> tuple[int, int]:
    """Return height and width of a middling image's view: half of up to `MOST` images have as many pixels, or more."""
    if not samples:
        return side, side
    sizes = [task.view_size(image_size(sample.path), side) for sample in spread(samples, MOST)]
    return sorted(sizes, key=lambda size: size[0] * size[1])[len(sizes) // 2]


def bytes_per_image(samples: Sequence[Sample], camera: Camera, task: Task, *, most: int = MOST) -> float:
    """Encode up to `most` of the user's images, spread over the split, as a camera sends them; returns the mean size in bytes.

    Args:
        samples: the images.
        camera: what sends them.
        task: says what of an image is seen.
        most: how many are encoded.
    """
    chosen = spread(samples, most)
    total = 0
    for number, sample in enumerate(chosen):
        view = task.view(sample.read(), *camera)
        total += len(encode(captured(view.permute(1, 2, 0).contiguous().numpy(), camera.imaging, (number,)), camera.imaging))
    return total / len(chosen)
