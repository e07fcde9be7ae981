"""The published one-stage ISRD training, from a checkout of gyguo/PixelDistillation: its own modules, called here.

Nothing of it is copied. Its scripts assert a CUDA device; its datasets, networks, decoder and loss do not. It runs in a process
of its own, which is as Python and PyTorch make it, or tuned as ours is: `speed.py` starts it and tells it when to work.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pixeldistill.process import keep_memory, tune_process

if "--tuned" in sys.argv:
    tune_process()
    keep_memory()

import torch
from timing import timed
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter

LARGE, RATIO = 224, 4.0


def settings(root: Path, classes: int) -> Any:  # noqa: ANN401
    """Give the published configuration, as far as the modules read it."""
    return SimpleNamespace(
        BASIC=SimpleNamespace(ROOT_DIR=str(root)),
        DATA=SimpleNamespace(
            DATADIR="cub", LESSEN_TYPE=2, CROP_SIZE=LARGE, RESIZE_SIZE=256, LESSEN_RATIO=RATIO, NUM_CLASSES=classes,
            IMAGE_MEAN=[0.485, 0.456, 0.406], IMAGE_STD=[0.229, 0.224, 0.225],
        ),
        KD=SimpleNamespace(ALPHA=0.9, TEMP=4),
    )  # fmt: skip


def lay_out_as_cub(root: Path, images: list[tuple[Path, int]]) -> None:
    """Write the lists that its loader reads, with links to the images."""
    folder = root / "cub"
    (folder / "images").mkdir(parents=True)
    lists: dict[str, list[str]] = {"images": [], "image_class_labels": [], "train_test_split": [], "bounding_boxes": []}
    for number, (path, label) in enumerate(images, start=1):
        (folder / "images" / f"{number}.jpg").symlink_to(path.resolve())
        for name, value in zip(lists, (f"{number}.jpg", label + 1, 1, "0 0 1 1"), strict=True):
            lists[name].append(f"{number} {value}\n")
    for name, lines in lists.items():
        (folder / f"{name}.txt").write_text("".join(lines))


class Published:
    """Its data set, and its training step on batches of it."""

    def __init__(self, checkout: Path, root: Path, classes: int, batch: int, workers: int, device: torch.device) -> None:
        sys.path.insert(0, str(checkout))
        from lib.datasets.cub_2scale import CUBDataset
        from lib.losses.kd_loss import KDLoss
        from lib.models.hrir import SR1x1
        from lib.models.model_builder import ISRKDModelBuilder
        from lib.models.resnet import resnet18, resnet50

        config = settings(root, classes)
        self.dataset: Dataset[Any] = CUBDataset(cfg=config, is_train=True)
        self.batch, self.workers, self.device = batch, workers, device
        student, teacher = resnet18(num_classes=classes, pretrained=False), resnet50(num_classes=classes, pretrained=False)
        small = int(LARGE / RATIO)
        feature = student(torch.ones(1, 3, small, small), return_feat=True)[1][0]
        self.model = ISRKDModelBuilder(student, teacher, SR1x1(config, list(feature.shape)), 0).to(device)
        self.kd, self.l1 = KDLoss(config), nn.L1Loss()
        learned = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(learned, lr=0.01, momentum=0.9, weight_decay=5e-4)
        self.logger = SummaryWriter(str(root / "log"))
        self.steps = 0

    def loader(self) -> Iterator[Any]:
        """Begin an epoch as it does: shuffled, normalised float images of both sizes from its workers."""
        return iter(
            DataLoader(
                self.dataset, batch_size=self.batch, shuffle=True, num_workers=self.workers,
                pin_memory=self.device.type == "cuda", drop_last=True,
            )
        )  # fmt: skip

    def step(self, batch: Any) -> None:  # noqa: ANN401
        """Do what its loop does with a batch, its log of every step included."""
        self.model.train()
        self.model.model_t.eval()
        large, small, target, _ = batch
        large, small, target = large.to(self.device), small.to(self.device), target.to(self.device)
        logits, rebuilt, teacher = self.model(large, small, preReLU=True)
        loss = self.kd(logits, teacher, target) + 50.0 * self.l1(rebuilt, large)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        right = (logits.argmax(dim=1) == target).float().mean().item()
        self.steps += 1
        self.logger.add_scalar("loss_iter/train", loss.item(), self.steps)
        self.logger.add_scalar("eval_iter/train_eval", right, self.steps)


class Server:
    """The published code in a process of its own."""

    def __init__(self, checkout: Path, root: Path, classes: int, batch: int, workers: int, device: str, *, tuned: bool) -> None:
        command = [sys.executable, __file__, str(checkout), str(root), str(classes), str(batch), str(workers), device]
        natural = {key: value for key, value in os.environ.items() if key not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
        self.process = subprocess.Popen(
            [*command, "--tuned"] if tuned else command, env=natural, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def ask(self, what: str, seconds: float) -> float:
        """Let it train ("train") or load on one thread ("load") for so many seconds; gives images a second."""
        assert self.process.stdin and self.process.stdout
        print(what, seconds, file=self.process.stdin, flush=True)
        for line in self.process.stdout:  # its modules print, too
            if line.startswith("rate "):
                return float(line.split()[1])
        raise RuntimeError("the published code has stopped: see its error with benchmarks/published.py")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def turn(theirs: Published, seconds: float, *, training: bool) -> float:
    """Work through its batches for so many seconds; gives images a second."""
    batches = chain.from_iterable(theirs.loader() for _ in count())  # epoch after epoch

    def step() -> None:
        batch = next(batches)
        if training:
            theirs.step(batch)

    return timed(step, seconds, theirs.batch)


def serve(theirs: Published) -> None:
    """Work as standard input says, and print the rates."""
    threads, workers = torch.get_num_threads(), theirs.workers
    for line in sys.stdin:
        what, seconds = line.split()
        loading = what == "load"
        torch.set_num_threads(1 if loading else threads)
        theirs.workers = 0 if loading else workers
        print("rate", turn(theirs, float(seconds), training=not loading), flush=True)


if __name__ == "__main__":
    checkout, root, classes, batch, workers, device = sys.argv[1:7]
    serve(Published(Path(checkout), Path(root), int(classes), int(batch), int(workers), torch.device(device)))
