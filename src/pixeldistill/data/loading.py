"""Worker processes that prepare batches ahead.

A worker hands an error over as an item rather than raising it, so that the user sees its one line and not a worker's traceback.
"""

import os
import signal
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from pixeldistill.errors import PixelDistillError
from pixeldistill.process import release_memory

T = TypeVar("T")


def load(dataset: Dataset[T | PixelDistillError], batches: Iterable[Any], workers: int) -> Iterator[T]:
    """Iterate over `dataset[batch]` for every batch of keys, prepared ahead by worker processes, in order.

    Raises:
        PixelDistillError: that of the first batch that could not be made.
    """
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_size=None,
        sampler=batches,
        num_workers=workers,
        collate_fn=_as_it_is,
        worker_init_fn=_init_worker,
        pin_memory=torch.cuda.is_available(),
    )
    for batch in loader:
        if isinstance(batch, PixelDistillError):
            raise batch
        yield batch


def default_workers() -> int:
    """Loader processes where the user names none: the cores but one, four at most, at least one."""
    return max(1, min(4, len(os.sched_getaffinity(0)) - 1)) if hasattr(os, "sched_getaffinity") else 2


def _as_it_is(batch: Any) -> Any:  # noqa: ANN401
    return batch


def _init_worker(_: int) -> None:
    release_memory()
    for asked in (signal.SIGINT, signal.SIGTERM):  # the main process's to answer: it saves, then ends us
        signal.signal(asked, signal.SIG_IGN)
