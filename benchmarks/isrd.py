"""What is left for ISRD to teach: how well the large image can be rebuilt from the input modules of trained students.

    .venv/bin/python benchmarks/isrd.py PATH/TO/grocery_store RUN [RUN ...]

Each RUN is the folder of a finished training of one architecture at a small side. Its input module is frozen, a fresh ISRD
decoder is fitted to it, and L1 is measured on test images that neither has seen. Beside them: the same input module with fresh
weights, the pixels that it looks at themselves (nothing is lost), and the small image enlarged without any learning.
"""

import argparse
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pixeldistill.tasks import TASKS
from pixeldistill.process import tune_process

tune_process()

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixeldistill.data.dataset import CameraImages, RawBatch, TrainingViews
from pixeldistill.data.loading import default_workers, load
from pixeldistill.data.sampler import micro_batches
from pixeldistill.data.splits import load_splits
from pixeldistill.data.views import to_unit
from pixeldistill.functional.reconstruction import normalise, reconstruction_l1
from pixeldistill.networks.input_tap import input_module
from pixeldistill.networks.classifier import Classifier, build_classifier
from pixeldistill.recipe.card import read_card
from pixeldistill.recipe.camera import InputSpec, Camera
from pixeldistill.recipe.data import Data, Augmentation
from pixeldistill.terms.isrd import InputReconstructor
from pixeldistill.training.stream import image_at

LARGE, BATCH = 224, 64
Feature = Callable[[Tensor], Tensor]  # small images (N, 3, h, w) in [0, 1] → what a decoder is given


def patches(convolution: nn.Conv2d, expected: tuple[int, ...]) -> Feature:
    """Give the pixels under each position of a convolution, as channels."""
    size, stride = convolution.kernel_size, convolution.stride
    assert isinstance(size, tuple)

    def cut(image: Tensor) -> Tensor:
        normalised = normalise(image)
        total = [
            (n - 1) * s + k - image_size for n, s, k, image_size in zip(expected[1:], stride, size, image.shape[2:], strict=True)
        ]
        top, left = max(0, total[0] // 2), max(0, total[1] // 2)
        padded = F.pad(normalised, (left, max(0, total[1] - left), top, max(0, total[0] - top)))
        columns = F.unfold(padded, size, stride=stride)
        return columns.view(len(image), -1, *expected[1:])

    return cut


class Scaled(nn.Module):
    """Divides a feature's channels by their root mean square, so that its scale decides nothing; zero stays zero."""

    def __init__(self, feature: Tensor) -> None:
        super().__init__()
        self.size: Tensor
        self.register_buffer("size", feature.square().mean(dim=(0, 2, 3), keepdim=True).sqrt().clamp(min=1e-6))

    def forward(self, feature: Tensor) -> Tensor:
        scaled: Tensor = feature / self.size
        return scaled


def fitted(feature: Feature, batches: Sequence[tuple[Tensor, Tensor]], lr: float) -> nn.Module:
    """Fit a decoder to a frozen feature; batches of large and small images."""
    torch.manual_seed(0)
    with torch.no_grad():
        first = feature(batches[0][1])
    channels, height, width = first.shape[1:]
    decoder = nn.Sequential(Scaled(first), InputReconstructor(channels, (height, width), LARGE))
    optimizer = torch.optim.Adam(decoder.parameters(), lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=len(batches))
    for large, small in batches:
        with torch.no_grad():
            seen = feature(small)
        torch.autograd.backward(reconstruction_l1(decoder(seen), to_unit(large)))
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return decoder.eval()


TASK = TASKS["classification"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--lr", type=float, default=0.1)
    args = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)
    splits = load_splits(Data(format="list", root=args.data, train="train.txt", val="val.txt", test="test.txt"))
    card = read_card(args.runs[0])
    name, image_size, classes = card.network, card.image_size, len(splits.classes)

    def built(weights: str) -> Classifier:
        network = build_classifier(
            name,
            classes,
            image_size,
            weights=weights,
            patch_size=card.patch_size,
            options=card.options,
            trained=weights != "none",
            stem_stride=card.stem_stride,
        )
        return network.eval().requires_grad_(False)

    def feature_of(network: Classifier) -> Feature:
        return lambda image: network(image).input_feature

    fresh = built("none")
    convolution = next(m for m in input_module(fresh.net)[0].modules() if isinstance(m, nn.Conv2d))
    with torch.no_grad():
        shape = fresh(torch.rand(1, 3, image_size, image_size)).input_feature.shape[1:]
    features: dict[str, Feature] = {
        "the pixels under it": patches(convolution, tuple(shape)),
        "fresh weights": feature_of(fresh),
    }
    for run in args.runs:
        features[f"{run.parent.name}/{run.name}"] = feature_of(built(str(run)))
    dataset = TrainingViews(splits.train, Augmentation(), LARGE, "bilinear", TASK.collate)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        keys = micro_batches(
            len(splits.train), batch_size=BATCH, accumulate=1, seed=0, epochs=range(args.epochs), first_step=0, rank=0, world=1
        )
        for raw in load(dataset, keys, default_workers()):
            yield raw.images, image_at(raw.images, image_size, "bilinear", channels_last=False)

    def test() -> Iterator[tuple[Tensor, Tensor]]:
        for first in range(0, 512, BATCH):
            both = [
                CameraImages(splits.test, InputSpec(s, Camera()), TASK.view)[range(first, first + BATCH)]
                for s in (LARGE, image_size)
            ]
            large, small = (to_unit(raw.images) for raw in both if isinstance(raw, RawBatch))
            yield large, small

    print(f"{name} at {image_size}: {tuple(convolution.weight.shape)} kernel, input feature {tuple(shape)}")
    print("| input module | L1 of the rebuilt image, normalised units |\n|---|---|")
    seen, held = list(batches()), list(test())
    enlarged = [F.l1_loss(normalise(F.interpolate(s, (LARGE, LARGE), mode="bicubic")), normalise(b)) for b, s in held]
    print(f"| none: small image enlarged (bicubic) | {torch.stack(enlarged).mean():.4f} |", flush=True)
    for label, feature in features.items():
        decoder = fitted(feature, seen, args.lr)
        with torch.no_grad():
            losses = [reconstruction_l1(decoder(feature(small)), large) for large, small in held]
        print(f"| {label} | {torch.stack(losses).mean():.4f} |", flush=True)


if __name__ == "__main__":
    main()
