"""Number of bytes that the camera sends for an image."""

from collections.abc import Sequence

from pixeldistill.data.camera import captured, encode
from pixeldistill.data.images import read_size
from pixeldistill.data.splits import Sample
from pixeldistill.recipe.camera import InputSpec
from pixeldistill.statistics import spread
from pixeldistill.tasks import Task

MOST = 64  # images that are encoded


def typical_view(samples: Sequence[Sample], image_size: int, task: Task) -> tuple[int, int]:
    """Return height and width of the view with the median number of pixels, out of up to `MOST` images."""
    if not samples:
        return image_size, image_size
    sizes = [task.view_size(read_size(sample.path), image_size) for sample in spread(samples, MOST)]
    return sorted(sizes, key=lambda size: size[0] * size[1])[len(sizes) // 2]


def bytes_per_image(samples: Sequence[Sample], input_spec: InputSpec, task: Task, *, most: int = MOST) -> float:
    """Encode up to `most` of the user's images, spread over the split, as a camera sends them. Return the mean size in bytes.

    Args:
        samples: the images.
        input_spec: image size and camera.
        task: makes the views of the images.
        most: number of images to encode.
    """
    chosen = spread(samples, most)
    total = 0
    for number, sample in enumerate(chosen):
        view = task.view(sample.read(), *input_spec)
        total += len(
            encode(captured(view.permute(1, 2, 0).contiguous().numpy(), input_spec.camera, (number,)), input_spec.camera)
        )
    return total / len(chosen)
