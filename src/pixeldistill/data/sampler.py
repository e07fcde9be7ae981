"""Which images a process sees, in which order: a function of (seed, epoch) alone, so that any step can be gone back to."""

from collections.abc import Iterator

import numpy as np

Key = tuple[int, int]  # (epoch, index of the image)


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Whole batches in an epoch: what is left over is passed over, other images in every epoch."""
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
    """Yield the keys of one process's micro-batches, epoch after epoch: `accumulate` of them make a step.

    Args:
        images: how many the training split has.
        batch_size: images of one step over all processes; a multiple of `accumulate * world`.
        accumulate: micro-batches of a step.
        seed: the run's seed.
        epochs: the epochs still to do.
        first_step: the step at which the first of them goes on.
        rank: of this process.
        world: how many processes share the batch.

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
