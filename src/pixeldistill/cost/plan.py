"""Which pairs of network and camera a deployment can pay. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pixeldistill.cost.costs import Costs, write_quantity
from pixeldistill.errors import RecipeError
from pixeldistill.recipe.budget import AXES

NEAR = 0.25


@dataclass(frozen=True)
class Excess:
    """By how much a pair misses a limit: `share` is 0.1 where it costs a tenth too much."""

    axis: str
    value: float
    limit: float

    @property
    def share(self) -> float:
        """See above."""
        return self.value / self.limit - 1

    def __str__(self) -> str:
        over = f"{self.share:.{0 if self.share > 0.1 else 1}%} over" if self.share < 9 else f"{self.share + 1:.3g} times"
        value, limit = (write_quantity(self.axis, number) for number in (self.value, self.limit))
        return f"{AXES[self.axis].title} {value}, {over} {limit}"


@dataclass(frozen=True)
class Plan:
    """What a budget allows.

    fitting: pairs within every limit that nothing dominates. dominated: pairs within every limit, and by which other. near: pairs
    that miss a limit by little, the nearest first, and their largest excess. far: all others. budget: the limits.
    """

    fitting: tuple[Costs, ...]
    dominated: tuple[tuple[Costs, Costs], ...]
    near: tuple[tuple[Costs, Excess], ...]
    far: tuple[tuple[Costs, Excess], ...]
    budget: Mapping[str, float]


def plan(costs: Sequence[Costs], budget: Mapping[str, float], near: float = NEAR) -> Plan:
    """Sort pairs of network and camera by what a deployment can pay.

    Args:
        costs: of all pairs.
        budget: the largest value of each axis that is limited, in base units.
        near: how far over a limit still counts as near, as a share of it.

    Raises:
        RecipeError: no pair fits: says which is the nearest and what it misses; or a limited axis was not measured.
    """
    for axis in budget:
        if any(getattr(cost, axis) is None for cost in costs):
            raise RecipeError(f"budget: {AXES[axis].title} ({axis}) was not measured{_FIX.get(axis, '')}")
    fits: list[Costs] = []
    missed: list[tuple[Costs, Excess]] = []
    for cost in costs:
        excess = worst_excess(cost, budget)
        if excess is None:
            fits.append(cost)
        else:
            missed.append((cost, excess))
    missed.sort(key=lambda pair: pair[1].share)
    if not fits:
        if not missed:
            raise RecipeError("there is no pair of network and side to plan with")
        cost, excess = missed[0]
        raise RecipeError(f"nothing fits the budget; the nearest is {cost.label}: {excess}")
    limited = set(budget)
    beaten: list[tuple[Costs, Costs]] = []
    for cost in fits:
        better = next((other for other in fits if dominates(other, cost, limited)), None)
        if better:
            beaten.append((cost, better))
    lost = {id(cost) for cost, _ in beaten}
    return Plan(
        tuple(cost for cost in fits if id(cost) not in lost),
        tuple(beaten),
        tuple(pair for pair in missed if pair[1].share <= near),
        tuple(pair for pair in missed if pair[1].share > near),
        budget,
    )


_FIX = {  # a file of costs has what `cost` was asked for
    "bytes": ": measure with --images or --recipe",
    "bitrate": ": measure with --images and --fps",
    "latency": ": measure with --latency",
}


def worst_excess(cost: Costs, budget: Mapping[str, float]) -> Excess | None:
    """Return the limit that a pair misses by the largest share, or None where it misses none."""
    excesses = [Excess(axis, getattr(cost, axis), limit) for axis, limit in budget.items() if getattr(cost, axis) > limit]
    return max(excesses, key=lambda excess: excess.share, default=None)


def dominates(one: Costs, other: Costs, limited: set[str]) -> bool:
    """Return whether one pair is at least as good as another in every respect, and costs no more.

    The first is of the same family and built likewise, sees as many pixels through the same camera, sent no worse, has as many
    parameters, and costs no more in anything that was measured; and it is better in one of these. That more pixels and
    parameters of a family do no harm is an expectation, not a measurement. Source: ours. Parameters are what a network works
    with, unless the budget limits them: then they are a cost.

    Args:
        one: a pair.
        other: another.
        limited: the axes that the budget limits.
    """
    if (family(one.network), one.built, one.kind) != (family(other.network), other.built, other.kind):
        return False  # which of two families, or of two codecs, is the better cannot be told from their costs
    gives = [(one.image_size, other.image_size), (one.quality, other.quality)]
    takes = [
        (getattr(one, axis), getattr(other, axis)) for axis in AXES if axis not in ("params", "pixels") or axis in limited
    ]  # fmt: skip
    if "params" not in limited:
        gives.append((one.params, other.params))
    takes = [pair for pair in takes if None not in pair]
    no_worse = all(a >= b for a, b in gives) and all(a <= b for a, b in takes)
    return no_worse and (any(a > b for a, b in gives) or any(a < b for a, b in takes))


def family(network: str) -> str:
    """Name a network's family: its name up to the first figure that is no version and no patch's size.

    Of two patches the larger costs less and has more parameters, and is not the better for it.

    >>> family("resnet18"), family("tf_efficientnet_lite0"), family("mobilenetv3_small_100"), family("vit_tiny_patch16_224")
    ('resnet', 'tf_efficientnet_lite', 'mobilenetv3_small', 'vit_tiny_patch16')
    """
    return re.split(r"_?(?<!v)(?<!patch)(?<!patch\d)\d", network, maxsplit=1)[0]
