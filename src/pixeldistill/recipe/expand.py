"""Stages that a recipe stands for: first written out as entries, as the user could write them, then resolved."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pixeldistill.errors import RecipeError, nearest
from pixeldistill.recipe.assistants import assistants_of
from pixeldistill.recipe.base import StageRef
from pixeldistill.recipe.camera import Camera
from pixeldistill.recipe.losses import BoxesTerm, PKDTerm, SupervisedTerm, Term, name_terms
from pixeldistill.recipe.method import Method
from pixeldistill.recipe.network import Assistant, Network, Student
from pixeldistill.recipe.presets import complete_methods
from pixeldistill.recipe.recipe import ASSISTANT, Recipe
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
    if any(method.chain == "tas" or method.warm_start for method in methods.values()):
        trained, assistants = assistants_of(recipe, teacher)
        yield from trained
    for name, method in methods.items():
        for student in recipe.all_students:
            teachers = {"supervised": None, "ts": teacher, "tas": assistants.get(student.label)}
            joined = method.chain == "ts" or method.with_teacher
            yield StageEntry(
                name=stage_name(name, student, recipe),
                student=_prepared(student, method, recipe, assistants.get(student.label)),
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
        return recipe.rules.default_terms[method.chain]
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
    controls = {
        "supervised": Method(chain="supervised"),
        "pkd": Method(terms=_plain(recipe.terms or recipe.rules.default_terms[recipe.method])),
    }
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


def _prepared(student: Student, method: Method, recipe: Recipe, assistant: str | Network | None) -> Network:
    """Return the student as a method needs it: with its initial weights, and with a control's changes."""
    assert recipe.teacher is not None
    changes: dict[str, Any] = {"stem_stride": method.stem_stride} if method.stem_stride else {}
    if method.enlarge:
        changes["enlarge"] = recipe.teacher.built_for
    said_so = student.weights == ASSISTANT and method.chain == "tas" and not recipe.compare  # compared methods set it
    if assistant is not None and (method.warm_start or said_so):
        changes["weights"] = StageRef(assistant) if isinstance(assistant, str) else assistant.weights
    elif student.weights == ASSISTANT:
        said = recipe.assistant or Assistant()  # a control has no assistant, so it starts from the assistant's initial weights
        changes["weights"] = "pretrained" if said.given else said.start(student.weights)
    return _network(student).model_copy(update=changes)


def resolve(recipe: Recipe, written: Sequence[StageEntry]) -> tuple[Stage, ...]:
    """Fill in missing settings of the entries from the recipe. Raise RecipeError for entries that cannot be trained."""
    networks = [n for entry in written for n in (entry.student, entry.teacher, recipe.teacher) if isinstance(n, Network)]
    crop_size = max(network.image_size for network in networks)
    if recipe.data.image_cache and recipe.data.image_cache < crop_size:
        raise RecipeError(
            f"data.image_cache {recipe.data.image_cache} is smaller than the views, {crop_size}: nothing would be left to crop"
        )
    if recipe.teacher_cache and not any(entry.teacher for entry in written):
        raise RecipeError("`teacher_cache` keeps what a teacher says: no stage has one")
    earlier: dict[str, StageEntry] = {}
    _check_costs(written)
    sources = {name for entry in written for name in _sources(entry)}
    teaching = {teacher for entry in written for teacher in _teachers(entry) if isinstance(teacher, str)}
    stages = []
    for entry in written:
        _check(entry, earlier, recipe)
        earlier[entry.name] = entry
        schedule = entry.schedule or recipe.schedule
        teachers = [_fed(_trained(teacher, earlier), recipe.camera.optics) for teacher in _teachers(entry)]
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


def _teachers(entry: StageEntry) -> tuple[str | Network, ...]:
    return (entry.teacher, *entry.other_teachers) if entry.teacher else ()


def _trained(teacher: str | Network, earlier: Mapping[str, StageEntry]) -> Network:
    """Return a teacher as a network. An earlier stage's has that stage's last weights."""
    if isinstance(teacher, Network):
        return teacher
    return earlier[teacher].student.model_copy(update={"weights": StageRef(teacher)})


def _fed(network: Network, camera: Camera) -> Network:
    """Return a network with its own camera, or with the given one if it has none."""
    return network if network.camera else network.model_copy(update={"camera": camera})


def _check_costs(written: Sequence[StageEntry]) -> None:
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


def _check(entry: StageEntry, earlier: dict[str, StageEntry], recipe: Recipe) -> None:
    place = f"stage {entry.name}"
    for name in _sources(entry):
        if name not in earlier:
            others = f"{nearest(name, earlier)}" if earlier else "it is the first"
            raise RecipeError(f"{place} starts from stage {name!r}, which no stage before it is called: {others}")
    start = entry.student.weights
    if isinstance(start, StageRef) and earlier[start.name].student.network != entry.student.network:
        raise RecipeError(
            f"{place}: its {entry.student.network} cannot start from the weights of stage {start.name}, which is a "
            f"{earlier[start.name].student.network}"
        )
    teachers = [_trained(teacher, earlier) for teacher in _teachers(entry)]
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


def _sources(entry: StageEntry) -> Iterator[str]:
    """Yield the names of the stages that a stage starts from, by its weights or its teacher."""
    if isinstance(entry.student.weights, StageRef):
        yield entry.student.weights.name
    yield from (teacher for teacher in _teachers(entry) if isinstance(teacher, str))


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
    return Network(**student.model_dump(exclude={"name"}, exclude_unset=True))


def _plain(terms: Sequence[Term]) -> tuple[Term, ...]:
    """Return the terms of plain prediction distillation, with the settings that a chain's last stage has for them."""
    kept = tuple(term for term in terms if isinstance(term, SupervisedTerm | PKDTerm | BoxesTerm))
    return kept if any(isinstance(term, PKDTerm) for term in kept) else (*kept, PKDTerm(kind="pkd"))
