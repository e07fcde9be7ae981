"""Teacher cache: a frozen teacher's outputs for every training view, computed once, in half precision, on disk.

A view depends only on (view seed, epoch, index). So the cache is indexed by (view, index), where the view is the epoch's number
modulo the number of distinct views. It serves any number of students and seeds. Every output (logits, maps) of every view has
its own archive. So other maps or more views can be added, and nothing is computed twice.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixeldistill.data.loading import at_once
from pixeldistill.data.sampler import Key
from pixeldistill.display.text import in_bytes, in_words
from pixeldistill.errors import RunError
from pixeldistill.storage.archive import KEY, Archive, check_room
from pixeldistill.training.cache_layout import LOGITS, map_name, output_bytes, output_shapes
from pixeldistill.training.fabric import Fabric, first_machine, to_device
from pixeldistill.training.teacher import LiveTeacher, TeacherOutputs
from pixeldistill.types import WantedMap

BLOCK = 256  # views
PIECE = 64  # views of 224 pixels in one batch of the teacher
SAMPLES = 8
TOLERANCE = 0.01  # relative to the largest output: half precision differs by 0.0005, other devices and batch sizes by less

Views = Callable[[Iterable[list[Key]]], Iterator[tuple[Tensor, Tensor]]]  # batches of keys → (images, keys), the teacher's view


FORMAT = 4
VALUES = "values"
Archives = Mapping[str, Sequence[Archive]]  # for each output ("logits", "map-4-7x7"), one archive a view


class CachedTeacher:
    """A teacher that is read from disk. See `training.teacher.Teacher`."""

    sees_image = False
    head = None

    def __init__(self, archives: Archives, views: int, wanted: Sequence[WantedMap], fabric: Fabric) -> None:
        self.archives, self.views, self.wanted, self.fabric = archives, views, wanted, fabric

    def __call__(self, image: Tensor | None, keys: Tensor) -> TeacherOutputs:
        """Read the outputs for the views of keys (N, 2)."""
        epochs, indices = keys.T.numpy()

        def look_up(name: str) -> Tensor:
            values = torch.from_numpy(_read(self.archives[name], epochs % self.views, indices))
            return to_device(values, self.fabric).float()

        return TeacherOutputs(look_up(LOGITS), {want: look_up(map_name(want)) for want in self.wanted})


def open_teacher_cache(
    views: int,
    epochs: int,
    folder: Path,
    key: Mapping[str, Any],
    teacher: LiveTeacher,
    images: int,
    load_views: Views,
    fabric: Fabric,
    note: Callable[[str], None],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> CachedTeacher:
    """Open a teacher cache, fill its missing parts, and compare some samples with the teacher's current outputs.

    Args:
        views: number of distinct views of an image, after which they repeat.
        epochs: number of epochs of use. Views that no epoch reaches are not computed.
        folder: folder of the cache.
        key: everything that affects the teacher's outputs: its weights, image size, the views, the data's content.
        teacher: teacher in float32, so that the cache serves every precision. Its wanted maps are stored.
        images: number of images in the training split.
        load_views: returns the teacher's views for batches of keys.
        fabric: Fabric of this process.
        note: called with a message about what will be written.
        progress: called with the numbers of finished and of all blocks.

    Raises:
        RunError: the cache belongs to another key, differs from the teacher's current outputs, or has no room.
    """
    shapes = output_shapes(teacher.spec, teacher.wanted)
    used, blocks = min(views, epochs), -(-images // BLOCK)
    together, fillers = at_once(PIECE, teacher.spec.nominal_size), first_machine(fabric)

    def attach(create: bool = False) -> dict[str, list[Archive]]:
        return {
            name: [
                Archive(
                    _place(folder, name, view), "teacher cache", "teacher_cache.folder", {"format": FORMAT, **key},
                    {VALUES: ((images, *shape), np.float16)}, blocks, create=create,
                )
                for view in range(used)
            ]
            for name, shape in shapes.items()
        }  # fmt: skip

    if fabric.is_global_zero:
        fresh = {name: sum(not (_place(folder, name, view) / KEY).is_file() for view in range(used)) for name in shapes}
        if any(fresh.values()):
            size = sum(count * images * output_bytes(shapes[name]) for name, count in fresh.items())
            parts = ", ".join(f"{in_words(count, 'view')} of {name}" for name, count in fresh.items() if count)
            note(f"teacher cache: {parts} of {images} images, {in_bytes(size)}, in {folder}")
            check_room(folder, size, "teacher cache", "teacher_cache.folder")
        of = [archive for archives in attach(create=True).values() for archive in archives]
        left, whole = sum(len(archive.missing()) for archive in of), blocks * len(of)
        if left and not any(fresh.values()):
            note(f"teacher cache: {whole - left} of {whole} blocks are there, in {folder}; filling goes on")
    fabric.barrier()
    archives = attach()
    lacking = {(view, block, name) for name, of in archives.items() for view in range(used) for block in of[view].missing()}
    # The division of the blocks must not depend on the progress of another process.
    missing = sorted({(v, b) for v, b, _ in lacking if (v * blocks + b) % fillers == fabric.global_rank})
    loaded = load_views([(view, i) for i in piece] for view, block in missing for piece in _pieces(block, images, together))
    for done, (view, block) in enumerate(missing, start=1):
        here = {name: archives[name][view] for name in shapes if (view, block, name) in lacking}
        for _ in _pieces(block, images, together):
            image, keys = next(loaded)
            said = _ask(teacher, image, keys)
            for name, archive in here.items():
                archive[VALUES].write(int(keys[0, 1]), _half(said[name]))  # images of a piece are consecutive
        for archive in here.values():
            archive.finish(block)
        progress(done, len(missing))
    fabric.barrier()
    archives = attach()
    for archive in (archive for of in archives.values() for archive in of):
        archive.require_complete()
    if fabric.is_global_zero:
        _verify(archives, folder, teacher, used, images, load_views)
    fabric.barrier()
    return CachedTeacher(archives, views, teacher.wanted, fabric)


def _verify(archives: Archives, folder: Path, teacher: LiveTeacher, views: int, images: int, load_views: Views) -> None:
    """Compute some samples again, other ones at every start. They only show whether the teacher cache is right."""
    rng = np.random.default_rng()
    keys = [(int(rng.integers(views)), int(rng.integers(images))) for _ in range(SAMPLES)]
    for image, rows in load_views([keys]):
        epochs, indices = rows.T.numpy()
        for name, values in _ask(teacher, image, rows).items():
            now, stored = values.cpu().numpy(), _read(archives[name], epochs, indices).astype(np.float32)
            difference, bound = float(np.abs(now - stored).max()), TOLERANCE * float(np.abs(now).max())
            if not difference <= bound:
                raise RunError(
                    f"teacher cache {folder / name} does not hold what the teacher says: it differs by {difference:.3g} "
                    f"(allowed: {bound:.3g}) though its key is right. It is damaged, or another version of a library computes "
                    "otherwise: remove that folder, it will be made again"
                )


def _pieces(block: int, images: int, together: int) -> list[range]:
    """Divide a block's images into batches of the teacher."""
    end = min((block + 1) * BLOCK, images)
    return [range(start, min(start + together, end)) for start in range(block * BLOCK, end, together)]


def _read(archives: Sequence[Archive], views: NDArray[Any], indices: Any) -> NDArray[Any]:  # noqa: ANN401
    """Read rows of the views' archives. A batch usually belongs to one epoch, so to one view."""
    first, *others = np.unique(views)
    if not others:
        one: NDArray[Any] = archives[first][VALUES].rows(indices)
        return one
    parts = [archives[view][VALUES].rows([index]) for view, index in zip(views, indices, strict=True)]
    found: NDArray[Any] = np.concatenate(parts)
    return found


def _place(folder: Path, name: str, view: int) -> Path:
    return folder / name / f"view-{view:04d}"


def _ask(teacher: LiveTeacher, image: Tensor, keys: Tensor) -> dict[str, Tensor]:
    outputs = teacher(image, keys)
    assert isinstance(outputs.prediction, Tensor)
    return {LOGITS: outputs.prediction, **{map_name(want): values for want, values in outputs.maps.items()}}


def _half(values: Tensor) -> Any:  # noqa: ANN401
    half = values.cpu().half()
    if not torch.isfinite(half).all():
        raise RunError("the teacher says something that half precision cannot hold (over 65,504): leave `teacher_cache` out")
    return half.numpy()
