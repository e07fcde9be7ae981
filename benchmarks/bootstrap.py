"""How far differences in mAP are the luck of the images they were measured on: a paired bootstrap over images.

    .venv/bin/python benchmarks/bootstrap.py RECIPE [--set data.root=…] [--draws 200]

RECIPE is one of detectors and one student that `pixeldistill compare` has trained. Every network looks at the images of val and
test once. Then images are drawn with replacement, the same ones for all networks, and each method's mAP (the mean over its
seeds) is measured on every draw. Printed are the median and the central 95 % of the draws: of each method, of its difference
from another, and of the gap that it recovers. Seeds vary beside this: an interval here says nothing about another training.
"""

import argparse
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from pixeldistill.tasks import task_of
from pixeldistill.data.boxes import Annotation
from pixeldistill.data.check import check_images
from pixeldistill.data.loading import default_workers
from pixeldistill.data.splits import load_splits
from pixeldistill.recipe.expand import expand, teacher_of
from pixeldistill.tasks.networks import load_trained
from pixeldistill.recipe.load import load_recipe
from pixeldistill.storage.run_folder import find_run
from pixeldistill.tasks.detection.metrics import average_precision
from pixeldistill.tasks.detection.results import Detections
from pixeldistill.evaluation.evaluate import TestImages, predict
from pixeldistill.training.fabric import Fabric, make_fabric
from pixeldistill.storage.run_folder import DONE
from pixeldistill.storage.run_folder import stage_folder

Values = NDArray[np.float64]


def middle(values: Values) -> str:
    """Give the median and the central 95 %."""
    low, median, high = 100 * np.percentile(values, [2.5, 50, 97.5])
    return f"{median:.1f} ({low:.1f} to {high:.1f})"


def drawn(
    found: Mapping[str, Sequence[Sequence[Detections]]], truth: Sequence[Annotation], classes: int, draws: int
) -> dict[str, Values]:  # fmt: skip
    """Measure every method's mAP, the mean over its seeds, on the same draws of images."""
    rng = np.random.default_rng(0)
    maps: dict[str, list[float]] = {name: [] for name in found}
    for _ in track(range(draws), "drawing"):
        chosen = rng.integers(len(truth), size=len(truth))
        annotations = [truth[i] for i in chosen]
        for name, seeds in found.items():
            scores = [average_precision([seed[i] for i in chosen], annotations, classes)["map"] or 0.0 for seed in seeds]
            maps[name].append(float(np.mean(scores)))
    return {name: np.array(values) for name, values in maps.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--base", default="supervised", help="the method that others are compared with")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)
    recipe = load_recipe(args.recipe, args.settings)
    splits = check_images(load_splits(recipe.data), recipe.data, default_workers())
    stages, fabric, teacher = expand(recipe), make_fabric(accelerator="cpu"), teacher_of(recipe)
    samples = (*splits.val, *splits.test)
    trained = (
        {"teacher": (teacher.input_spec, [find_run(Path(str(teacher.weights)))])} if Path(str(teacher.weights)).exists() else {}
    )
    for number, stage in enumerate(stages, start=1):
        folders = [stage_folder(recipe.run, number, stage.name, seed) for seed in stage.seeds]
        trained[stage.name] = stage.student.input_spec, [folder for folder in folders if (folder / DONE).is_file()]
    known = [name for name, (_, done) in trained.items() if done]
    if "teacher" not in known:
        parser.error(f"the teacher {teacher.weights} is not there: train it first")
    if args.base not in known:
        parser.error(f"--base {args.base} is none of what has been trained: {', '.join(known)}")
    found = {
        name: [
            detections(folder, TestImages(samples, input_spec, task_of(recipe), default_workers(), fabric), fabric)
            for folder in done
        ]
        for name, (input_spec, done) in trained.items()
        if done
    }
    maps = drawn(found, [cast(Annotation, sample.label) for sample in samples], len(splits.classes), args.draws)
    base, gap = maps[args.base], maps["teacher"] - maps[args.base]
    print(f"\n| method | seeds | mAP on {len(samples)} images | points above {args.base} | gap recovered, % |")
    print("|---|---|---|---|---|")
    for name, values in maps.items():
        recovered = "" if name in (args.base, "teacher") else middle((values - base) / gap)
        print(f"| {name} | {len(found[name])} | {middle(values)} | {middle(values - base)} | {recovered} |")


def detections(folder: Path, images: TestImages, fabric: Fabric) -> list[Detections]:
    """Ask a training's last network of all images."""
    return predict(load_trained(folder).to(fabric.device), images, fabric)


if __name__ == "__main__":
    main()
