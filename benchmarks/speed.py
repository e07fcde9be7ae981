"""How fast distilling is: against the published code, against the student alone, against the arithmetic that nobody can avoid.

    .venv/bin/python benchmarks/speed.py PATH/TO/grocery_store --published PATH/TO/PixelDistillation

ResNet-50 at 224 teaches ResNet-18 at 56, PKD + ISRD, end to end from JPEG files. All contestants take turns, round after round,
so that a machine that is slower for a minute is so for all of them; figures are ratios within a round, median and range over the
rounds. Weights are random: they cost the same.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from pixeldistill.tasks import TASKS
from pixeldistill.process import tune_process

tune_process()

import torch
from published import Server, lay_out_as_cub
from rich.console import Console
from timing import Turn, play, ratio, spread, timed

from pixeldistill.data.check import check_images
from pixeldistill.data.dataset import RawBatch, TrainingViews
from pixeldistill.storage.files import write_file
from pixeldistill.functional.reconstruction import normalise
from pixeldistill.data.images import read_image
from pixeldistill.data.loading import default_workers
from pixeldistill.data.splits import Sample, Splits, load_splits
from pixeldistill.data.image_cache import ImageCache, open_image_cache
from pixeldistill.networks.classifier import build_classifier
from pixeldistill.networks.folding import fold_norms
from pixeldistill.networks.weights.load import state_bytes
from pixeldistill.recipe.losses import ISRDTerm, PKDTerm, SupervisedTerm
from pixeldistill.recipe.data import Data, Augmentation
from pixeldistill.recipe.network import Network
from pixeldistill.recipe.stage import Stage
from pixeldistill.recipe.schedule import Schedule
from pixeldistill.training.teacher_cache import open_teacher_cache
from pixeldistill.training.engine import Loop
from pixeldistill.training.fabric import Fabric, make_fabric
from pixeldistill.training.objective import Objective
from pixeldistill.training.progress import Progress
from pixeldistill.training.stream import Stream, image_at, large_views
from pixeldistill.training.teacher import LiveTeacher, Teacher
from pixeldistill.training.trainer import TrainingSpec, Trainer
from pixeldistill.types import Batch

TERMS: dict[str, Any] = {
    "supervised": (SupervisedTerm(kind="supervised"),),
    "pkd": (PKDTerm(kind="pkd"),),
    "isrd": (PKDTerm(kind="pkd"), ISRDTerm(kind="isrd", weight=50)),
}
STUDENTS = [
    (name, image_size) for image_size in (56, 40) for name in ("resnet18", "tf_efficientnet_lite0", "mobilenetv2_100", "resnet26")
]
LARGE, SMALL, KERNEL, VIEWS = 224, 56, "bilinear", 4


class Bench:
    """What the contestants share."""

    def __init__(self, args: argparse.Namespace, folder: Path, stack: ExitStack) -> None:
        self.args, self.folder, self.stack = args, folder, stack
        self.fabric: Fabric = make_fabric(args.precision, args.accelerator)
        data = Data(format="list", root=args.data, train="train.txt", val="val.txt", test="test.txt", limit=args.images)
        self.splits: Splits = check_images(load_splits(data), data, default_workers())
        self.classes = len(self.splits.classes)
        self.schedule = Schedule(
            epochs=1000, lr=0.01, optimizer="sgd", clip_grad=None, batch_size=args.batch, precision=args.precision
        )
        self.image_cache: ImageCache = open_image_cache(
            folder / "image_cache", self.splits.train, self.splits.identity("train"), shorter_side=256, kernel=KERNEL,
            workers=default_workers(), note=print,
        )  # fmt: skip
        network = build_classifier("resnet50", self.classes, LARGE)
        self.teacher_network = Network(network="resnet50", image_size=LARGE).of_task("classification")
        self.live = LiveTeacher(network, self.fabric, [], channels_last=True)
        self.cached_views = self.views(self.image_cache)
        began = time.perf_counter()
        alike = LiveTeacher(network, make_fabric("32", args.accelerator), [], channels_last=True)
        self.teacher_cache: Teacher = open_teacher_cache(
            VIEWS, self.schedule.epochs, folder / "teacher_cache", {}, alike, len(self.splits.train),
            self._teacher_views, self.fabric, print,
        )  # fmt: skip
        print(f"teacher cache filled in {time.perf_counter() - began:.0f} s")

    def views(self, image_cache: ImageCache | None) -> TrainingViews:
        finished = image_cache is None or self.fabric.device.type != "cuda"
        return TrainingViews(
            self.splits.train,
            Augmentation(),
            LARGE,
            KERNEL,
            TASK.collate,
            distinct=VIEWS,
            image_cache=image_cache,
            finished=finished,
        )

    def _teacher_views(self, batches: Iterable[list[tuple[int, int]]]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for batch in large_views(self.cached_views, batches, default_workers(), self.fabric):
            yield image_at(batch.images, LARGE, KERNEL, channels_last=True), batch.keys

    def trainer(self, terms: str, teacher: Teacher | None, network: str, image_size: int) -> tuple[Stage, Trainer]:
        name = f"{terms}-{network}-{image_size}-{len(list(self.folder.iterdir()))}"
        stage = Stage(
            name=name, student=Network(network=network, image_size=image_size).of_task("classification"),
            teacher=self.teacher_network if teacher else None,
            terms=TERMS[terms], schedule=self.schedule, augmentation=Augmentation(), crop_size=LARGE, distinct_views=VIEWS,
        )  # fmt: skip
        student = build_classifier(network, self.classes, image_size)
        objective = Objective(student, self.live.spec if teacher else None, stage.terms, self.schedule.epochs)
        (self.folder / name).mkdir()
        spec = TrainingSpec(name, objective, student, lambda _: {"top1": 0.0}, "top1", lambda _: b"", 0, self.folder / name)
        steps = len(self.splits.train) // self.args.batch
        progress = Progress(Console(quiet=True), name)
        return stage, Trainer(self.fabric, spec, self.schedule, steps, self.schedule.epochs, progress, self.stack)

    def training(
        self,
        terms: str,
        dataset: TrainingViews,
        teacher: Teacher | None,
        students: Sequence[tuple[str, int]] = (("resnet18", SMALL),),
    ) -> Turn:
        """Train students from files or the image cache, as `pixeldistill distill` does."""
        made = [self.trainer(terms, teacher, *student) for student in students]
        stream = Stream(
            [s for s, _ in made], [()] * len(made), dataset, [teacher] if teacher else [], TASK, self.classes, 0,
            self.args.workers, self.fabric,
        )  # fmt: skip
        trainers = [trainer for _, trainer in made]
        loop = Loop(self.fabric, trainers, stream, self.schedule, trainers[0].steps)

        def turn(seconds: float) -> float:
            for trainer in trainers:
                trainer.state.step = 0
            loop.go_to(0)
            rate = self.timed(loop.step, seconds)
            loop.end()
            return rate

        loop.end()
        return turn

    def floor(self, terms: str, network: str = "resnet18", image_size: int = SMALL) -> Turn:
        """Do the student's forward and backward pass with its terms, on one batch in memory, and nothing else."""
        teachers = [self.teacher_cache] if terms != "supervised" else []
        stage, trainer = self.trainer(terms, self.teacher_cache if teachers else None, network, image_size)
        stream = Stream([stage], [()], self.cached_views, teachers, TASK, self.classes, 0, 0, self.fabric)
        batch: Batch = next(stream(0, 0))[0]
        module = trainer.module

        def step() -> None:
            module.train()
            loss = module(batch)["loss"]
            self.fabric.backward(loss)
            trainer.optimizer.zero_grad(set_to_none=True)

        return lambda seconds: self.timed(step, seconds)

    def loading(self, prepare: Callable[[], Iterator[Any]]) -> Turn:
        """Iterate over data in this process, on one thread."""

        def turn(seconds: float) -> float:
            threads = torch.get_num_threads()
            torch.set_num_threads(1)
            batches = prepare()
            rate = self.timed(lambda: next(batches), seconds)
            torch.set_num_threads(threads)
            return rate

        return turn

    def timed(self, step: Callable[[], Any], seconds: float) -> float:
        return timed(step, seconds, self.args.batch)


def batches_of(bench: Bench) -> Iterator[list[int]]:
    """Number the images of one batch after the other, epoch after epoch."""
    size, total = bench.args.batch, len(bench.splits.train)
    return ([*range(start, start + size)] for _ in count() for start in range(0, total - size + 1, size))


def ours_on_one_core(bench: Bench, dataset: TrainingViews) -> Callable[[], Iterator[Any]]:
    """Make both views, normalised as the networks will do it, so that the same is made as by the published loader."""

    def batches() -> Iterator[Any]:
        for indices in batches_of(bench):
            raw = dataset[[(0, i) for i in indices]]
            assert isinstance(raw, RawBatch)
            yield [normalise(image_at(raw.images, image_size, KERNEL, channels_last=True)) for image_size in (LARGE, SMALL)]

    return batches


def label_of(sample: Sample) -> int:
    return sample.label.classes()[0]


def decoding(bench: Bench) -> Callable[[], Iterator[Any]]:
    def batches() -> Iterator[Any]:
        for indices in batches_of(bench):
            yield [read_image(bench.splits.train[i].path) for i in indices]

    return batches


def contestants(bench: Bench) -> dict[str, Turn]:
    args = bench.args
    files = bench.views(None)
    turns: dict[str, Turn] = {
        "supervised, image cache": bench.training("supervised", bench.cached_views, None),
        "PKD, both caches": bench.training("pkd", bench.cached_views, bench.teacher_cache),
        "PKD + ISRD, both caches": bench.training("isrd", bench.cached_views, bench.teacher_cache),
        "PKD + ISRD, live, from files": bench.training("isrd", files, bench.live),
        "floor: supervised": bench.floor("supervised"),
        "floor: PKD": bench.floor("pkd"),
        "floor: PKD + ISRD": bench.floor("isrd"),
        "one core: decoding alone": bench.loading(decoding(bench)),
        "one core: views from files": bench.loading(ours_on_one_core(bench, files)),
        "one core: views from the image cache": bench.loading(ours_on_one_core(bench, bench.cached_views)),
    }
    if args.published:
        lay_out_as_cub(bench.folder / "published", [(s.path, label_of(s)) for s in bench.splits.train])
        for name, tuned in {"published": False, "published, process tuned as ours": True}.items():
            server = Server(
                args.published, bench.folder / "published", bench.classes, args.batch, args.workers,
                str(bench.fabric.device), tuned=tuned,
            )  # fmt: skip
            bench.stack.callback(server.stop)
            turns[name] = partial(server.ask, "train")
            if not tuned:
                turns["one core: published views"] = partial(server.ask, "load")
    return turns


def report(rates: dict[str, list[float]]) -> None:
    print("\n| | images/s, median (range) |\n|---|---|")
    for name, values in rates.items():
        print(f"| {name} | {spread(values, 1)} |")
    isrd, pkd, supervised, live = (
        "PKD + ISRD, both caches",
        "PKD, both caches",
        "supervised, image cache",
        "PKD + ISRD, live, from files",
    )
    pairs = [
        (isrd, "floor: PKD + ISRD", "rate, of its floor"),
        (pkd, "floor: PKD", "rate, of its floor"),
        (isrd, "published", "rate, of the published"),
        (live, "published", "rate, of the published"),
        (isrd, "published, process tuned as ours", "rate, of the published"),
        (live, "published, process tuned as ours", "rate, of the published"),
        (supervised, pkd, "PKD's time, of the supervised student's"),
        (supervised, isrd, "PKD + ISRD's time, of the supervised student's"),
        ("one core: views from the image cache", "one core: published views", "rate, of the published loader"),
        ("one core: views from files", "one core: published views", "rate, of the published loader"),
    ]
    print("\n| ratio within a round | of | median (range) |\n|---|---|---|")
    for one, other, what in pairs:
        if one in rates and other in rates:
            first = one if what.startswith("rate") else other
            print(f"| {first}: {what} | {other if first == one else one} | {ratio(rates, one, other)} |")


def many_students(bench: Bench) -> None:
    """Show how a pass's time grows with its students, against the sum of their floors and one decoding."""
    floors = {student: bench.floor("isrd", *student) for student in STUDENTS}
    turns: dict[str, Turn] = {f"floor {name} at {image_size}": floors[name, image_size] for name, image_size in STUDENTS}
    turns |= {f"pass of {n}": bench.training("isrd", bench.cached_views, bench.teacher_cache, STUDENTS[:n]) for n in (1, 2, 4, 8)}
    turns["one decoding"] = bench.loading(decoding(bench))
    rates = play(turns, bench.args.rounds, bench.args.seconds)
    print("\n| students in a pass | ms an image, median (range) | of the sum of their floors and one decoding |\n|---|---|---|")
    for n in (1, 2, 4, 8):
        spent = [1000 / rate for rate in rates[f"pass of {n}"]]
        parts = [rates[f"floor {name} at {image_size}"] for name, image_size in STUDENTS[:n]]
        least = [1000 * (sum(1 / p[i] for p in parts) + 1 / rates["one decoding"][i]) for i in range(len(spent))]
        print(f"| {n} | {spread(spent, 1)} | {spread([a / b for a, b in zip(spent, least, strict=True)])} |")


def memory(bench: Bench) -> None:
    """Watch a whole program, its loaders included, over five epochs of `pixeldistill distill`; its process is not tuned.

    A tuned one keeps freed memory, and so would hide what is lost.
    """
    recipe = bench.folder / "memory.yaml"
    schedule = {"epochs": 5, "lr": 0.01, "batch_size": bench.args.batch}
    large: dict[str, Any] = {"network": "resnet50", "image_size": LARGE, "weights": str(bench.folder / "teacher.safetensors")}
    write_file(Path(large["weights"]), state_bytes(build_classifier("resnet50", bench.classes, LARGE).net))
    content = {
        "data": {"format": "list", "root": str(bench.args.data.resolve()), "train": "train.txt", "val": "val.txt",
                 "test": "test.txt", "limit": bench.args.images, "image_cache": 256},
        "teacher": large, "student": {"network": "resnet18", "image_size": SMALL, "weights": "none"}, "schedule": schedule,
        "teacher_cache": {"views": 1}, "seeds": [0], "run": str(bench.folder / "memory"),
    }  # fmt: skip
    recipe.write_text(json.dumps(content))
    command = [sys.executable, "-W", "ignore", "-c", "from pixeldistill.cli.app import app; app()", "distill", str(recipe)]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert program.stdout
    used = [_resident(program.pid) for line in program.stdout if ": epoch " in line]
    if program.wait():
        raise SystemExit("the program that was watched failed")
    print(f"\nmemory after each of 5 epochs: {', '.join(f'{m:.0f}' for m in used)} MB")


TASK = TASKS["classification"]


def _resident(pid: int) -> float:
    """Measure a process and its children, in MB; what they share counts once in each."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1e6
    return own + sum(_resident(int(child)) for child in children)


def layouts(bench: Bench) -> None:
    """Compare the memory layouts, and the folded teacher with the plain one: what the defaults were chosen by."""
    turns: dict[str, Turn] = {}

    def learn(network: str, image_size: int, layout: torch.memory_format) -> Turn:
        module = build_classifier(network, bench.classes, image_size).to(bench.fabric.device).to(memory_format=layout)
        image = torch.rand(bench.args.batch, 3, image_size, image_size, device=bench.fabric.device).contiguous(
            memory_format=layout
        )

        def step() -> None:
            module.zero_grad(set_to_none=True)
            with bench.fabric.autocast():
                loss = module(image).prediction.square().mean()
            loss.backward()

        return lambda seconds: bench.timed(step, seconds)

    def ask(network: str, folded: bool, layout: torch.memory_format) -> Turn:
        module = build_classifier(network, bench.classes, LARGE).eval().requires_grad_(False)
        module = (fold_norms(module)[0] if folded else module).to(bench.fabric.device).to(memory_format=layout)
        image = torch.rand(bench.args.batch, 3, LARGE, LARGE, device=bench.fabric.device).contiguous(memory_format=layout)

        def step() -> None:
            with bench.fabric.autocast(), torch.no_grad():
                module(image)

        return lambda seconds: bench.timed(step, seconds)

    plain, last = torch.contiguous_format, torch.channels_last
    students = ["resnet18", "tf_efficientnet_lite0", "mobilenetv2_100", "convnext_atto", "vit_tiny_patch16_224"]
    teachers = ["resnet50", "tf_efficientnet_lite2", "vit_tiny_patch16_224"]
    for name in students:
        turns |= {f"{name} plain": learn(name, SMALL, plain), f"{name} channels last": learn(name, SMALL, last)}
    for name in teachers:
        turns |= {f"{name} asked, plain": ask(name, False, plain), f"{name} asked, channels last": ask(name, False, last)}
        turns[f"{name} asked, folded, channels last"] = ask(name, True, last)
    rates = play(turns, bench.args.rounds, bench.args.seconds / 2)
    print("\n| network | images/s, plain | channels last, of plain | folded and channels last, of plain |\n|---|---|---|---|")
    for name in students:
        print(f"| {name} at {SMALL}, trained | {spread(rates[f'{name} plain'], 1)} | "
              f"{ratio(rates, f'{name} channels last', f'{name} plain')} | |")  # fmt: skip
    for name in teachers:
        base = f"{name} asked, plain"
        print(f"| {name} at {LARGE}, asked | {spread(rates[base], 1)} | {ratio(rates, f'{name} asked, channels last', base)} | "
              f"{ratio(rates, f'{name} asked, folded, channels last', base)} |")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of grocery_store")
    parser.add_argument("--published", type=Path, help="checkout of gyguo/PixelDistillation")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--workers", type=int, default=default_workers())
    parser.add_argument("--precision", default="32")
    parser.add_argument("--accelerator", default="auto")
    parser.add_argument("--only", choices=["main", "students", "memory", "layouts"])
    args = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        bench = Bench(args, Path(folder), stack)
        print(f"{bench.fabric.device}, {torch.get_num_threads()} threads, torch {torch.__version__}, batch {args.batch}")
        if args.only in (None, "main"):
            report(play(contestants(bench), args.rounds, args.seconds))
        if args.only in (None, "memory"):
            memory(bench)
        if args.only in (None, "students"):
            many_students(bench)
        if args.only in (None, "layouts"):
            layouts(bench)


if __name__ == "__main__":
    main()
