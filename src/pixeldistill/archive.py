"""Arrays on disk that are computed once, block by block, and read ever after: the image store and the teacher's bank.

A folder of `.npy` files (memory-mapped, never unpickled), a `key.json` that says what they were made of, and a byte for every
block that is done. A kill at any moment loses the blocks under way and nothing else. Several processes of one machine fill it
together.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from pixeldistill.errors import RunError
from pixeldistill.files import differences, locked, write_json

KEY = "key.json"
FILLED = "filled"

Layout = Mapping[str, tuple[tuple[int, ...], type[np.generic]]]  # of each array: shape and type


class Archive:
    """Arrays that belong to a key.

    Args:
        folder: where they lie.
        what: the user's word for it ("image store"), and the recipe's setting that names its folder.
        key: all that decides the arrays' content; another key than that of the folder is refused.
        layout: the arrays.
        blocks: into how many pieces the work is divided.
        create: whether to make it where it is not there yet: of several processes, the first does, and the others come after it.

    Raises:
        RunError: the folder belongs to another key, cannot be read, or the disk has no room for it.
    """

    def __init__(
        self, folder: Path, what: str, setting: str, key: Mapping[str, Any], layout: Layout, blocks: int, *, create: bool
    ) -> None:
        self.folder, self.what, self.setting = folder, what, setting
        layout = {**layout, FILLED: ((blocks,), np.uint8)}
        if create:
            self._create(json.loads(json.dumps(key)), layout)
        try:
            self.arrays = {name: np.load(self._file(name), mmap_mode=self._mode(name), allow_pickle=False) for name in layout}
        except (OSError, ValueError) as error:
            raise RunError(f"{what} {folder} cannot be read ({error}): remove that folder, it will be made again") from error
        for name, (shape, kind) in layout.items():
            if self.arrays[name].shape != shape or self.arrays[name].dtype != kind:
                raise RunError(f"{what} {folder} is damaged ({name}): remove that folder, it will be made again")

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.npy"

    def _mode(self, name: str) -> Literal["r", "r+"]:
        return "r+" if os.access(self._file(name), os.W_OK) else "r"  # one that is shared may be there to be read alone

    def __getitem__(self, name: str) -> NDArray[Any]:
        array: NDArray[Any] = self.arrays[name]
        return array

    def missing(self, rank: int = 0, world: int = 1) -> list[int]:
        """List the blocks that are still to be filled by one of several processes."""
        return [int(block) for block in np.flatnonzero(self.arrays[FILLED] == 0)][rank::world]

    def finish(self, block: int) -> None:
        """Note that a block is filled, after its content has reached the disk."""
        for name, array in self.arrays.items():
            if name != FILLED:
                array.flush()
        self.arrays[FILLED][block] = 1
        self.arrays[FILLED].flush()

    def _create(self, key: dict[str, Any], layout: Layout) -> None:
        """Make the empty arrays; the key comes last, so that what lacks it is made again."""
        path = self.folder / KEY
        with locked(self.folder, f"{self.what} {self.folder} is being made by another run: wait for it"):
            if path.is_file():
                self._compare(path, key)
                return
            size = sum(int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in layout.values())
            free = shutil.disk_usage(self.folder).free
            if size > free:
                raise RunError(
                    f"{self.what} {self.folder} needs {in_bytes(size)}, {in_bytes(free)} are free there: "
                    f"make room, or name another {self.setting}"
                )
            try:
                for name, (shape, kind) in layout.items():
                    array = open_memmap(self._file(name), mode="w+", dtype=kind, shape=shape)
                    del array
                    _reserve(self._file(name))
            except OSError as error:
                raise RunError(f"{self.what} {self.folder} cannot be written ({error.strerror})") from error
            write_json(path, key)

    def _compare(self, path: Path, key: dict[str, Any]) -> None:
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{path} cannot be read ({error}): remove its folder, it will be made again") from error
        if before != key:
            changes = list(differences(before, key))
            raise RunError(
                f"{self.what} {self.folder} was made of something else: its {'; '.join(changes[:3])}. "
                f"Name another {self.setting}, or remove that folder"
            )


def _reserve(path: Path) -> None:
    """Take the file's room on the disk now: writing to a mapped file on a full disk would kill the process."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def in_bytes(size: float) -> str:
    """Write a number of bytes.

    >>> in_bytes(512), in_bytes(2.5e6)
    ('512 B', '2.5 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
