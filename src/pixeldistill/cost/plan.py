"""Planning: the pairs of network and camera that a deployment can afford. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pixeldistill.cost.costs import Costs, write_quantity
from pixeldistill.errors import RecipeError
from pixeldistill.recipe.budget import AXES

NEAR = 0.25


@dataclass(frozen=True)
class Excess:
    """Excess of a pair over a limit. `share` is 0.1 if it costs a tenth too much."""

    axis: str
    value: float
    limit: float

    @property
    def share(self) -> float:
        """Excess as a share of the limit."""
        return self.value / self.limit - 1

    def __str__(self) -> str:
        over = f"{self.share:.{0 if self.share > 0.1 else 1}%} over" if self.share < 9 else f"{self.share + 1:.3g} times"
        value, limit = (write_quantity(self.axis, number) for number in (self.value, self.limit))
        return f"{AXES[self.axis].title} {value}, {over} {limit}"


@dataclass(frozen=True)
class Plan:
    """Result of planning with a budget.

    fitting: pairs within every limit that no other pair dominates. dominated: pairs within every limit, each with a pair that
    dominates it. near: pairs that exceed a limit by little, the nearest first, with their largest excess. far: all other pairs.
    budget: the limits.
    """

    fitting: tuple[Costs, ...]
    dominated: tuple[tuple[Costs, Costs], ...]
    near: tuple[tuple[Costs, Excess], ...]
    far: tuple[tuple[Costs, Excess], ...]
    budget: Mapping[str, float]


def plan(costs: Sequence[Costs], budget: Mapping[str, float], near: float = NEAR) -> Plan:
    """Sort pairs of network and camera by the costs that a deployment can afford.

    Args:
        costs: costs of all pairs.
        budget: the largest value of each limited axis, in base units.
        near: a pair counts as near if its excess is at most this share of the limit.

    Raises:
        RecipeError: no pair fits (the message names the nearest one and its excess), or a limited axis was not measured.
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
            raise RecipeError("there is no pair of network and image size to plan with")
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


_FIX = {  # a file of costs holds only what was measured with `cost`
    "bytes": ": measure with --images or --recipe",
    "bitrate": ": measure with --images and --fps",
    "latency": ": measure with --latency",
}


def worst_excess(cost: Costs, budget: Mapping[str, float]) -> Excess | None:
    """Return the excess over the limit that a pair misses by the largest share, or None if it misses none."""
    excesses = [Excess(axis, getattr(cost, axis), limit) for axis, limit in budget.items() if getattr(cost, axis) > limit]
    return max(excesses, key=lambda excess: excess.share, default=None)


def dominates(one: Costs, other: Costs, limited: set[str]) -> bool:
    """Return whether one pair makes another pointless: it offers as much, costs as little, and is better in one respect.

    A pair offers image size, codec quality and parameters. It costs what was measured. If the budget limits parameters, they are
    a cost instead. Only pairs of one family, with the same settings and kind of camera, are compared. We assume that more
    pixels and more parameters within a family do no harm. This was not measured. Source: ours.

    Args:
        one: a pair.
        other: another pair.
        limited: axes that the budget limits.
    """
    if (family(one.network), one.built, one.kind) != (family(other.network), other.built, other.kind):
        return False  # costs do not show which of two families, or of two codecs, is better
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
    """Return a network's family: its name up to the first number that is neither a version nor a patch size.

    A larger patch costs less and has more parameters, but is not better. So the patch size stays in the family's name.

    >>> family("resnet18"), family("tf_efficientnet_lite0"), family("mobilenetv3_small_100"), family("vit_tiny_patch16_224")
    ('resnet', 'tf_efficientnet_lite', 'mobilenetv3_small', 'vit_tiny_patch16')
    """
    return re.split(r"_?(?<!v)(?<!patch)(?<!patch\d)\d", network, maxsplit=1)[0]
