"""Check of a frozen classifier on val before it teaches, because an untrained teacher would give no error."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pixeldistill.networks.heads import ordered

FEW = 20  # fewer images show nothing
FEWEST = 4  # from this number of images on, the same prediction for all is no accident
UNLIKELY = 0.05  # probability above which the result may be chance
BETTER = 0.2  # gain in accuracy from which another order of classes is reported
SHOWN = 8  # classes
EACH = 5  # images a class, from which an unknown order is searched for


def describe_classifier(name: str, logits: Tensor, labels: Sequence[int], classes: Sequence[str]) -> list[str]:
    """Return a line with a teacher's accuracy. Warn if it is at chance level, or if another order of its classes fits.

    Args:
        name: name of the teacher.
        logits: its logits for images, (N, classes).
        labels: classes of the images.
        classes: names of the classes, in the data's order.
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
            "mean and std, its image size and its classes' order (class_order) are those that it was trained with"
        ]
    return [line]


def _as_good_by_chance(right: float, chance: float, count: int) -> float:
    """Return the probability that guessing `count` images is right at least as often: the binomial distribution's upper tail."""
    from scipy.stats import binom

    return float(binom.sf(round(right * count) - 1, count, chance))


def _orders(truth: NDArray[np.int64], said: NDArray[np.int64], classes: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Yield possible orders of a teacher's classes, with its accuracy in each."""
    for name in ("natural", "alphabetical"):
        theirs = ordered(classes, name)
        rows = np.array([classes.index(label) for label in theirs])  # data's class of each row in this order
        if list(theirs) != list(classes):
            yield f"{name} order ({', '.join(theirs[:4])}, …)", float((rows[said] == truth).mean())
    if len(truth) >= EACH * len(classes):
        from scipy.optimize import linear_sum_assignment

        counts = np.zeros((len(classes), len(classes)), np.int64)
        np.add.at(counts, (said, truth), 1)
        rows, columns = linear_sum_assignment(counts, maximize=True)
        best = [classes[column] for column in columns]  # rows are returned in order
        named = f"[{', '.join(best[:SHOWN])}{', …' if len(best) > SHOWN else ''}]"
        yield f"the order {named}", float(counts[rows, columns].sum() / len(truth))
