"""From JPEG bytes to the answer: an exported student on its small images against its exported teacher on large ones.

    .venv/bin/python benchmarks/latency.py TEACHER.onnx STUDENT.onnx PATH/TO/IMAGES

Each file's camera takes the images beforehand and sends them as JPEG 85; timed are decoding and the exported file, in turns, so
that both see the same machine. Printed are the median and the 95th percentile of each, and the median of the paired ratios.
"""

import argparse
import io
import time
from pathlib import Path

import numpy as np
from PIL import Image

from pixeldistill.cost.latency import cores, machine
from pixeldistill.data.camera import encode
from pixeldistill.data.images import find_images, read_image
from pixeldistill.exported import ExportedModel
from pixeldistill.inputs import Imaging
from pixeldistill.report.gallery import view

SENT = Imaging(codec="jpeg", quality=85)


def sent(model: ExportedModel, paths: list[Path]) -> list[bytes]:
    """Take images as the model's camera does, and encode them."""
    imaging = Imaging(**model.card["imaging"]).optics
    return [encode(np.asarray(view(Image.fromarray(read_image(p)), model.card["side"], imaging, 0)), SENT) for p in paths]


def answer(model: ExportedModel, content: bytes) -> float:
    """Decode and ask; gives the seconds that took."""
    start = time.perf_counter()
    with Image.open(io.BytesIO(content)) as image:
        pixels = np.asarray(image.convert("RGB"))
    model.run(pixels[None])
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("student", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--threads", type=int, default=cores())
    args = parser.parse_args()
    paths = find_images(args.images)
    paths = paths[:: max(1, len(paths) // args.count)][: args.count]
    models = [ExportedModel(path, args.threads) for path in (args.teacher, args.student)]
    images = [sent(model, paths) for model in models]
    for model, contents in zip(models, images, strict=True):
        for content in contents[:10]:
            answer(model, content)
    turns = zip(*images, strict=True)
    times = np.array([[answer(model, content) for model, content in zip(models, turn, strict=True)] for turn in turns])
    print(f"{machine()}, {args.threads} threads, {len(paths)} images")
    print("| file | network | side | JPEG bytes | median ms | p95 ms |\n|---|---|---|---|---|---|")
    for model, contents, own in zip(models, images, times.T, strict=True):
        size = sum(map(len, contents)) / len(contents)
        median, late = 1e3 * np.median(own), 1e3 * np.quantile(own, 0.95)
        print(f"| {model.title} | {model.card['network']} | {model.card['side']} | {size:,.0f} | {median:.2f} | {late:.2f} |")
    print(f"teacher / student, median of the pairs: {np.median(times[:, 0] / times[:, 1]):.1f}")


if __name__ == "__main__":
    main()
