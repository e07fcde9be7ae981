"""Checks of a chain: whether each of its stages can be trained after the ones before it."""

from collections.abc import Mapping, Sequence

from pixeldistill.errors import RecipeError, nearest
from pixeldistill.recipe.base import StageRef
from pixeldistill.recipe.losses import name_terms
from pixeldistill.recipe.network import Network
from pixeldistill.recipe.recipe import Recipe
from pixeldistill.recipe.stage import StageEntry


def trained(teacher: str | Network, earlier: Mapping[str, StageEntry]) -> Network:
    """Return a teacher as a network. An earlier stage's has that stage's last weights."""
    if isinstance(teacher, Network):
        return teacher
    return earlier[teacher].student.model_copy(update={"weights": StageRef(teacher)})


def check_costs(written: Sequence[StageEntry]) -> None:
    """Raise RecipeError if `match_compute_of` names an unknown stage or forms a cycle."""
    wanted = {entry.name: entry.match_compute_of for entry in written}
    for name in wanted:
        way = [name]
        while (other := wanted[way[-1]]) is not None:
            if other not in wanted:
                raise RecipeError(f"stage {way[-1]}: match_compute_of {other!r} is no stage, {nearest(other, wanted)}")
            if other in way:
                raise RecipeError(f"stage {name}: match_compute_of goes in a circle, {' → '.join([*way, other])}")
            way.append(other)


def check_stage(entry: StageEntry, earlier: dict[str, StageEntry], recipe: Recipe) -> None:
    """Raise RecipeError if a stage cannot be trained after the earlier ones."""
    place = f"stage {entry.name}"
    for name in entry.sources:
        if name not in earlier:
            others = f"{nearest(name, earlier)}" if earlier else "it is the first"
            raise RecipeError(f"{place} starts from stage {name!r}, which no stage before it is called: {others}")
    start = entry.student.weights
    if isinstance(start, StageRef) and earlier[start.name].student.network != entry.student.network:
        raise RecipeError(
            f"{place}: its {entry.student.network} cannot start from the weights of stage {start.name}, which is a "
            f"{earlier[start.name].student.network}"
        )
    teachers = [trained(teacher, earlier) for teacher in entry.teachers]
    _check_teachers(place, entry, teachers, recipe)
    for network in (entry.student, *teachers):
        try:
            recipe.rules.check_network(network)
        except ValueError as error:
            raise RecipeError(f"{place}: {error}") from None
    if entry.student.class_order:
        raise RecipeError(f"{place}: class_order is that of a trained teacher's weights, and this is a student: leave it out")
    _check_terms(place, entry, recipe, taught=bool(teachers))
    epochs = (entry.schedule or recipe.schedule).epochs
    for name, term in name_terms(entry.terms).items():
        if term.warmup_epochs + term.cooldown_epochs > epochs:
            raise RecipeError(f"{place}: term {name} rises and falls over more than the stage's {epochs} epochs")


def _check_teachers(place: str, entry: StageEntry, teachers: Sequence[Network], recipe: Recipe) -> None:
    """Raise RecipeError if a stage's teachers are untrained, read smaller images, or cannot be averaged."""
    if entry.other_teachers and not entry.teacher:
        raise RecipeError(f"{place}: `other_teachers` help a `teacher`, and it has none: name the first one so")
    if entry.other_teachers and not recipe.rules.averages_teachers:
        raise RecipeError(f"{place}: `other_teachers` average what classifiers say: leave them out for {recipe.task}")
    for teacher in teachers:
        if entry.student.image_size > teacher.image_size:
            raise RecipeError(
                f"{place}: its student reads {entry.student.image_size} pixels, its teacher {teacher.image_size}: "
                "pixel distillation goes from large images to small ones"
            )
        if teacher.weights in ("none", "pretrained"):
            raise RecipeError(
                f"{place}: its teacher is not trained (weights: {teacher.weights}): give the weights of a trained network, or "
                "name the stage that trains it"
            )


def _check_terms(place: str, entry: StageEntry, recipe: Recipe, *, taught: bool) -> None:
    """Raise RecipeError if a stage's terms belong to another task, train no prediction, or lack a teacher or hard labels."""
    losses, terms = recipe.rules.losses, entry.terms
    if foreign := next((term for term in terms if term.kind not in losses), None):
        raise RecipeError(f"{place}: term {foreign.kind} is one of {' and '.join(foreign.computed_by)}: leave it out")
    if not recipe.rules.trains_prediction(terms):
        teachers = [kind for kind, loss in losses.items() if recipe.rules.is_trained_by(loss)]
        raise RecipeError(f"{place}: no term trains the prediction: add {' or '.join(teachers)}")
    if not taught and (needy := next((term.kind for term in terms if term.needs_teacher), None)):
        raise RecipeError(f"{place}: term {needy} compares the student with a teacher: add `teacher`")
    mixes = (entry.augmentation or recipe.augmentation).mixes
    if mixes and (exact := next((term.kind for term in terms if term.needs_hard_labels), None)):
        raise RecipeError(
            f"{place}: {exact} tells the true class from the others, and augmentation.{mixes} leaves no true class: remove one"
        )
