"""Writing and reading files. A crash leaves the old or the new file, and a damaged file gives a one-line error."""

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

LARGEST = 2**30  # bytes of a text file: COCO's largest has 0.45 GB
PARTIAL = ".partial"  # suffix of a file that is being written
LONGEST = 60  # characters of a file's name that its draft's name begins with
DAY = 86_400.0
_drafts: set[str] = set()  # drafts that this process is writing


def write_file(path: Path, content: bytes | str) -> None:
    """Replace a whole file. A link in its place is replaced, not followed. The user's umask sets the permissions.

    Raises:
        RunError: the disk is full or the folder cannot be written. The old file is unchanged then.
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
    """Replace a whole JSON file."""
    write_file(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def remove_litter(paths: Iterable[Path], *, held: bool = False) -> None:
    """Remove drafts of processes that were killed while writing: those of this machine, and those a day old.

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
        except OSError:  # another process was faster, or has other permissions
            continue


def _host() -> str:
    """Return this machine's name for use in a file's name."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _alive(process: int) -> bool:
    if os.name == "nt":  # on Windows, the signal 0 would end the process
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def check_regular(path: Path, error: type[PixelDistillError] = RunError, prefix: str = "") -> None:
    """Raise if a path exists but is no regular file: opening a pipe or reading a device would never end."""
    try:
        kind = path.stat().st_mode
    except (OSError, ValueError):  # the code that opens the file reports the reason
        return
    if not stat.S_ISREG(kind):
        raise error(f"{prefix}{path} is {'a folder' if stat.S_ISDIR(kind) else 'no regular file'}: name a file")


def read_text(path: Path, error: type[PixelDistillError] = RunError, prefix: str = "", largest: int = LARGEST) -> str:
    """Read a text file, UTF-8 with or without a byte order mark.

    Args:
        path: path of the file.
        error: error to raise if it cannot be read.
        prefix: start of the error's message.
        largest: a file of more bytes is refused.
    """
    try:
        return read_content(path, error, prefix, largest).decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        raise error(f"{prefix}{path} is not UTF-8 text: save it as UTF-8") from failure


def read_content(path: Path, error: type[PixelDistillError], prefix: str = "", largest: int = LARGEST) -> bytes:
    """Read a whole file. See `read_text`."""
    check_regular(path, error, prefix)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            content = file.read() if size <= largest else b""
    except OSError as failure:
        raise error(f"{prefix}{path} cannot be read: {failure.strerror or failure}") from failure
    except ValueError as failure:  # a name that the system does not accept
        raise error(f"{prefix}{shown(str(path))} cannot be read: {failure}") from failure
    if size > largest:
        raise error(f"{prefix}{path} has {in_bytes(size)}, more than {in_bytes(largest)}: this is no such file")
    return content


def read_json(path: Path, error: type[PixelDistillError] = RunError, prefix: str = "", mend: str = "") -> Any:  # noqa: ANN401
    """Read a JSON file. See `read_text`. `mend` is the advice for a damaged file."""
    try:
        return json.loads(read_text(path, error, prefix))
    except RecursionError as failure:
        raise error(f"{prefix}{path} is not JSON that can be read: it is nested too deeply{mend}") from failure
    except ValueError as failure:
        raise error(f"{prefix}{path} is not JSON: {printable(str(failure))[:120]}{mend}") from failure


class WatchedFolder:
    """A folder in its first state. Nothing is written into it after it has been moved, deleted or replaced."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._identity = folder, _identity(folder)

    def check(self) -> None:
        """Raise RunError if the folder is not the original one any more."""
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
    """Lock a folder for this process. The lock ends with the process in every case.

    Args:
        folder: folder to lock. It is created if needed.
        busy: message if another process holds the lock. None waits for that process.
        name: name of the file in the folder that is locked.

    Raises:
        RunError: another process holds the lock, or it cannot be created.
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
    """List every setting that differs between two contents of a JSON file.

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
