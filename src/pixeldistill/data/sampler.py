"""Order of the images for each process. It depends only on (seed, epoch), so that training can resume at any step."""

from collections.abc import Iterator

import numpy as np

Key = tuple[int, int]  # (epoch, index of the image)


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Return the number of whole batches in an epoch. The remaining images are skipped, different ones in every epoch."""
    return images // batch_size


def micro_batches(
    images: int,
    *,
    batch_size: int,
    accumulate: int,
    seed: int,
    epochs: range,
    first_step: int = 0,
    rank: int = 0,
    world: int = 1,
) -> Iterator[list[Key]]:
    """Yield the keys of one process's micro-batches, epoch after epoch. `accumulate` micro-batches make a step.

    Args:
        images: number of images in the training split.
        batch_size: images of one step over all processes; a multiple of `accumulate * world`.
        accumulate: number of micro-batches in a step.
        seed: the run's seed.
        epochs: the remaining epochs.
        first_step: the first step in the first of these epochs.
        rank: rank of this process.
        world: number of processes that share the batch.

    >>> list(micro_batches(5, batch_size=2, accumulate=1, seed=0, epochs=range(1)))
    [[(0, 2), (0, 4)], [(0, 3), (0, 0)]]
    """
    piece = batch_size // (accumulate * world)
    for epoch in epochs:
        order = np.random.default_rng([seed, epoch]).permutation(images)
        for step in range(first_step if epoch == epochs.start else 0, steps_per_epoch(images, batch_size)):
            batch = order[step * batch_size : (step + 1) * batch_size]
            mine = batch[rank::world]
            for i in range(accumulate):
                yield [(epoch, int(index)) for index in mine[i * piece : (i + 1) * piece]]
