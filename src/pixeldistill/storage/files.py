"""Files: a crash at any moment leaves the old one or the new one, and a damaged one is a line to the user."""

import errno
import glob
import hashlib
import json
import os
import platform
import secrets
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pixeldistill.display.text import in_bytes, printable, shown
from pixeldistill.errors import PixelDistillError, RunError

LARGEST = 2**30  # bytes of a file that is read as text: COCO's largest has 0.45 GB
PARTIAL = ".partial"  # how the name of a file ends that is being written
LONGEST = 60  # characters of a file's name that the name of its draft begins with
DAY = 86_400.0
_drafts: set[str] = set()  # of this process, under way


def write_file(path: Path, content: bytes | str) -> None:
    """Replace a file as a whole. A link in its place is replaced, not followed; who may read it, the user's umask says.

    Raises:
        RunError: the disk is full or the folder cannot be written; what stood there before still does.
    """
    data = content.encode() if isinstance(content, str) else content
    name = f".{path.name[:LONGEST]}"
    draft = path.with_name(f"{name}.{_host()}-{os.getpid()}-{secrets.token_hex(4)}{PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_litter(path.parent.glob(f"{glob.escape(name)}.*{PARTIAL}"))
        _drafts.add(draft.name)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        mend = "make room and give the same command again" if full else "choose a folder that can be written"
        raise RunError(f"{path} could not be written ({error.strerror}): what was saved before is intact; {mend}") from error
    finally:
        draft.unlink(missing_ok=True)
        _drafts.discard(draft.name)


def write_json(path: Path, content: Any) -> None:  # noqa: ANN401
    """Replace a JSON file as a whole."""
    write_file(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def remove_litter(paths: Iterable[Path], *, held: bool = False) -> None:
    """Remove what processes have left that were killed while they wrote: of this machine, or a day old.

    Args:
        paths: files that end in `PARTIAL`.
        held: whether the folder is `locked`, so that no other machine is writing.
    """
    for path in paths:
        host, _, rest = path.name.removesuffix(PARTIAL).rpartition(".")[2].partition("-")
        process = rest.partition("-")[0]
        try:
            left = held
            if host == _host() and process.isdigit():
                own = int(process) == os.getpid()
                left = path.name not in _drafts if own else not _alive(int(process))
            if left or time.time() - path.lstat().st_mtime > DAY:
                path.unlink(missing_ok=True)
        except OSError:  # another process was faster, or may do what this one may not
            continue


def _host() -> str:
    """Name this machine in a file's name."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _alive(process: int) -> bool:
    if os.name == "nt":  # where the signal 0 would end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def check_regular(path: Path, error: type[PixelDistillError] = RunError, prefix: str = "") -> None:
    """Raise if a path is neither a file nor missing: opening a pipe would take for ever, and so would reading a device."""
    try:
        kind = path.stat().st_mode
    except (OSError, ValueError):  # whoever opens it says why
        return
    if not stat.S_ISREG(kind):
        raise error(f"{prefix}{path} is {'a folder' if stat.S_ISDIR(kind) else 'no regular file'}: name a file")


def read_text(path: Path, error: type[PixelDistillError] = RunError, prefix: str = "", largest: int = LARGEST) -> str:
    """Read a file of text, UTF-8 with or without a mark.

    Args:
        path: of the file.
        error: what is raised where it cannot be read.
        prefix: of the error's message.
        largest: a file of more bytes is refused.
    """
    try:
        return read_content(path, error, prefix, largest).decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        raise error(f"{prefix}{path} is not UTF-8 text: save it as UTF-8") from failure


def read_content(path: Path, error: type[PixelDistillError], prefix: str = "", largest: int = LARGEST) -> bytes:
    """Read a whole file; see `read_text`."""
    check_regular(path, error, prefix)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            content = file.read() if size <= largest else b""
    except OSError as failure:
        raise error(f"{prefix}{path} cannot be read: {failure.strerror or failure}") from failure
    except ValueError as failure:  # a name that the system does not take
        raise error(f"{prefix}{shown(str(path))} cannot be read: {failure}") from failure
    if size > largest:
        raise error(f"{prefix}{path} has {in_bytes(size)}, more than {in_bytes(largest)}: this is no such file")
    return content


def read_json(path: Path, error: type[PixelDistillError] = RunError, prefix: str = "", mend: str = "") -> Any:  # noqa: ANN401
    """Read a JSON file; see `read_text`. `mend` says what to do about one that is damaged."""
    try:
        return json.loads(read_text(path, error, prefix))
    except RecursionError as failure:
        raise error(f"{prefix}{path} is not JSON that can be read: it is nested too deeply{mend}") from failure
    except ValueError as failure:
        raise error(f"{prefix}{path} is not JSON: {printable(str(failure))[:120]}{mend}") from failure


class WatchedFolder:
    """A folder as it was found: nothing is written into it once it has been moved, deleted or replaced."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._identity = folder, _identity(folder)

    def check(self) -> None:
        """Raise RunError if the folder is not the one that was found at first."""
        if self._identity is None or _identity(self.folder) != self._identity:
            raise RunError(
                f"{self.folder} was moved or deleted while it was used: what was saved in it before is as it was; put it back "
                "and give the same command again"
            )


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def locked(folder: Path, busy: str | None, name: str = ".lock") -> Iterator[None]:
    """Hold a folder for this process; the lock goes with the process, however it ends.

    Args:
        folder: made, if need be.
        busy: what to say when another process holds it; None waits for that one.
        name: of the file in it that is locked.

    Raises:
        RunError: another process holds it, or it cannot be made.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / name).is_symlink():
            raise RunError(f"{folder / name} is a link, and what it points to would be written: remove it")
        lock.acquire(timeout=-1 if busy is None else 0)
    except Timeout as error:
        raise RunError(str(busy)) from error
    except OSError as error:
        raise RunError(f"folder {folder} cannot be written: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def differences(before: Any, after: Any, place: str = "") -> Iterator[str]:  # noqa: ANN401
    """Name every setting that differs between two contents of a JSON file.

    >>> list(differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2}))
    ['a.b was 1, is 3']
    """
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from differences(before.get(key), after.get(key), f"{place}.{key}" if place else str(key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for i, (a, b) in enumerate(zip(before, after, strict=True)):
            yield from differences(a, b, f"{place}.{i}")
    elif before != after:
        yield f"{place} was {_in_json(before)}, is {_in_json(after)}"


def _in_json(value: Any, most: int = 60) -> str:  # noqa: ANN401
    text = printable(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= most else f"{text[:most]}…"
