"""Where the time of a detector's training step goes: the networks' own arithmetic, and all that is done around it.

    .venv/bin/python benchmarks/detection_speed.py PATH/TO/aquarium

EfficientNet-Lite2 at 512 teaches EfficientNet-Lite0 at 256 live, from the image cache, eight images a step, as in
`aquarium_compare.yaml`. Contestants take turns, round after round: the bare networks (forward and backward pass on one batch in
memory, towards a loss that costs nothing), and whole steps of several methods. Weights are random: they cost the same.
"""

import argparse
import tempfile
import warnings
from contextlib import ExitStack
from pathlib import Path

from pixeldistill.process import tune_process

tune_process()

import torch
from rich.console import Console
from timing import Turn, play, ratio, spread, timed

from pixeldistill.data.check import check_images
from pixeldistill.data.dataset import TrainingViews
from pixeldistill.data.loading import default_workers
from pixeldistill.data.splits import Splits, load_splits
from pixeldistill.data.image_cache import open_image_cache
from pixeldistill.recipe.detector import DetectorSettings
from pixeldistill.recipe.data import Data, Augmentation
from pixeldistill.recipe.losses import FKDTerm, SupervisedTerm, Term
from pixeldistill.recipe.tasks.detection import SCALE, DetectionRules
from pixeldistill.tasks import TASKS
from pixeldistill.tasks.detection.detector import Detector, build_detector
from pixeldistill.recipe.network import Network
from pixeldistill.recipe.stage import Stage
from pixeldistill.recipe.schedule import Schedule
from pixeldistill.training.engine import Loop
from pixeldistill.training.fabric import make_fabric
from pixeldistill.training.objective import Objective
from pixeldistill.training.progress import Progress
from pixeldistill.training.stream import Stream
from pixeldistill.training.teacher import LiveTeacher
from pixeldistill.training.trainer import TrainingSpec, Trainer

LARGE, SMALL, IMAGE_CACHE, BATCH = 512, 256, 576, 8
SETTINGS = DetectorSettings(levels=(3, 7), channels=64, depth=2, scales=2)
TEACHER = Network(network="tf_efficientnet_lite2", image_size=LARGE, detector=SETTINGS).of_task("detection")
STUDENT = Network(network="tf_efficientnet_lite0", image_size=SMALL, detector=SETTINGS).of_task("detection")
TS = DetectionRules.published_terms["ts"]
METHODS: dict[str, tuple[Term, ...]] = {
    "supervised": (SupervisedTerm(kind="supervised"),),
    "pkd": DetectionRules.plain_terms,
    "ts": TS,
    "ts and fkd": (*TS, FKDTerm(kind="fkd")),
}
STUDENT_BARE, BOTH_BARE = "bare student", "bare student and teacher"


def build(network: Network, classes: int) -> Detector:
    return build_detector(network.network, classes, network.image_size, SETTINGS)


def bare(classes: int, *, taught: bool) -> Turn:
    """Run the student forward and back, and the teacher forward, on one batch in memory."""
    fabric, layout = make_fabric(), torch.channels_last
    student = build(STUDENT, classes).train().to(fabric.device).to(memory_format=layout)
    teacher = LiveTeacher(build(TEACHER, classes), fabric, (), channels_last=True)
    images = [torch.rand(BATCH, 3, n, n, device=fabric.device).contiguous(memory_format=layout) for n in (SMALL, LARGE)]

    def step() -> None:
        if taught:
            teacher(images[1], torch.empty(0))
        maps = student(images[0]).boxes
        torch.autograd.backward(torch.stack([part.mean() for parts in maps for part in parts]).sum())
        student.zero_grad(set_to_none=True)

    return lambda seconds: timed(step, seconds, BATCH)


def training(method: str, splits: Splits, views: TrainingViews, folder: Path, stack: ExitStack) -> Turn:
    """Train a student, as `pixeldistill distill` does."""
    fabric, classes, terms = make_fabric(), len(splits.classes), METHODS[method]
    schedule = Schedule(epochs=1000, lr=0.001, optimizer="adamw", batch_size=BATCH, clip_grad=10)
    network = None if method == "supervised" else build(TEACHER, classes)
    taught = None if network is None else TEACHER
    stage = Stage(
        name=method, student=STUDENT, teacher=taught, terms=terms, schedule=schedule, augmentation=views.augmentation,
        crop_size=LARGE,
    )  # fmt: skip
    objective = Objective(build(STUDENT, classes), network.spec if network else None, terms, schedule.epochs)
    teacher = LiveTeacher(network, fabric, objective.wanted, channels_last=True) if network else None
    spec = TrainingSpec(method, objective, objective.student, lambda _: {"map": 0.0}, "map", lambda _: b"", 0, folder)
    steps = len(splits.train) // BATCH
    trainer = Trainer(fabric, spec, schedule, steps, schedule.epochs, Progress(Console(quiet=True), method), stack)
    teachers, task = [teacher] if teacher else [], TASKS["detection"]
    stream = Stream([stage], [objective.wanted], views, teachers, task, classes, 0, default_workers(), fabric)
    loop = Loop(fabric, [trainer], stream, schedule, steps)
    loop.end()

    def turn(seconds: float) -> float:
        trainer.state.step = 0
        loop.go_to(0)
        rate = timed(loop.step, seconds, BATCH)
        loop.end()
        return rate

    return turn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of aquarium")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8)
    args = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)
    with tempfile.TemporaryDirectory() as path, ExitStack() as stack:
        folder = Path(path)
        data = Data(format="coco", root=args.data, train="train.json", val="valid.json", test="test.json")
        splits = check_images(load_splits(data), data, default_workers())
        image_cache = open_image_cache(
            folder / "image_cache", splits.train, splits.identity("train"), shorter_side=IMAGE_CACHE, kernel="bilinear",
            workers=default_workers(), note=print,
        )  # fmt: skip
        views = TrainingViews(
            splits.train, Augmentation(scale=SCALE), LARGE, "bilinear", TASKS["detection"].collate, image_cache=image_cache
        )
        classes = len(splits.classes)
        turns = {STUDENT_BARE: bare(classes, taught=False), BOTH_BARE: bare(classes, taught=True)}
        turns |= {method: training(method, splits, views, folder, stack) for method in METHODS}
        rates = play(turns, args.rounds, args.seconds)
    print("\n| | images/s, median (range) | time, of the bare networks that it needs |\n|---|---|---|")
    for name, values in rates.items():
        base = STUDENT_BARE if name == "supervised" else BOTH_BARE
        print(f"| {name} | {spread(values, 1)} | {'' if name in (STUDENT_BARE, BOTH_BARE) else ratio(rates, base, name)} |")


if __name__ == "__main__":
    main()
