"""Pictures of a run."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pixeldistill.functional.reconstruction import IMAGENET_MEAN, IMAGENET_STD
from pixeldistill.storage.files import write_file


def save_reconstructions(path: Path, large: Any, small: Any, rebuilt: Any, names: Sequence[str]) -> None:  # noqa: ANN401
    """Draw images as columns: the large one, the small one the student reads, and the decoder's reconstruction.

    Args:
        path: the PNG to write.
        large: (N, 3, H, W) in [0, 1].
        small: (N, 3, h, w) in [0, 1].
        rebuilt: (N, 3, H, W) in ImageNet-normalised units.
        names: a caption for each.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    mean, std = (np.array(values).reshape(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    rows = [
        (f"large, {large.shape[-1]} px", np.asarray(large)),
        (f"small, {small.shape[-1]} px\n(the student's input)", np.asarray(small)),
        (f"rebuilt, {rebuilt.shape[-1]} px\n(ISRD, training only)", np.asarray(rebuilt) * std + mean),
    ]
    figure = Figure(figsize=(2.3 * len(names) + 1, 7.4), layout="constrained")
    axes = figure.subplots(len(rows), len(names), squeeze=False)
    for line, (title, images) in zip(axes, rows, strict=True):
        for axis, image in zip(line, images, strict=True):
            axis.imshow(image.clip(0, 1).transpose(1, 2, 0), interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
        line[0].set_ylabel(title)
    for axis, name in zip(axes[0], names, strict=True):
        axis.set_title(name, fontsize=9, parse_math=False)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)  # type: ignore[no-untyped-call]
    write_file(path, buffer.getvalue())
