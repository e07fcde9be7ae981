"""Arrays on disk that are computed once, block by block, and then only read: the image cache and the teacher cache.

An archive is a folder of `.npy` files (never unpickled), a `key.json` that identifies their content, and one byte for every
finished block. A kill at any moment loses only the blocks in progress. Several processes of one machine fill it together.
Processes of other machines may not see new data at once, so they wait until it is complete.

Files are read and written in pieces, not mapped into memory. So a file that is cut short during use raises an error, instead of
a signal that ends the process, or zeros.
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
UNFINISHED = "unfinished"  # the folder is ours, but its key is not written yet

Layout = Mapping[str, tuple[tuple[int, ...], type[np.generic]]]  # shape and type of each array


class Column:
    """An array in a file. Its rows, along the first axis, are read and written in pieces.

    Args:
        path: path of the `.npy` file. A link is not followed.
        what: name of the file's owner in errors.
        keep: whether the file stays open after the first read. If there are many files, each is opened for every read.

    Raises:
        RunError: the file is not a valid array, or shorter than it states.
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
        """Declare that nobody writes to the file any more. Later changes are errors."""
        self._frozen = self._found

    @property
    def row(self) -> int:
        """Number of bytes in a row."""
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.kind.itemsize

    def read(self, start: int, count: int) -> NDArray[Any]:
        """Return consecutive rows, read-only. Raise RunError if the file was changed meanwhile."""
        return self._read([(start, count)])[0]

    def rows(self, indices: Sequence[int]) -> NDArray[Any]:
        """Return single rows, stacked."""
        return np.concatenate(self._read([(int(index), 1) for index in indices]))

    def write(self, start: int, values: NDArray[Any]) -> None:
        """Write rows from a position on. They are on the disk when this returns."""
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
        """Return the state for pickling without the open file, so that a process that is not forked opens it itself."""
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
        folder: folder of the arrays.
        what: name of the archive for the user ("image cache"), and the recipe's setting of its folder.
        key: everything that determines the arrays' content. A folder with another key is refused.
        layout: shapes and types of the arrays.
        blocks: number of pieces that the work is divided into.
        create: whether to create it if it is missing. Of several processes the first does, and the others open it afterwards.
        keep: whether its files stay open, see `Column`.

    Attributes:
        complete: whether all blocks were filled when it was opened. A complete archive is only read.

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
        """Files of its arrays."""
        return [column.path for name, column in self.columns.items() if name != FILLED]

    def missing(self) -> list[int]:
        """List the blocks that are not filled yet."""
        filled = self.columns[FILLED]
        return [int(block) for block in np.flatnonzero(filled.read(0, filled.shape[0]) == 0)]

    def finish(self, block: int) -> None:
        """Record that a block is filled. Its content is written to the disk first."""
        self.columns[FILLED].write(block, np.ones(1, np.uint8))

    def require_complete(self) -> None:
        """Raise RunError if a part of the archive is missing."""
        if left := self.missing():
            raise RunError(f"{self.what} {self.folder} lacks {len(left)} blocks: give the same command again")

    def _create(self, key: dict[str, Any], layout: Layout) -> None:
        """Create the empty arrays. The key is written last, so that an archive without a key is created again."""
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
                    self._file(name).unlink(missing_ok=True)  # a link would be followed
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
        """Raise RunError if the key differs. Remove the mark that a killed process has left, because the key is written last."""
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
    """Return the size of the arrays in bytes."""
    return sum(int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in layout.values())


def _reserve(path: Path) -> None:
    """Reserve the file's room on the disk now, so that a full disk is found before the work."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
