"""Arrays on disk that are computed once, block by block, and read ever after: the image cache and the teacher cache.

A folder of `.npy` files (never unpickled), a `key.json` that says what they were made of, and a byte for every block that is
done. A kill at any moment loses the blocks under way and nothing else. Several processes of one machine fill it together; those
of other machines, which may not see what is written at once, wait until it is complete.

Files are read and written piece by piece, not mapped: one that is cut short while it is used is an error then, and no signal
that ends the process, nor zeros.
"""

import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap, read_array_header_1_0, read_array_header_2_0, read_magic
from numpy.typing import NDArray

from pixeldistill.display.text import in_bytes
from pixeldistill.errors import RunError
from pixeldistill.storage.files import PARTIAL, differences, locked, read_json, remove_litter, write_file, write_json

KEY = "key.json"
FILLED = "filled"
UNFINISHED = "unfinished"  # the folder is ours, and its key is still to be written

Layout = Mapping[str, tuple[tuple[int, ...], type[np.generic]]]  # of each array: shape and type


class Column:
    """An array in a file: its rows, along the first axis, are read and written in pieces.

    Args:
        path: of the `.npy` file; a link there is not followed.
        what: what the file belongs to, for an error.
        keep: whether it stays open from the first reading on: where there are many, each is opened when it is read.

    Raises:
        RunError: it is no such file, or shorter than it says.
    """

    def __init__(self, path: Path, what: str, *, keep: bool = False) -> None:
        self.path, self.what, self.keep = path, what, keep
        self._kept: int | None = None
        self._frozen: tuple[int, ...] | None = None
        self._lock = threading.Lock()
        try:
            with os.fdopen(os.open(path, os.O_RDONLY | _NOFOLLOW), "rb") as file:
                version = read_magic(file)
                header = read_array_header_1_0(file) if version == (1, 0) else read_array_header_2_0(file)
                self.shape, fortran, self.kind = header
                self._start = file.tell()
                self._found = _state(file.fileno())
                size = os.fstat(file.fileno()).st_size
        except (OSError, ValueError, EOFError) as error:
            raise RunError(f"{what} cannot be read ({path.name}: {error}): remove that folder, it will be made again") from error
        if fortran or self.kind.hasobject or not self.shape or size != self._start + self.row * self.shape[0]:
            raise RunError(f"{what} is damaged ({path.name}): remove that folder, it will be made again")

    def freeze(self) -> None:
        """From now on the file is to be as it was when this was made: nobody writes to it any more."""
        self._frozen = self._found

    @property
    def row(self) -> int:
        """Bytes of a row."""
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.kind.itemsize

    def read(self, start: int, count: int) -> NDArray[Any]:
        """Return some rows one after the other, not to be written to. Raises RunError where the file was changed meanwhile."""
        return self._read([(start, count)])[0]

    def rows(self, indices: Sequence[int]) -> NDArray[Any]:
        """Return single rows, one below the other."""
        return np.concatenate(self._read([(int(index), 1) for index in indices]))

    def write(self, start: int, values: NDArray[Any]) -> None:
        """Write rows from a place on; they have reached the disk when this returns."""
        content = np.ascontiguousarray(values, self.kind).tobytes()
        with self._opened(os.O_RDWR) as file:
            if os.fstat(file).st_size != self._start + self.row * self.shape[0]:
                raise self._changed()
            done = 0
            while done < len(content):
                done += self._write_at(file, content[done:], self._start + start * self.row + done)
            os.fsync(file)

    def _read(self, pieces: Sequence[tuple[int, int]]) -> list[NDArray[Any]]:
        found = []
        with self._opened(os.O_RDONLY) as file:
            if self._frozen not in (None, _state(file)):
                raise self._changed()
            for start, count in pieces:
                content = self._read_at(file, count * self.row, self._start + start * self.row)
                found.append(np.frombuffer(content, self.kind).reshape(count, *self.shape[1:]))
        return found

    @contextmanager
    def _opened(self, flags: int) -> Iterator[int]:
        try:
            if self.keep and flags == os.O_RDONLY:
                if self._kept is None:
                    self._kept = os.open(self.path, flags | _NOFOLLOW)
                yield self._kept
                return
            file = os.open(self.path, flags | _NOFOLLOW)
            try:
                yield file
            finally:
                os.close(file)
        except OSError as error:
            raise RunError(f"{self.what} cannot be used any more ({self.path.name}: {error.strerror})") from error

    def _read_at(self, file: int, size: int, place: int) -> bytes:
        content = b""
        while len(content) < size:
            piece = _pread(file, size - len(content), place + len(content), self._lock)
            if not piece:
                raise self._changed()
            content = content + piece if content else piece
        return content

    def _write_at(self, file: int, content: bytes, place: int) -> int:
        if hasattr(os, "pwrite"):
            return os.pwrite(file, content, place)
        with self._lock:
            os.lseek(file, place, os.SEEK_SET)
            return os.write(file, content)

    def _changed(self) -> RunError:
        return RunError(
            f"{self.what} was changed while it was used ({self.path.name}): give the same command again; if that is refused, "
            "remove that folder, it will be made again"
        )

    def __getstate__(self) -> dict[str, Any]:
        """Let a process that is not forked open the file itself."""
        return {name: value for name, value in self.__dict__.items() if name != "_lock"} | {"_kept": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())


_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


def _state(file: int) -> tuple[int, ...]:
    found = os.fstat(file)
    return found.st_ino, found.st_size, found.st_mtime_ns


def _pread(file: int, size: int, place: int, lock: threading.Lock) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(file, size, place)
    with lock:
        os.lseek(file, place, os.SEEK_SET)
        return os.read(file, size)


class Archive:
    """Arrays that belong to a key.

    Args:
        folder: where they lie.
        what: the user's word for it ("image cache"), and the recipe's setting that names its folder.
        key: all that decides the arrays' content; another key than that of the folder is refused.
        layout: the arrays.
        blocks: into how many pieces the work is divided.
        create: whether to make it where it is not there yet: of several processes, the first does, and the others come after it.
        keep: whether its files stay open, see `Column`.

    Attributes:
        complete: whether all blocks were filled when it was opened; what is complete is only read.

    Raises:
        RunError: the folder belongs to another key or to something else, cannot be read, or the disk has no room for it.
    """

    def __init__(
        self, folder: Path, what: str, setting: str, key: Mapping[str, Any], layout: Layout, blocks: int, *, create: bool,
        keep: bool = False,
    ) -> None:  # fmt: skip
        self.folder, self.what, self.setting = folder, what, setting
        layout = {**layout, FILLED: ((blocks,), np.uint8)}
        if create:
            self._create(json.loads(json.dumps(key)), layout)
        self.columns = {name: Column(self._file(name), f"{what} {folder}", keep=keep) for name in layout}
        for name, (shape, kind) in layout.items():
            if self.columns[name].shape != shape or self.columns[name].kind != kind:
                raise RunError(f"{what} {folder} is damaged ({name}.npy): remove that folder, it will be made again")
        self.complete = not self.missing()
        if self.complete:
            for column in self.columns.values():
                column.freeze()
        if not self.complete and not all(os.access(self._file(name), os.W_OK) for name in layout):
            raise RunError(f"{what} {folder} is not complete, and cannot be written: complete it where it was made")

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.npy"

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]

    @property
    def files(self) -> list[Path]:
        """The files that its arrays are in."""
        return [column.path for name, column in self.columns.items() if name != FILLED]

    def missing(self) -> list[int]:
        """List the blocks that are still to be filled."""
        filled = self.columns[FILLED]
        return [int(block) for block in np.flatnonzero(filled.read(0, filled.shape[0]) == 0)]

    def finish(self, block: int) -> None:
        """Note that a block is filled; its content has reached the disk before."""
        self.columns[FILLED].write(block, np.ones(1, np.uint8))

    def require_complete(self) -> None:
        """Raise RunError if some of the archive is missing."""
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
                remove_litter(self.folder.glob(f".{name}.*{PARTIAL}"), held=True)
            there = {path.name for path in self.folder.iterdir()}
            if foreign := sorted(there - (own if UNFINISHED in there else {".lock"})):
                raise RunError(
                    f"{self.what}: {self.folder} holds something else ({foreign[0]}): name an empty or a new {self.setting}"
                )
            check_room(self.folder, archive_bytes(layout), self.what, self.setting)
            write_file(self.folder / UNFINISHED, b"")
            try:
                for name, (shape, kind) in layout.items():
                    self._file(name).unlink(missing_ok=True)  # a link there would be followed
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
        """Raise RunError for another key. An archive that has a key is made, whatever mark a killed maker has left."""
        if (self.folder / UNFINISHED).exists() and os.access(self.folder, os.W_OK):
            (self.folder / UNFINISHED).unlink(missing_ok=True)
        before = read_json(self.folder / KEY, mend=": remove its folder, it will be made again")
        if not isinstance(before, dict):
            raise RunError(f"{self.folder / KEY} is damaged: remove its folder, it will be made again")
        if changes := list(differences(before, key)):
            raise RunError(
                f"{self.what} {self.folder} was made of something else: its {'; '.join(changes[:3])}. "
                f"Name another {self.setting}, or remove that folder"
            )


def check_room(folder: Path, size: int, what: str, setting: str) -> None:
    """Raise RunError if the disk has too little room."""
    free = shutil.disk_usage(next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())).free
    if size > free:
        raise RunError(
            f"{what} {folder} needs {in_bytes(size)}, {in_bytes(free)} are free there: make room, or name another {setting}"
        )


def archive_bytes(layout: Layout) -> int:
    """Return how large arrays are."""
    return sum(int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in layout.values())


def _reserve(path: Path) -> None:
    """Take the file's room on the disk now: a full disk is to be met before the work, not in the middle of it."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
