"""What decoding at a reduced scale is worth on photographs as cameras deliver them: views from files, one thread, in turns.

    .venv/bin/python benchmarks/decoding.py PATH/TO/grocery_store

The data's photographs are enlarged (Lanczos) to a shorter side of 2048 and 4096 pixels and saved as JPEG 90: less detail than a
camera's own, so their files are smaller and decode somewhat faster.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path

import torch
from PIL import Image
from timing import timed

from pixeldistill.tasks import TASKS
from pixeldistill.data.dataset import TrainingViews
from pixeldistill.data.splits import Sample, load_splits
from pixeldistill.recipe.data import Data, Augmentation

BATCH, ROUNDS, SECONDS = 8, 5, 4.0


def enlarged(samples: list[Sample], image_size: int, folder: Path) -> list[Sample]:
    """Write the samples' images at a shorter side."""
    folder.mkdir()
    found = []
    for number, sample in enumerate(samples):
        with Image.open(sample.path) as image:
            scale = image_size / min(image.size)
            size = (round(image.width * scale), round(image.height * scale))
            path = folder / f"{number}.jpg"
            image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(path, quality=90)
        found.append(Sample(path, sample.label))
    return found


def batches(views: TrainingViews) -> Iterator[object]:
    """Make one batch of views after the other."""
    for first in count(0, BATCH):
        yield views[[(0, (first + i) % len(views.samples)) for i in range(BATCH)]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=64)
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = Data(format="list", root=args.data, train="train.txt", val="val.txt", test="test.txt", limit=args.images)
    samples = list(load_splits(data).train)
    print("| shorter side | MB a file | whole, images/s | reduced, of whole: median (range) |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for image_size in (2048, 4096):
            large = enlarged(samples, image_size, Path(folder) / str(image_size))
            size = statistics.mean(sample.path.stat().st_size for sample in large) / 1e6
            collate = TASKS["classification"].collate
            ways = {
                reduced: TrainingViews(large, Augmentation(), 224, "bilinear", collate, reduced=reduced)
                for reduced in (False, True)
            }
            rates: dict[bool, list[float]] = {False: [], True: []}
            for number in range(ROUNDS):
                for reduced in (False, True) if number % 2 else (True, False):
                    step = partial(next, batches(ways[reduced]))
                    rates[reduced].append(timed(step, SECONDS, BATCH))
            ratios = [one / other for one, other in zip(rates[True], rates[False], strict=True)]
            print(
                f"| {image_size} | {size:.1f} | {statistics.median(rates[False]):.1f} | "
                f"{statistics.median(ratios):.1f} ({min(ratios):.1f}–{max(ratios):.1f}) |", flush=True,
            )  # fmt: skip


if __name__ == "__main__":
    main()
