"""Bytes that the camera sends for an image."""

from collections.abc import Sequence

from pixeldistill.data.camera import captured, encode
from pixeldistill.data.images import image_size
from pixeldistill.data.sources import Sample
from pixeldistill.data.views import camera_view, whole_size, whole_view
from pixeldistill.inputs import Camera
from pixeldistill.spread import spread

MOST = 64  # images that are encoded


def typical_view(samples: Sequence[Sample], side: int) -> tuple[int, int]:
    """Give height and width of a middling image's whole view: half of up to `MOST` images have as many pixels, or more."""
    sizes = [whole_size(*image_size(sample.path), side) for sample in spread(samples, MOST)]
    return sorted(sizes, key=lambda size: size[0] * size[1])[len(sizes) // 2]


def bytes_per_image(samples: Sequence[Sample], camera: Camera, *, whole: bool, most: int = MOST) -> float:
    """Encode up to `most` of the user's images, spread over the split, as a camera sends them; gives the mean size in bytes.

    Args:
        samples: the images.
        camera: what sends them.
        whole: all of an image, as detectors see it, rather than its centre.
        most: how many are encoded.
    """
    chosen = spread(samples, most)
    total = 0
    for number, sample in enumerate(chosen):
        view = (whole_view if whole else camera_view)(sample.read(), *camera)
        total += len(encode(captured(view.permute(1, 2, 0).contiguous().numpy(), camera.imaging, (number,)), camera.imaging))
    return total / len(chosen)
