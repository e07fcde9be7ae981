"""Stages that a recipe stands for: first written out as entries, as the user could write them, then resolved."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pixeldistill.errors import RecipeError
from pixeldistill.recipe.assistants import assistants_of
from pixeldistill.recipe.base import StageRef
from pixeldistill.recipe.camera import Camera
from pixeldistill.recipe.chain import check_costs, check_stage, trained
from pixeldistill.recipe.losses import BoxesTerm, PKDTerm, SupervisedTerm, Term
from pixeldistill.recipe.method import Method
from pixeldistill.recipe.network import AUTO, Network, Student, misfit
from pixeldistill.recipe.presets import complete_methods
from pixeldistill.recipe.recipe import Recipe
from pixeldistill.recipe.stage import Stage, StageEntry
from pixeldistill.recipe.tasks.base import SUPERVISED

SUPERVISED_STUDENT, DISTILLED = "supervised", "distilled"  # the methods of a recipe without `compare`


def expand(recipe: Recipe) -> tuple[Stage, ...]:
    """Return the stages that a recipe stands for, in the order of training.

    Every stage crops its views at the recipe's largest image size, so that a control gets exactly the distilled student's
    views.

    Raises:
        RecipeError: a chain cannot be trained.
    """
    return resolve(recipe, entries(recipe))


def entries(recipe: Recipe) -> tuple[StageEntry, ...]:
    """Write out `teacher`, `student`, `method`, `controls` or `compare` of a recipe as entries of `stages`."""
    return tuple(_completed(entry, recipe) for entry in _written(recipe))


def _written(recipe: Recipe) -> tuple[StageEntry, ...]:
    if recipe.candidates:
        raise RecipeError("the recipe has `candidates` to choose from: use `pixeldistill sweep`, or `plan` to see what fits")
    if recipe.stages:
        return recipe.stages
    if recipe.teacher is None:
        return tuple(
            StageEntry(name=stage_name(SUPERVISED_STUDENT, student, recipe), student=_network(student), terms=SUPERVISED)
            for student in recipe.all_students
        )
    network = teacher_of(recipe)
    if recipe.teacher.schedule is None:
        return (*_taught(recipe, network),)
    first = StageEntry(
        name="teacher", student=network, terms=SUPERVISED, schedule=recipe.teacher.schedule, seeds=recipe.seeds[:1]
    )  # fmt: skip
    return (first, *_taught(recipe, first.name))


def teacher_of(recipe: Recipe) -> Network:
    """Return a recipe's teacher as a network."""
    assert recipe.teacher is not None
    network = Network(**recipe.teacher.model_dump(exclude={"schedule"}, exclude_unset=True))
    network = network.model_copy(update={"camera": network.camera or recipe.camera.optics})
    return recipe.rules.complete(network, recipe)


def _taught(recipe: Recipe, teacher: str | Network) -> Iterator[StageEntry]:
    """Return the assistants and the students: all students of one method, then of the next."""
    methods = _methods(recipe)
    assistants: dict[str, str | Network] = {}
    known = {} if isinstance(teacher, Network) else {teacher: teacher_of(recipe)}
    if any(method.chain == "tas" or method.warm_start for method in methods.values()):
        trained, assistants = assistants_of(recipe, teacher)
        known |= {entry.name: entry.student for entry in trained}
        yield from trained
    for name, method in methods.items():
        for student in recipe.all_students:
            assistant = assistants.get(student.label)
            teachers = {"supervised": None, "ts": teacher, "tas": assistant}
            chosen = name == DISTILLED and not recipe.compare
            joined = method.chain == "ts" or method.with_teacher
            yield StageEntry(
                name=stage_name(name, student, recipe),
                student=_prepared(student, method, recipe, assistant, teachers[method.chain] if chosen else None, known),
                teacher=teachers[method.chain],
                other_teachers=(*((teacher,) if method.with_teacher else ()), *(recipe.other_teachers if joined else ())),
                terms=SUPERVISED if method.chain == "supervised" else method.terms or _last_terms(method, recipe),
                schedule=recipe.schedule.lasting(method.epochs) if method.epochs else None,
                augmentation=method.augmentation,
                match_compute_of=stage_name(method.match_compute_of, student, recipe) if method.match_compute_of else None,
                seeds=method.seeds,
            )


def _last_terms(method: Method, recipe: Recipe) -> tuple[Term, ...]:
    """Return the terms of a chain's last stage. In a comparison, `ts` has the recipe's terms, and `tas` adds its own."""
    if recipe.terms is None:
        return recipe.rules.published_terms[method.chain] if recipe.compare else recipe.rules.default_terms(method.chain)
    # In a method with more epochs, they rise and fall over the same share of the epochs.
    said = tuple(term.stretched((method.epochs or recipe.schedule.epochs) / recipe.schedule.epochs) for term in recipe.terms)
    own = recipe.rules.chain_term
    if recipe.compare and method.chain == "tas" and not any(isinstance(term, type(own)) for term in said):
        return (*said, own)
    return said


def _methods(recipe: Recipe) -> dict[str, Method]:
    """Return the methods of a recipe by the names of their stages: its controls and its own method, or the compared methods."""
    if recipe.compare is not None:
        methods = complete_methods(recipe.compare, recipe.schedule.epochs, recipe.rules)
        for name, method in methods.items():
            if method.match_compute_of not in (None, *methods):
                raise RecipeError(f"compare.{name} lasts as long as {method.match_compute_of!r}, which is not compared: add it")
        return methods
    terms = recipe.terms or recipe.rules.default_terms(recipe.method)
    controls = {
        "supervised": Method(chain="supervised"),
        "pkd": Method(terms=_plain(terms)),
    }
    same = (
        recipe.method == "ts"
        and controls["pkd"].terms == terms
        and not any(
            student.weights == AUTO and misfit(teacher_of(recipe), recipe.rules.complete(student, recipe)) is None
            for student in recipe.all_students
        )
    )
    if "pkd" in recipe.controls and same:
        raise RecipeError("controls: pkd is what the student learns by already: leave it out, or add other `terms`")
    chosen = {name: method for name, method in controls.items() if name in recipe.controls}
    return chosen | {DISTILLED: Method(chain=recipe.method)}


def _completed(entry: StageEntry, recipe: Recipe) -> StageEntry:
    """Return an entry whose networks have the recipe's common settings."""
    changes: dict[str, Any] = {"student": recipe.rules.complete(entry.student, recipe)}
    if isinstance(entry.teacher, Network):
        changes["teacher"] = recipe.rules.complete(entry.teacher, recipe)
    changes["other_teachers"] = tuple(
        recipe.rules.complete(other, recipe) if isinstance(other, Network) else other for other in entry.other_teachers
    )
    return entry.model_copy(update=changes)


def _prepared(
    student: Student,
    method: Method,
    recipe: Recipe,
    assistant: str | Network | None,
    partner: str | Network | None,
    known: Mapping[str, Network],
) -> Network:
    """Return the student as a method needs it: with its initial weights, and with a control's changes.

    Args:
        student: student of the recipe.
        method: method that trains it.
        recipe: recipe.
        assistant: its assistant, if there is one.
        partner: teacher or assistant whose weights it starts from, if they fit and its `weights` are auto.
        known: networks of the stages before.
    """
    assert recipe.teacher is not None
    changes: dict[str, Any] = {"stem_stride": method.stem_stride} if method.stem_stride else {}
    if method.enlarge:
        changes["enlarge"] = recipe.teacher.built_for
    if method.warm_start and assistant is not None:
        changes["weights"] = _weights_of(assistant)
    elif student.weights == AUTO and not recipe.compare:
        other = known[partner] if isinstance(partner, str) else partner
        if partner is not None and other is not None and misfit(other, recipe.rules.complete(student, recipe)) is None:
            changes["weights"] = _weights_of(partner)
        else:
            changes["weights"] = _control_start(student, recipe)
    return _network(student).model_copy(update=changes)


def _control_start(student: Student, recipe: Recipe) -> str:
    """Return the initial weights of a student without a partner: none if the partner itself began so, else pretrained."""
    partner = recipe.teacher if recipe.method == "ts" else recipe.assistant
    scratch = partner is not None and partner.weights == "none" and partner.network in (None, student.network)
    return "none" if scratch else "pretrained"


def _weights_of(other: str | Network) -> str | StageRef:
    return StageRef(other) if isinstance(other, str) else other.weights


def resolve(recipe: Recipe, written: Sequence[StageEntry]) -> tuple[Stage, ...]:
    """Fill in missing settings of the entries from the recipe. Raise RecipeError for entries that cannot be trained."""
    networks = [n for entry in written for n in (entry.student, *entry.teachers, recipe.teacher) if isinstance(n, Network)]
    crop_size = max(network.image_size for network in networks)
    if recipe.data.image_cache and recipe.data.image_cache < crop_size:
        raise RecipeError(
            f"data.image_cache {recipe.data.image_cache} is smaller than the views, {crop_size}: nothing would be left to crop"
        )
    if recipe.teacher_cache and not any(entry.teacher for entry in written):
        raise RecipeError("`teacher_cache` keeps what a teacher says: no stage has one")
    earlier: dict[str, StageEntry] = {}
    check_costs(written)
    sources = {name for entry in written for name in entry.sources}
    teaching = {teacher for entry in written for teacher in entry.teachers if isinstance(teacher, str)}
    stages = []
    for entry in written:
        check_stage(entry, earlier, recipe)
        earlier[entry.name] = entry
        schedule = entry.schedule or recipe.schedule
        teachers = [_fed(trained(teacher, earlier), recipe.camera.optics) for teacher in entry.teachers]
        distinct = None if recipe.teacher_cache is None or recipe.teacher_cache.views == "exact" else recipe.teacher_cache.views
        stages.append(
            Stage(
                name=entry.name,
                student=_fed(entry.student, recipe.camera.optics if entry.name in teaching else recipe.camera),
                teacher=teachers[0] if teachers else None,
                other_teachers=tuple(teachers[1:]),
                terms=entry.terms,
                schedule=schedule,
                augmentation=entry.augmentation or recipe.augmentation,
                crop_size=crop_size,
                distinct_views=distinct if entry.teacher or entry.name not in sources else None,
                teacher_cache=recipe.teacher_cache if teachers and not entry.live else None,
                shuffle_seed=recipe.shuffle_seed,
                match_compute_of=entry.match_compute_of,
                seeds=entry.seeds or (recipe.seeds[:1] if entry.name in sources else recipe.seeds),
            )
        )
    return tuple(stages)


def _fed(network: Network, camera: Camera) -> Network:
    """Return a network with its own camera, or with the given one if it has none."""
    return network if network.camera else network.model_copy(update={"camera": camera})


def stage_name(kind: str, student: Student, recipe: Recipe) -> str:
    """Return the name of the stage that trains a student by a method. With several students, it includes the student's name."""
    return f"{kind}-{student.label}" if recipe.students else kind


def student_pairs(recipe: Recipe) -> list[tuple[str, str]]:
    """Return for each student the names of two stages: without a teacher, and distilled. A comparison has none."""
    if recipe.compare:
        return []
    if recipe.stages:
        return [(SUPERVISED_STUDENT, DISTILLED)]
    return [
        (stage_name(SUPERVISED_STUDENT, student, recipe), stage_name(DISTILLED, student, recipe))
        for student in recipe.all_students
    ]


def _network(student: Student) -> Network:
    network = Network(**student.model_dump(exclude={"name"}, exclude_unset=True))
    return network.model_copy(update={"weights": "pretrained"}) if network.weights == AUTO else network


def _plain(terms: Sequence[Term]) -> tuple[Term, ...]:
    """Return the terms of plain prediction distillation, with the settings that a chain's last stage has for them."""
    kept = tuple(term for term in terms if isinstance(term, SupervisedTerm | PKDTerm | BoxesTerm))
    return kept if any(isinstance(term, PKDTerm) for term in kept) else (*kept, PKDTerm(kind="pkd"))
