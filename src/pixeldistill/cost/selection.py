"""Selection of the students that fit a recipe's budget, from its candidates."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from pixeldistill.cost.costs import Costs
from pixeldistill.cost.measure import Unavailable, measure_costs, network_names
from pixeldistill.cost.plan import Plan, plan
from pixeldistill.data.splits import Sample
from pixeldistill.errors import NetworkError
from pixeldistill.recipe.camera import Camera
from pixeldistill.recipe.load import parse_recipe, told
from pixeldistill.recipe.network import AUTO, Student
from pixeldistill.recipe.recipe import Recipe
from pixeldistill.recipe.search import Candidates
from pixeldistill.recipe.tasks import DEFAULT_TASK

_CHOICE = {"candidates", "budget", "halving", "student", "students"}


class Selection(NamedTuple):
    """Result of planning: the plan, the students that fit with their costs, and the pairs that cannot be built."""

    plan: Plan
    students: list[tuple[Student, Costs]]
    refused: list[Unavailable]


class Listed(NamedTuple):
    """A candidate, and whether its network was given by name and not by a glob."""

    student: Student
    named: bool


def list_students(candidates: Candidates, camera: Camera, recipe: Recipe | None = None) -> list[Listed]:
    """Return every combination of the candidates as a student, of a recipe's task or else the default one.

    Raises:
        NetworkError: an unknown name.
    """
    cameras, strides = candidates.cameras or (camera,), candidates.stem_strides or (None,)
    names = network_names(candidates.networks, pretrained=candidates.weights in (AUTO, "pretrained"))
    found = []
    for (name, named), image_size, stride, own in product(names.items(), candidates.image_sizes, strides, cameras):
        stem = f"-stem{stride}" if len(strides) > 1 else ""
        sent = f"-{own.words.replace(', ', '-').replace(' ', '')}" if len(cameras) > 1 else ""
        student = Student(
            network=name, image_size=image_size, weights=candidates.weights, patch_size=candidates.patch_size,
            options=candidates.options, stem_stride=stride, camera=own,
            name=f"{name.rsplit('/', maxsplit=1)[-1]}-{image_size}{stem}{sent}",
        )  # fmt: skip
        found.append(Listed(recipe.rules.complete(student, recipe) if recipe else student.of_task(DEFAULT_TASK), named))
    return found


def own_students(recipe: Recipe) -> list[Listed]:
    """Return the students that a recipe names, with all settings filled in."""
    students = [s.model_copy(update={"camera": s.camera or recipe.camera}) for s in recipe.all_students]
    return [Listed(recipe.rules.complete(s, recipe), named=True) for s in students]


def cost_of(
    listed: Sequence[Listed], classes: int, samples: Sequence[Sample], **options: Any  # noqa: ANN401
) -> tuple[list[tuple[Student, Costs]], list[Unavailable]]:  # fmt: skip
    """Measure the costs of students. See `measure.measure_costs`.

    Raises:
        NetworkError: a network that was given by name cannot be built at any image size, or no network can be built.
    """
    costs, refused = measure_costs([student for student, _ in listed], classes, samples, **options)
    kept = [(student, cost) for (student, _), cost in zip(listed, costs, strict=True) if cost]
    served = {student.network for student, _ in kept}
    for student, named in listed:
        if named and student.network not in served:
            raise NetworkError(next(r.reason for r in refused if r.network == student.network))
    if not kept:
        raise NetworkError(
            f"none of the {len(listed)} candidates can be built; the first: {refused[0].reason}; change `networks` or "
            "`image_sizes`"
        )
    return kept, refused


def select_students(
    costed: Sequence[tuple[Student, Costs]], refused: list[Unavailable], budget: dict[str, float], near: float
) -> Selection:
    """Plan with measured students."""
    by_costs = {id(cost): student for student, cost in costed}
    found = plan([cost for _, cost in costed], budget, near)
    return Selection(found, [(by_costs[id(cost)], cost) for cost in found.fitting], refused)


def recipe_of(recipe: Recipe, student: Student) -> dict[str, Any]:
    """Return the content of the recipe that trains one of a recipe's candidates."""
    content = _without_choice(recipe) | {"student": _nameless(student), "run": str(Path(f"{recipe.run}-{student.label}"))}
    parse_recipe(content)
    return content


def with_students(recipe: Recipe, students: Sequence[Student]) -> Recipe:
    """Return the recipe that trains several of its candidates."""
    return parse_recipe(_without_choice(recipe) | {"students": [told(student) for student in students]})


def _without_choice(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json", exclude_unset=True, exclude=_CHOICE)


def _nameless(student: Student) -> dict[str, Any]:
    return {key: value for key, value in told(student).items() if key != "name"}
