"""From JPEG bytes to the answer: an exported student on its small images against its exported teacher on large ones.

    .venv/bin/python benchmarks/latency.py TEACHER.onnx STUDENT.onnx PATH/TO/IMAGES

Each file's camera takes the images beforehand and sends them (as JPEG 85, where it sends them raw); timed are decoding and the
exported file, in turns, so that both see the same machine. Printed are the median and the 95th percentile of each, and the
median of the paired ratios.
"""

import argparse
import io
import time
from pathlib import Path

import numpy as np
from PIL import Image

from pixeldistill.machine import cores, machine
from pixeldistill.data.camera import captured, encode
from pixeldistill.data.folders import find_images
from pixeldistill.data.images import read_image
from pixeldistill.inference.onnx import ExportedModel
from pixeldistill.recipe.camera import Camera
from pixeldistill.data.views import to_image
from pixeldistill.statistics import spread


def camera_of(model: ExportedModel) -> Camera:
    """Give the camera of a model; one that sends images raw is taken to send them as JPEG."""
    camera = Camera(**model.card["camera"])
    return camera if camera.codec != "raw" else camera.model_copy(update={"codec": "jpeg", "quality": 85})


def sent(model: ExportedModel, paths: list[Path]) -> list[bytes]:
    """Take images as the model's camera does, and encode them."""
    camera, image_size = camera_of(model), model.card["image_size"]
    views = (to_image(model.task.view(read_image(path), image_size, camera.optics)) for path in paths)
    return [encode(captured(shown, camera, (number,)), camera) for number, shown in enumerate(views)]


def prediction(model: ExportedModel, content: bytes) -> float:
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
    paths = spread(find_images(args.images).images, args.count)
    models = [ExportedModel(path, args.threads) for path in (args.teacher, args.student)]
    if any(model.task.name != "classification" for model in models):
        parser.error("classifiers are timed: a detector's images are whole, and these are cropped")
    images = [sent(model, paths) for model in models]
    for model, contents in zip(models, images, strict=True):
        for content in contents[:10]:
            prediction(model, content)
    turns = zip(*images, strict=True)
    times = np.array([[prediction(model, content) for model, content in zip(models, turn, strict=True)] for turn in turns])
    print(f"{machine()}, {args.threads} threads, {len(paths)} images")
    print("| file | network | image size | camera | bytes | median ms | p95 ms |\n|---|---|---|---|---|---|---|")
    for model, contents, own in zip(models, images, times.T, strict=True):
        size = sum(map(len, contents)) / len(contents)
        median, late = 1e3 * np.median(own), 1e3 * np.quantile(own, 0.95)
        cells = (model.title, model.card["network"], model.card["image_size"], camera_of(model).words, f"{size:,.0f}")
        print(f"| {' | '.join(map(str, cells))} | {median:.2f} | {late:.2f} |")
    print(f"teacher / student, median of the pairs: {np.median(times[:, 0] / times[:, 1]):.1f}")


if __name__ == "__main__":
    main()
