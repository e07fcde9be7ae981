"""Worker processes that prepare batches ahead.

A worker returns an error as an item instead of raising it, so that the user sees one line and no traceback of a worker.
Batches are sent in shared memory if there is room, otherwise through pipes: a container may have very little shared memory.
"""

import atexit
import multiprocessing
import os
import shutil
import signal
import sys
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from weakref import WeakSet

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pixeldistill.display.text import in_bytes, printable
from pixeldistill.errors import DataError, PixelDistillError, RunError
from pixeldistill.failures import LOST_WORKER, is_lost_worker
from pixeldistill.process import release_memory

T = TypeVar("T")
AHEAD = 2  # batches that a worker prepares

_at_work: "WeakSet[Any]" = WeakSet()  # iterators with worker processes


class BatchDataset(Dataset[T | PixelDistillError], ABC):
    """Dataset whose items are batches: `dataset[keys]` is a batch, or the error that prevented it."""

    @abstractmethod
    def files(self, keys: Any) -> Sequence[Path]:  # noqa: ANN401
        """Return the files of a batch, for the message of an unexpected error."""


def load(dataset: BatchDataset[T], batches: Iterable[Any], workers: int) -> Iterator[T]:
    """Iterate over `dataset[batch]` for every batch of keys, in order. Worker processes prepare the batches ahead.

    Args:
        dataset: makes the batches.
        batches: keys of the batches.
        workers: number of processes. 0 prepares the batches in this process.

    Raises:
        PixelDistillError: a batch could not be made (the first one's error is raised), or a worker was killed.
    """
    made: Any = None
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="This DataLoader will create", category=UserWarning)
            loader: DataLoader[Any] = DataLoader(
                _Guarded(dataset, shared=workers > 0),
                batch_size=None,
                sampler=batches,
                num_workers=workers,
                prefetch_factor=AHEAD if workers else None,
                collate_fn=_as_it_is,
                worker_init_fn=_init_worker,
                pin_memory=torch.cuda.is_available(),
            )
            with _apart_from_the_script():
                made = iter(loader)
        _at_work.add(made)
        for batch in made:
            if isinstance(batch, PixelDistillError):
                raise batch
            yield _unpacked(batch)
    except RuntimeError as error:
        if not is_lost_worker(error):
            raise
        raise RunError(LOST_WORKER) from error
    except (OSError, EOFError) as error:
        if made is not None:
            if _has_lost_one(made):  # the killed worker's last batch is lost
                raise RunError(LOST_WORKER) from error
            raise
        if not isinstance(error, OSError):
            raise
        # The system has no shared memory at all, or no room for another process.
        raise RunError(f"loader processes cannot be started ({error.strerror or error}): set --workers 0") from error
    finally:
        _end(made)


def _has_lost_one(made: Any) -> bool:  # noqa: ANN401
    """Return whether a worker of an iterator was killed, or is about to exit."""
    end = time.monotonic() + 1.0
    try:
        while time.monotonic() < end:
            if any(process.exitcode not in (None, 0) for process in getattr(made, "_workers", ())):
                return True
            time.sleep(0.02)
    except RuntimeError as error:  # PyTorch may raise it anywhere
        if not is_lost_worker(error):
            raise
        return True
    return False


def copied(batch: T) -> T:
    """Return a batch that owns its memory. Workers send batches in shared memory, which may be scarce."""
    owned: T = _over(batch, Tensor.clone)
    return owned


def shared_memory_notes(needed: int) -> list[str]:
    """Return advice if batches need more shared memory, in bytes, than is free. They are then sent through pipes."""
    place = Path("/dev/shm")
    free = shutil.disk_usage(place).free if place.is_dir() else needed
    if free >= needed:
        return []
    return [
        f"note: {place} has {in_bytes(free)} left, batches need up to {in_bytes(needed)}: they go through pipes, which takes "
        "longer (in Docker give it more by --shm-size)"
    ]


def default_workers() -> int:
    """Return the default number of loader processes: one less than the cores, at most four, at least one."""
    return max(1, min(4, len(os.sched_getaffinity(0)) - 1)) if hasattr(os, "sched_getaffinity") else 2


class _Guarded(Dataset[Any]):
    """Dataset that returns any error as an item, and packs tensors for the available memory."""

    def __init__(self, dataset: BatchDataset[Any], *, shared: bool) -> None:
        self.dataset, self.shared = dataset, shared

    def __getitem__(self, keys: Any) -> Any:  # noqa: ANN401
        try:
            made = self.dataset[keys]
            return _over(made, _packed) if self.shared else made
        except PixelDistillError as error:
            return error
        except Exception as error:  # an unexpected error must not stay in the worker process
            first, *rest = self.dataset.files(keys)
            which = f"{first}{f' or one of {len(rest)} others' if rest else ''}"
            return DataError(f"data: {which} could not be prepared: {printable(f'{type(error).__name__}: {error}')[:300]}")


@contextmanager
def _apart_from_the_script() -> Iterator[None]:
    """Make new processes not run the user's training script again.

    Spawned processes (macOS, Windows, newer Pythons) first import the main module, unless it has no file. Our workers need only
    this package.
    """
    main = sys.modules["__main__"]
    hidden = {name: getattr(main, name) for name in ("__file__", "__spec__") if hasattr(main, name)}
    main.__spec__ = None
    main.__dict__.pop("__file__", None)
    try:
        yield
    finally:
        for name, value in hidden.items():
            setattr(main, name, value)


class _Sent(NamedTuple):
    """Tensor as an array that is sent through a pipe. `order` is the order of its axes in memory."""

    values: NDArray[Any]
    order: list[int]


def _packed(tensor: Tensor) -> Tensor | _Sent:
    """Put a tensor into shared memory. If that is full, convert it to an array."""
    try:
        shared: Tensor = tensor.share_memory_()  # type: ignore[no-untyped-call]
        return shared
    except (RuntimeError, OSError):
        order = sorted(range(tensor.ndim), key=tensor.stride().__getitem__, reverse=True)  # channels may come last
        return _Sent(np.ascontiguousarray(tensor.permute(order).numpy()), order)


def _unpacked(batch: Any) -> Any:  # noqa: ANN401
    if isinstance(batch, _Sent):
        back = [batch.order.index(axis) for axis in range(len(batch.order))]
        return torch.from_numpy(batch.values).permute(back)
    return _parts(batch, _unpacked)


def _over(batch: Any, change: Callable[[Tensor], Any]) -> Any:  # noqa: ANN401
    """Apply a function to all tensors in a batch."""
    return change(batch) if isinstance(batch, Tensor) else _parts(batch, lambda part: _over(part, change))


def _parts(batch: Any, change: Callable[[Any], Any]) -> Any:  # noqa: ANN401
    """Apply a function to the parts of a tuple, also a named one. Return any other value unchanged."""
    if not isinstance(batch, tuple):
        return batch
    parts = [change(part) for part in batch]
    return type(batch)(*parts) if hasattr(batch, "_fields") else tuple(parts)


def _end(made: Any) -> None:  # noqa: ANN401
    """End the workers of an iterator. They ignore SIGTERM, and PyTorch would wait for them for ever."""
    if made is None:
        return
    _at_work.discard(made)
    getattr(made, "_shutdown_workers", _nothing)()
    for process in getattr(made, "_workers", ()):
        if process.is_alive():
            process.kill()
            process.join()


def _nothing() -> None:
    pass


@atexit.register
def _end_all() -> None:
    """End the workers that an unexpected error has left. The interpreter would wait for them at exit."""
    left = list(_at_work)
    if left and hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch's handler would report their end as an error
    for made in left:
        _end(made)


def _as_it_is(batch: Any) -> Any:  # noqa: ANN401
    return batch


def _init_worker(_: int) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        os._exit(1)  # it was killed meanwhile; PyTorch remembers who the parent is only after this, and would wait for ever
    release_memory()
    for asked in (signal.SIGINT, signal.SIGTERM):  # the main process handles these: it saves, then ends the workers
        signal.signal(asked, signal.SIG_IGN)


def at_once(images: int, image_size: int) -> int:
    """Return how many images at an image size need at most the memory of `images` images at size 224, but no more than `images`.

    >>> at_once(128, 112), at_once(128, 448), at_once(128, 8000)
    (128, 32, 1)
    """
    return max(1, min(images, images * 224**2 // image_size**2))
