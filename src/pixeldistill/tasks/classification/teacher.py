"""What a frozen classifier knows: measured on val before it teaches, since one that knows nothing teaches without a word."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pixeldistill.networks.heads import ordered

FEW = 20  # images, of which fewer tell nothing
FEWEST = 4  # images, from which one answer to all is no accident
UNLIKELY = 0.05  # so often chance alone would be as good
BETTER = 0.2  # by which an order of classes must be better to be told of
SHOWN = 8  # classes
EACH = 5  # images a class, from which an order that nobody has named may be looked for


def describe_classifier(name: str, logits: Tensor, labels: Sequence[int], classes: Sequence[str]) -> list[str]:
    """Return how many images a teacher classifies rightly; warn where that is chance, or another order of its classes fits.

    Args:
        name: what it is called.
        logits: what it says of images, (N, classes).
        labels: their classes.
        classes: their names, in the data's order.
    """
    truth, said = np.asarray(labels), logits.argmax(dim=1).numpy()
    right = float((truth == said).mean())
    line = f"{name}: top-1 {100 * right:.1f} % on val"
    if len(truth) >= FEWEST and len(set(truth.tolist())) > 1 and len(set(said.tolist())) == 1:
        return [f"warning: {line}, as it says {classes[said[0]]!r} of every image: it has nothing to teach; see its weights"]
    if len(truth) < FEW:
        return [line]
    fitting = max(_orders(truth, said, classes), key=lambda found: found[1], default=None)
    if fitting and fitting[1] > right + BETTER:
        order, share = fitting
        return [
            f"warning: {line}; with its classes in {order} it would be {100 * share:.1f} %: most likely its weights have them "
            "in that order; say so as class_order where the recipe names them"
        ]
    chance = float(np.bincount(truth).max() / len(truth))
    if _as_good_by_chance(right, chance, len(truth)) > UNLIKELY:
        return [
            f"warning: {line}, as good as guessing ({100 * chance:.1f} %): it has nothing to teach; see whether its weights, its "
            "mean and std, its side and its classes' order (class_order) are those that it was trained with"
        ]
    return [line]


def _as_good_by_chance(right: float, chance: float, count: int) -> float:
    """Return the probability that guessing is right as often, in so many images: the upper tail of the binomial distribution."""
    from scipy.stats import binom

    return float(binom.sf(round(right * count) - 1, count, chance))


def _orders(truth: NDArray[np.int64], said: NDArray[np.int64], classes: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Name orders in which a teacher's classes may be, with its share of right answers if they are."""
    for name in ("natural", "alphabetical"):
        theirs = ordered(classes, name)
        rows = np.array([classes.index(label) for label in theirs])  # the data's class that each row would be
        if list(theirs) != list(classes):
            yield f"{name} order ({', '.join(theirs[:4])}, …)", float((rows[said] == truth).mean())
    if len(truth) >= EACH * len(classes):
        from scipy.optimize import linear_sum_assignment

        counts = np.zeros((len(classes), len(classes)), np.int64)
        np.add.at(counts, (said, truth), 1)
        rows, columns = linear_sum_assignment(counts, maximize=True)
        best = [classes[column] for column in columns]  # the rows come in order
        named = f"[{', '.join(best[:SHOWN])}{', …' if len(best) > SHOWN else ''}]"
        yield f"the order {named}", float(counts[rows, columns].sum() / len(truth))
