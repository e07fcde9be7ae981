"""The middle of a two-stage chain: which assistants a recipe's students need, and what a detector among them is like (AFP)."""

from typing import TypeVar

from pydantic import ValidationError

from pixeldistill.detectors import MAX_LEVEL, MIN_LEVEL, DetectorSettings
from pixeldistill.errors import RecipeError
from pixeldistill.losses import SupervisedTerm, Term
from pixeldistill.methods import ASSISTANT_TERMS
from pixeldistill.networks.pyramid import assistant_levels, exposed_levels, size_shift
from pixeldistill.recipe import ASSISTANT, Assistant, Network, Recipe, StageEntry, Student

NetworkT = TypeVar("NetworkT", bound=Network)


def assistants_of(recipe: Recipe, teacher: str | Network) -> tuple[list[StageEntry], dict[str, str | Network]]:
    """Give the assistants that are to be trained, and every student's: its name, or the network that is given.

    Students share one of their architecture, or the one that the recipe names; detectors only if it exposes the same levels to
    them, which it is trained for. Assistants are taught live: each is trained once, and the large maps that its terms may want
    would make a bank large.

    Source:
        TAS of Pixel Distillation (TPAMI 2024): model compression T → A at the large side, then input compression A → S.
    """
    assert recipe.teacher is not None
    said = recipe.assistant or Assistant()
    trained: dict[str, StageEntry] = {}
    of_student: dict[str, str | Network] = {}
    for student in recipe.all_students:
        own = said.network is None
        network = Network(
            network=student.network if said.network is None else said.network,
            side=said.side or recipe.teacher.side,
            weights=said.start(student.weights),
            patch=student.patch if own and said.patch is None else said.patch,
            options=student.options if own and not said.options else said.options,
            detector=_detector(said, student, recipe),
            imaging=recipe.imaging.optics if recipe.imaging.alters else None,
        )
        if said.given:
            of_student[student.label] = network
            continue
        entry = StageEntry(
            name=ASSISTANT, student=network, teacher=teacher, terms=said.terms or _terms(network, student, recipe),
            schedule=said.schedule, live=True,
        )  # fmt: skip
        name = next((name for name, other in trained.items() if other == entry), None)
        if name is None:
            name = f"{ASSISTANT}-{student.network.rsplit('/', maxsplit=1)[-1]}" if own and recipe.students else ASSISTANT
            name = f"{ASSISTANT}-{student.label}" if name in trained else name
            trained[name] = entry
        of_student[student.label] = name
    return [entry.model_copy(update={"name": name}) for name, entry in trained.items()], of_student


def _terms(assistant: Network, student: Student, recipe: Recipe) -> tuple[Term, ...]:
    """Give an assistant's losses; a detector's own is told which levels it will expose, where they are not all."""
    terms = ASSISTANT_TERMS[recipe.task]
    if recipe.detector is None or assistant.detector is None:
        return terms
    levels, own = completed(student, recipe.detector).seen.numbers, assistant.detector.numbers
    exposed = exposed_levels(levels, student.side, own, assistant.side)
    if not exposed or tuple(exposed) == own:
        return terms
    told = SupervisedTerm(kind="supervised", exposed=(exposed[0], exposed[-1]))
    return tuple(told if isinstance(term, SupervisedTerm) else term for term in terms)


def _detector(said: Assistant, student: Student, recipe: Recipe) -> DetectorSettings | None:
    """Give the assistant of a detector the levels of its teacher, and those that correspond to its student's levels (AFP)."""
    assert recipe.teacher is not None
    if recipe.detector is None:
        return None
    own = merged(recipe.detector, said.detector)
    if said.detector and "levels" in said.detector.model_fields_set:
        return own
    side = said.side or recipe.teacher.side
    first, last = completed(recipe.teacher, recipe.detector).seen.levels
    smaller = size_shift(recipe.teacher.side, side)
    of_teacher, of_student = (first - smaller, last - smaller), completed(student, recipe.detector).seen.levels
    levels = assistant_levels(of_teacher, of_student, size_shift(side, student.side))
    if not MIN_LEVEL <= levels[0] <= levels[1] <= MAX_LEVEL:
        raise RecipeError(
            f"the assistant at {side} would need P{levels[0]}–P{levels[1]} to have its teacher's levels and {student.label}'s, "
            f"and there are P{MIN_LEVEL}–P{MAX_LEVEL}: choose other `levels` for the student, or `assistant.detector.levels`"
        )
    return own.model_copy(update={"levels": levels})


def completed(network: NetworkT, base: DetectorSettings) -> NetworkT:
    """Give a network with what the recipe's `detector` says of all, where it does not say otherwise itself."""
    return network.model_copy(update={"detector": merged(base, network.detector)})


def merged(base: DetectorSettings, own: DetectorSettings | None) -> DetectorSettings:
    """Give what a network's settings say, and what the recipe's do where they are silent. Raises RecipeError."""
    said = {} if own is None else {name: getattr(own, name) for name in own.model_fields_set}
    try:
        return DetectorSettings(**{**dict(base), **said})
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise RecipeError(f"a network's own `detector` {said} does not go with the recipe's: {reason}") from None
