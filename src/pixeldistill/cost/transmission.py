"""Bytes that the camera sends for an image."""

import io
from collections.abc import Sequence

from PIL import Image

from pixeldistill.data.boxes import Annotation
from pixeldistill.data.images import read_image
from pixeldistill.data.sources import Sample
from pixeldistill.data.views import camera_view, whole_view
from pixeldistill.inputs import Imaging

JPEG_QUALITY = 85


def bytes_per_image(samples: Sequence[Sample], side: int, imaging: Imaging, most: int = 64) -> float:
    """Encode up to `most` of the user's images, spread over the split, as JPEG 85 at a side; gives the mean size in bytes."""
    chosen = samples[:: max(1, len(samples) // most)][:most]
    sizes = []
    for sample in chosen:
        buffer = io.BytesIO()
        view = (whole_view if isinstance(sample.label, Annotation) else camera_view)(read_image(sample.path), side, imaging)
        Image.fromarray(view.permute(1, 2, 0).numpy()).save(buffer, "JPEG", quality=JPEG_QUALITY)
        sizes.append(buffer.tell())
    return sum(sizes) / len(sizes)
