"""The teacher's bank: what a frozen teacher says of every training view, computed once, in half precision, memory-mapped.

A view is a function of (view seed, epoch, index) alone, so the bank is indexed by (view, index), where the view is the epoch's
number, modulo the number of distinct views. It serves any number of students and seeds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pixeldistill.archive import Archive, Layout, in_bytes
from pixeldistill.data.sampler import Key
from pixeldistill.errors import RecipeError, RunError
from pixeldistill.recipe import Bank, PooledMap
from pixeldistill.training.fabric import Fabric
from pixeldistill.training.teacher import LiveTeacher
from pixeldistill.types import FeatureSpec, MapSpec, Outputs

BLOCK = 256  # views
PIECE = 64  # views that the teacher looks at together
SAMPLES = 8
TOLERANCE = 0.01  # of the largest output: half precision is 0.0005, other devices and batch sizes are less

Views = Callable[[Sequence[list[Key]]], Iterator[tuple[Tensor, Tensor]]]  # batches of keys → (images, keys), the teacher's view


class BankTeacher:
    """A teacher that is read from disk: see `training.teacher.Teacher`. Its maps are those that are stored, pooled."""

    sees_image = False

    def __init__(self, archive: Archive, views: int, spec: FeatureSpec, device: torch.device) -> None:
        self.archive, self.views, self.spec, self.device = archive, views, spec, device

    def __call__(self, image: Tensor | None, keys: Tensor) -> Outputs:
        """Look the views of keys (N, 2) up."""
        epochs, indices = keys.T.numpy()
        logits, *maps = (
            torch.from_numpy(self.archive[name][epochs % self.views, indices]).to(self.device, torch.float32)
            for name in _names(len(self.spec.features))
        )
        return Outputs(logits, logits.new_empty(len(keys), *self.spec.input_feature), tuple(maps))


def bank_spec(teacher: FeatureSpec, maps: Sequence[PooledMap]) -> FeatureSpec:
    """Give the shapes of what a bank serves: logits, and the stored maps alone.

    Raises:
        RecipeError: a map that the teacher does not have, or that would have to be enlarged.
    """
    stored = []
    for number, wanted in enumerate(maps):
        if not -len(teacher.features) <= wanted.index < len(teacher.features):
            raise RecipeError(f"bank.maps.{number}.index {wanted.index}: the teacher has {len(teacher.features)} maps")
        channels, height, width = teacher.features[wanted.index]
        if wanted.side > min(height, width):
            raise RecipeError(f"bank.maps.{number}.side {wanted.side} is larger than the teacher's map, {height}×{width}")
        stored.append(MapSpec(channels, wanted.side, wanted.side))
    return FeatureSpec(teacher.image_size, teacher.classes, MapSpec(0, 0, 0), tuple(stored))


def bank_bytes(spec: FeatureSpec, views: int, images: int) -> int:
    """Say how large a bank will be."""
    return sum(2 * int(np.prod(shape)) for shape, _ in _layout(spec, views, images).values())


def open_bank(
    config: Bank,
    folder: Path,
    key: Mapping[str, Any],
    teacher: LiveTeacher,
    images: int,
    load_views: Views,
    fabric: Fabric,
    note: Callable[[str], None],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> BankTeacher:
    """Open a bank, fill what is missing of it, and compare some samples with what the teacher says now.

    Args:
        config: `views` is a number here.
        folder: where it lies.
        key: all that decides what the teacher says: its weights, side, the views, the data's content.
        teacher: in float32, so that the bank serves every precision.
        images: of the training split.
        load_views: gives the teacher's views for batches of keys.
        fabric: of this process.
        note: where to say what will be written.
        progress: told how many blocks are done.

    Raises:
        RunError: the bank belongs to another key, or does not hold what the teacher says now, or has no room.
    """
    assert isinstance(config.views, int)
    views = config.views
    spec = bank_spec(teacher.spec, config.maps)
    layout = _layout(spec, views, images)
    # A block is a piece of one view's images, so that one view after the other is complete.
    blocks = [
        [(view, i) for i in range(start, min(start + BLOCK, images))]
        for view in range(views)
        for start in range(0, images, BLOCK)
    ]

    def attach(create: bool) -> Archive:
        key_ = {"format": 1, **key, "views_per_image": views, "maps": [m.model_dump() for m in config.maps]}
        return Archive(folder, "teacher's bank", "bank.folder", key_, layout, len(blocks), create=create)

    if fabric.is_global_zero:
        if not folder.exists():
            note(f"teacher's bank: {views} views of {images} images, {in_bytes(bank_bytes(spec, views, images))}, in {folder}")
        attach(create=True)
    fabric.barrier()
    archive = attach(create=False)
    missing = archive.missing(fabric.global_rank, fabric.world_size)
    pieces = [blocks[b][i : i + PIECE] for b in missing for i in range(0, len(blocks[b]), PIECE)]
    loaded = load_views(pieces)
    for done, block in enumerate(missing):
        for _ in range(0, len(blocks[block]), PIECE):
            image, keys = next(loaded)
            rows = keys.T.numpy()
            for name, values in zip(layout, _ask(teacher, image, keys, config.maps), strict=True):
                archive[name][rows[0], rows[1]] = _half(values)
        archive.finish(block)
        progress(done + 1, len(missing))
    fabric.barrier()
    _verify(archive, teacher, config, views, images, load_views)
    return BankTeacher(archive, views, spec, fabric.device)


def _verify(archive: Archive, teacher: LiveTeacher, config: Bank, views: int, images: int, load_views: Views) -> None:
    """Compute some samples again, other ones at every start; they decide nothing but whether the bank is right."""
    rng = np.random.default_rng()
    keys = [(int(rng.integers(views)), int(rng.integers(images))) for _ in range(SAMPLES)]
    for image, rows in load_views([keys]):
        epochs, indices = rows.T.numpy()
        for name, values in zip(archive.arrays, _ask(teacher, image, rows, config.maps), strict=False):
            now, stored = values.cpu().numpy(), archive[name][epochs, indices].astype(np.float32)
            difference, bound = float(np.abs(now - stored).max()), TOLERANCE * float(np.abs(now).max())
            if not difference <= bound:
                raise RunError(
                    f"teacher's bank {archive.folder} does not hold what the teacher says: its {name} differ by {difference:.3g} "
                    f"(allowed: {bound:.3g}) though its key is right. It is damaged, or another version of a library computes "
                    "otherwise: remove that folder, it will be made again"
                )


def _ask(teacher: LiveTeacher, image: Tensor, keys: Tensor, maps: Sequence[PooledMap]) -> list[Tensor]:
    outputs = teacher(image, keys)
    pooled = [F.adaptive_avg_pool2d(outputs.features[m.index], m.side) for m in maps]
    return [outputs.prediction, *pooled]


def _half(values: Tensor) -> Any:  # noqa: ANN401
    half = values.cpu().half()
    if not torch.isfinite(half).all():
        raise RunError("the teacher says something that half precision cannot hold (over 65,504): leave `bank` out")
    return half.numpy()


def _names(maps: int) -> list[str]:
    return ["logits", *(f"map-{i}" for i in range(maps))]


def _layout(spec: FeatureSpec, views: int, images: int) -> Layout:
    shapes = [(spec.classes,), *(tuple(m) for m in spec.features)]
    return {n: ((views, images, *s), np.float16) for n, s in zip(_names(len(spec.features)), shapes, strict=True)}
