"""Arrays on disk that are computed once, block by block, and read ever after: the image store and the teacher's bank.

A folder of `.npy` files (memory-mapped, never unpickled), a `key.json` that says what they were made of, and a byte for every
block that is done. A kill at any moment loses the blocks under way and nothing else. Several processes of one machine fill it
together; those of other machines, which may not see its pages as they are written, wait until it is complete.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from pixeldistill.errors import RunError
from pixeldistill.files import differences, locked, write_file, write_json
from pixeldistill.wording import in_bytes

KEY = "key.json"
FILLED = "filled"
UNFINISHED = "unfinished"  # the folder is ours, and its key is still to be written

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

    Attributes:
        complete: whether all blocks were filled when it was opened; what is complete is only read.

    Raises:
        RunError: the folder belongs to another key or to something else, cannot be read, or the disk has no room for it.
    """

    def __init__(
        self, folder: Path, what: str, setting: str, key: Mapping[str, Any], layout: Layout, blocks: int, *, create: bool
    ) -> None:
        self.folder, self.what, self.setting = folder, what, setting
        layout = {**layout, FILLED: ((blocks,), np.uint8)}
        if create:
            self._create(json.loads(json.dumps(key)), layout)
        self.complete = bool(self._open(FILLED, "r").all())
        if not self.complete and not all(os.access(self._file(name), os.W_OK) for name in layout):
            raise RunError(f"{what} {folder} is not complete, and cannot be written: complete it where it was made")
        self.arrays = {name: self._open(name, "r" if self.complete else "r+") for name in layout}
        for name, (shape, kind) in layout.items():
            if self.arrays[name].shape != shape or self.arrays[name].dtype != kind:
                raise RunError(f"{what} {folder} is damaged ({name}.npy): remove that folder, it will be made again")

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.npy"

    def _open(self, name: str, mode: Literal["r", "r+"]) -> NDArray[Any]:
        try:
            # Reading alone first: a file that is too short is refused there, and would be lengthened by zeros in the other mode.
            array: NDArray[Any] = np.load(self._file(name), mmap_mode="r", allow_pickle=False)
            if mode == "r+":
                array = np.load(self._file(name), mmap_mode=mode, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise RunError(
                f"{self.what} {self.folder} cannot be read ({error}): remove that folder, it will be made again"
            ) from error
        return array

    def __getitem__(self, name: str) -> NDArray[Any]:
        array: NDArray[Any] = self.arrays[name]
        return array

    def missing(self) -> list[int]:
        """List the blocks that are still to be filled."""
        return [int(block) for block in np.flatnonzero(self.arrays[FILLED] == 0)]

    def finish(self, block: int) -> None:
        """Note that a block is filled, after its content has reached the disk."""
        for name, array in self.arrays.items():
            if name != FILLED:
                cast(Any, array).flush()
        self.arrays[FILLED][block] = 1
        cast(Any, self.arrays[FILLED]).flush()

    def require_complete(self) -> None:
        """Refuse an archive that is read before all of it is there."""
        if left := self.missing():
            raise RunError(f"{self.what} {self.folder} lacks {len(left)} blocks: give the same command again")

    def _create(self, key: dict[str, Any], layout: Layout) -> None:
        """Make the empty arrays; the key comes last, so that what lacks it is made again."""
        if (self.folder / KEY).is_file():
            self._compare(key)
            return
        with locked(self.folder, None):
            if (self.folder / KEY).is_file():
                self._compare(key)
                return
            own = {".lock", UNFINISHED, *(self._file(name).name for name in layout)}
            for name in (UNFINISHED, KEY):
                for left in self.folder.glob(f".{name}.*"):  # of a process that was killed while it wrote that file
                    left.unlink(missing_ok=True)
            there = {path.name for path in self.folder.iterdir()}
            if foreign := sorted(there - (own if UNFINISHED in there else {".lock"})):
                raise RunError(
                    f"{self.what}: {self.folder} holds something else ({foreign[0]}): name an empty or a new {self.setting}"
                )
            check_room(self.folder, archive_bytes(layout), self.what, self.setting)
            write_file(self.folder / UNFINISHED, b"")
            try:
                for name, (shape, kind) in layout.items():
                    array = open_memmap(self._file(name), mode="w+", dtype=kind, shape=shape)
                    del array
                    _reserve(self._file(name))
            except OSError as error:
                for name in layout:
                    self._file(name).unlink(missing_ok=True)
                raise RunError(
                    f"{self.what} {self.folder} cannot be written ({error.strerror}): make room, or name another {self.setting}"
                ) from error
            write_json(self.folder / KEY, key)
            (self.folder / UNFINISHED).unlink()

    def _compare(self, key: dict[str, Any]) -> None:
        path = self.folder / KEY
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(before, dict):
                raise ValueError("no mapping")
        except (OSError, ValueError) as error:
            raise RunError(f"{path} cannot be read ({error}): remove its folder, it will be made again") from error
        if changes := list(differences(before, key)):
            raise RunError(
                f"{self.what} {self.folder} was made of something else: its {'; '.join(changes[:3])}. "
                f"Name another {self.setting}, or remove that folder"
            )


def check_room(folder: Path, size: int, what: str, setting: str) -> None:
    """Refuse to begin what the disk has no room for. Raises RunError."""
    free = shutil.disk_usage(next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())).free
    if size > free:
        raise RunError(
            f"{what} {folder} needs {in_bytes(size)}, {in_bytes(free)} are free there: make room, or name another {setting}"
        )


def archive_bytes(layout: Layout) -> int:
    """Say how large arrays are."""
    return sum(int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in layout.values())


def _reserve(path: Path) -> None:
    """Take the file's room on the disk now: writing to a mapped file on a full disk would kill the process."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
