"""Bytes that the camera sends for an image."""

from collections.abc import Sequence

from pixeldistill.data.boxes import Annotation
from pixeldistill.data.camera import captured, encode
from pixeldistill.data.images import read_image
from pixeldistill.data.sources import Sample
from pixeldistill.data.views import camera_view, whole_view
from pixeldistill.inputs import Camera

MOST = 64  # images that are encoded


def bytes_per_image(samples: Sequence[Sample], camera: Camera, most: int = MOST) -> float:
    """Encode up to `most` of the user's images, spread over the split, as a camera sends them; gives the mean size in bytes."""
    chosen = samples[:: max(1, len(samples) // most)][:most]
    total = 0
    for number, sample in enumerate(chosen):
        view = (whole_view if isinstance(sample.label, Annotation) else camera_view)(read_image(sample.path), *camera)
        total += len(encode(captured(view.permute(1, 2, 0).contiguous().numpy(), camera.imaging, (number,)), camera.imaging))
    return total / len(chosen)
