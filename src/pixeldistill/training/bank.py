"""The teacher's bank: what a frozen teacher says of every training view, computed once, in half precision, memory-mapped.

A view is a function of (view seed, epoch, index) alone, so the bank is indexed by (view, index), where the view is the epoch's
number, modulo the number of distinct views. It serves any number of students and seeds. Logits and maps lie side by side, each
in an archive of its own: a term that wants another map has it added, and nothing that is there is computed again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pixeldistill.archive import Archive, in_bytes
from pixeldistill.data.sampler import Key
from pixeldistill.errors import RunError
from pixeldistill.recipe import Bank
from pixeldistill.training.fabric import Fabric
from pixeldistill.training.teacher import Answer, LiveTeacher
from pixeldistill.types import FeatureSpec, WantedMap

BLOCK = 256  # views
PIECE = 64  # views that the teacher looks at together
SAMPLES = 8
TOLERANCE = 0.01  # of the largest output: half precision is 0.0005, other devices and batch sizes are less

Views = Callable[[Sequence[list[Key]]], Iterator[tuple[Tensor, Tensor]]]  # batches of keys → (images, keys), the teacher's view


VALUES, LOGITS = "values", "logits"


class BankTeacher:
    """A teacher that is read from disk: see `training.teacher.Teacher`."""

    sees_image = False

    def __init__(
        self, archives: Mapping[str, Archive], views: int, wanted: Sequence[WantedMap], device: torch.device
    ) -> None:  # fmt: skip
        self.archives, self.views, self.wanted, self.device = archives, views, wanted, device

    def __call__(self, image: Tensor | None, keys: Tensor) -> Answer:
        """Look the views of keys (N, 2) up."""
        epochs, indices = keys.T.numpy()

        def read(name: str) -> Tensor:
            values = self.archives[name][VALUES][epochs % self.views, indices]
            return torch.from_numpy(values).to(self.device, torch.float32)

        return Answer(read(LOGITS), {want: read(_name(want)) for want in self.wanted})


def bank_bytes(spec: FeatureSpec, wanted: Iterable[WantedMap], views: int, images: int) -> int:
    """Say how large a bank will be."""
    return 2 * views * images * sum(int(np.prod(shape)) for shape in _shapes(spec, wanted).values())


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
        teacher: in float32, so that the bank serves every precision; its wanted maps are stored.
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
    shapes = _shapes(teacher.spec, teacher.wanted)
    # A block is a piece of one view's images, so that one view after the other is complete.
    blocks = [
        [(view, i) for i in range(start, min(start + BLOCK, images))]
        for view in range(views)
        for start in range(0, images, BLOCK)
    ]

    def attach(create: bool) -> dict[str, Archive]:
        whole = {"format": 2, **key, "views_per_image": views}
        return {
            name: Archive(
                folder / name, "teacher's bank", "bank.folder", whole, {VALUES: ((views, images, *shape), np.float16)},
                len(blocks), create=create,
            )
            for name, shape in shapes.items()
        }  # fmt: skip

    if fabric.is_global_zero:
        if fresh := [name for name in shapes if not (folder / name).exists()]:
            size = 2 * views * images * sum(int(np.prod(shapes[name])) for name in fresh)
            note(f"teacher's bank: {views} views of {images} images, {', '.join(fresh)}, {in_bytes(size)}, in {folder}")
        attach(create=True)
    fabric.barrier()
    archives = attach(create=False)
    lacking = {name: set(archive.missing()) for name, archive in archives.items()}
    missing = sorted(set().union(*lacking.values()))[fabric.global_rank :: fabric.world_size]
    pieces = [blocks[b][i : i + PIECE] for b in missing for i in range(0, len(blocks[b]), PIECE)]
    loaded = load_views(pieces)
    fabric.barrier()  # all have seen what is missing before the first fills it
    for done, block in enumerate(missing):
        here = [name for name in archives if block in lacking[name]]
        for _ in range(0, len(blocks[block]), PIECE):
            image, keys = next(loaded)
            rows = keys.T.numpy()
            said = _ask(teacher, image, keys)
            for name in here:
                archives[name][VALUES][rows[0], rows[1]] = _half(said[name])
        for name in here:
            archives[name].finish(block)
        progress(done + 1, len(missing))
    fabric.barrier()
    _verify(archives, folder, teacher, views, images, load_views)
    return BankTeacher(archives, views, teacher.wanted, fabric.device)


def _verify(
    archives: Mapping[str, Archive], folder: Path, teacher: LiveTeacher, views: int, images: int, load_views: Views
) -> None:  # fmt: skip
    """Compute some samples again, other ones at every start; they decide nothing but whether the bank is right."""
    rng = np.random.default_rng()
    keys = [(int(rng.integers(views)), int(rng.integers(images))) for _ in range(SAMPLES)]
    for image, rows in load_views([keys]):
        epochs, indices = rows.T.numpy()
        for name, values in _ask(teacher, image, rows).items():
            now, stored = values.cpu().numpy(), archives[name][VALUES][epochs, indices].astype(np.float32)
            difference, bound = float(np.abs(now - stored).max()), TOLERANCE * float(np.abs(now).max())
            if not difference <= bound:
                raise RunError(
                    f"teacher's bank {folder / name} does not hold what the teacher says: it differs by {difference:.3g} "
                    f"(allowed: {bound:.3g}) though its key is right. It is damaged, or another version of a library computes "
                    "otherwise: remove that folder, it will be made again"
                )


def _ask(teacher: LiveTeacher, image: Tensor, keys: Tensor) -> dict[str, Tensor]:
    answer = teacher(image, keys)
    return {LOGITS: answer.prediction, **{_name(want): values for want, values in answer.maps.items()}}


def _half(values: Tensor) -> Any:  # noqa: ANN401
    half = values.cpu().half()
    if not torch.isfinite(half).all():
        raise RunError("the teacher says something that half precision cannot hold (over 65,504): leave `bank` out")
    return half.numpy()


def _name(want: WantedMap) -> str:
    return f"map-{want.number}-{want.height}x{want.width}"


def _shapes(spec: FeatureSpec, wanted: Iterable[WantedMap]) -> dict[str, tuple[int, ...]]:
    maps = {_name(want): (spec.features[want.number].channels, want.height, want.width) for want in wanted}
    return {LOGITS: (spec.classes,), **maps}
