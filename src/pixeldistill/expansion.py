"""The stages that a recipe stands for: first as entries, which the user may as well have written, then resolved."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from pixeldistill.assistants import assistants_of, completed
from pixeldistill.errors import RecipeError, nearest
from pixeldistill.inputs import Imaging
from pixeldistill.losses import (
    OF_CLASSIFIERS,
    OF_DETECTORS,
    BoxesTerm,
    DKDTerm,
    FKDTerm,
    PKDTerm,
    SupervisedTerm,
    Term,
    UpsampledTerm,
    name_terms,
)  # fmt: skip
from pixeldistill.methods import DEFAULT_TERMS, Method, settings
from pixeldistill.recipe import (
    ASSISTANT,
    STAGE_REFERENCE,
    Assistant,
    Network,
    Recipe,
    Stage,
    StageEntry,
    Student,
)  # fmt: skip

NetworkT = TypeVar("NetworkT", bound=Network)
SUPERVISED: tuple[Term, ...] = (SupervisedTerm(kind="supervised"),)
_TEACH_PREDICTION = ("supervised", "pkd", "dkd", "dist")


def expand(recipe: Recipe) -> tuple[Stage, ...]:
    """Give the stages that a recipe stands for, in the order in which they are trained.

    Every stage crops its views at the recipe's largest side, so that a control sees exactly the distilled student's views.

    Raises:
        RecipeError: a chain that cannot be trained.
    """
    return resolve(recipe, entries(recipe))


def entries(recipe: Recipe) -> tuple[StageEntry, ...]:
    """Write a recipe's stages out: `teacher`, `student`, `method`, `controls` or `compare` as `stages`."""
    return tuple(_with_detectors(entry, recipe) for entry in _written(recipe))


def _written(recipe: Recipe) -> tuple[StageEntry, ...]:
    if recipe.candidates:
        raise RecipeError("the recipe has `candidates` to choose from: use `pixeldistill sweep`, or `plan` to see what fits")
    if recipe.stages:
        return recipe.stages
    if recipe.teacher is None:
        return tuple(
            StageEntry(name=_named("alone", student, recipe), student=_network(student), terms=SUPERVISED)
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
    """Give a recipe's teacher as a network."""
    assert recipe.teacher is not None
    network = Network(**recipe.teacher.model_dump(exclude={"schedule"}, exclude_unset=True))
    network = network.model_copy(update={"imaging": network.imaging or recipe.imaging.optics})
    return network if recipe.detector is None else completed(network, recipe.detector)


def _taught(recipe: Recipe, teacher: str | Network) -> Iterator[StageEntry]:
    """Give the assistants and the students: of each method in turn, all students."""
    methods = _methods(recipe)
    assistants: dict[str, str | Network] = {}
    if any(method.chain == "tas" or method.from_assistant for method in methods.values()):
        trained, assistants = assistants_of(recipe, teacher)
        yield from trained
    for name, method in methods.items():
        for student in recipe.all_students:
            teachers = {"alone": None, "ts": teacher, "tas": assistants.get(student.label)}
            yield StageEntry(
                name=_named(name, student, recipe),
                student=_prepared(student, method, recipe, assistants.get(student.label)),
                teacher=teachers[method.chain],
                terms=SUPERVISED if method.chain == "alone" else method.terms or _last_terms(method, recipe),
                schedule=recipe.schedule.lasting(method.epochs) if method.epochs else None,
                cost_as=_named(method.cost_as, student, recipe) if method.cost_as else None,
                seeds=method.seeds,
            )


def _last_terms(method: Method, recipe: Recipe) -> tuple[Term, ...]:
    """Give the terms of a chain's last stage. In a comparison, a recipe's terms are those of `ts`; `tas` adds its own to them."""
    if recipe.terms is None:
        return DEFAULT_TERMS[recipe.task][method.chain]
    # A method that lasts longer lets them rise and fall in the same share of its epochs.
    said = tuple(term.stretched((method.epochs or recipe.schedule.epochs) / recipe.schedule.epochs) for term in recipe.terms)
    own: Term = UpsampledTerm(kind="upsampled") if recipe.task == "classification" else FKDTerm(kind="fkd", weight=0.2)
    if recipe.compare and method.chain == "tas" and not any(isinstance(term, type(own)) for term in said):
        return (*said, own)
    return said


def _methods(recipe: Recipe) -> dict[str, Method]:
    """Give the methods of a recipe by the names of their stages: its controls and its own, or those that it compares."""
    if recipe.compare is not None:
        methods = settings(recipe.compare, recipe.schedule.epochs, recipe.task)
        for name, method in methods.items():
            if method.cost_as not in (None, *methods):
                raise RecipeError(f"compare.{name} lasts as long as {method.cost_as!r}, which is not compared: add it")
        return methods
    controls = {
        "alone": Method(chain="alone"),
        "pkd": Method(terms=_plain(recipe.terms or DEFAULT_TERMS[recipe.task][recipe.method])),
    }
    chosen = {name: method for name, method in controls.items() if name in recipe.controls}
    return chosen | {"distilled": Method(chain=recipe.method)}


def _with_detectors(entry: StageEntry, recipe: Recipe) -> StageEntry:
    """Complete what an entry says of its detectors by what the recipe says of all."""
    if recipe.detector is None:
        return entry
    changes: dict[str, Any] = {"student": completed(entry.student, recipe.detector)}
    if isinstance(entry.teacher, Network):
        changes["teacher"] = completed(entry.teacher, recipe.detector)
    return entry.model_copy(update=changes)


def _prepared(student: Student, method: Method, recipe: Recipe, assistant: str | Network | None) -> Network:
    """Give the student as a method wants it: what it starts from, and a control's changes."""
    assert recipe.teacher is not None
    changes: dict[str, Any] = {"stem_stride": method.stem_stride} if method.stem_stride else {}
    if method.enlarge:
        changes["enlarge"] = recipe.teacher.built_for
    said_so = student.weights == ASSISTANT and method.chain == "tas" and not recipe.compare  # there each method says it itself
    if assistant is not None and (method.from_assistant or said_so):
        changes["weights"] = f"{STAGE_REFERENCE}{assistant}" if isinstance(assistant, str) else assistant.weights
    elif student.weights == ASSISTANT:
        said = recipe.assistant or Assistant()  # a control has no assistant to start from: it starts as the assistant does
        changes["weights"] = "pretrained" if said.given else said.start(student.weights)
    return _network(student).model_copy(update=changes)


def resolve(recipe: Recipe, written: Sequence[StageEntry]) -> tuple[Stage, ...]:
    """Fill in what the entries leave to the recipe, and refuse what cannot be trained."""
    networks = [n for entry in written for n in (entry.student, entry.teacher, recipe.teacher) if isinstance(n, Network)]
    crop_side = max(network.side for network in networks)
    if recipe.data.store and recipe.data.store < crop_side:
        raise RecipeError(f"data.store {recipe.data.store} is smaller than the views, {crop_side}: nothing would be left to crop")
    if recipe.bank and not any(entry.teacher for entry in written):
        raise RecipeError("`bank` keeps what a teacher says: no stage has one")
    earlier: dict[str, StageEntry] = {}
    _check_costs(written)
    sources = {name for entry in written for name in _sources(entry)}
    teaching = {entry.teacher for entry in written if isinstance(entry.teacher, str)}
    stages = []
    for entry in written:
        _check(entry, earlier, recipe)
        earlier[entry.name] = entry
        schedule = entry.schedule or recipe.schedule
        teacher = entry.teacher
        if isinstance(teacher, str):
            teacher = earlier[teacher].student.model_copy(update={"weights": f"{STAGE_REFERENCE}{teacher}"})
        teacher = teacher and _fed(teacher, recipe.imaging.optics)
        distinct = None if recipe.bank is None or recipe.bank.views == "exact" else recipe.bank.views
        stages.append(
            Stage(
                name=entry.name,
                student=_fed(entry.student, recipe.imaging.optics if entry.name in teaching else recipe.imaging),
                teacher=teacher,
                terms=entry.terms,
                schedule=schedule,
                crop_side=crop_side,
                distinct_views=distinct if entry.teacher or entry.name not in sources else None,
                bank=recipe.bank if teacher and not entry.live else None,
                order_seed=recipe.order_seed,
                cost_as=entry.cost_as,
                seeds=entry.seeds or (recipe.seeds[:1] if entry.name in sources else recipe.seeds),
            )
        )
    return tuple(stages)


def _fed(network: Network, imaging: Imaging) -> Network:
    """Give a network a camera, where it has none of its own."""
    return network if network.imaging else network.model_copy(update={"imaging": imaging})


def _check_costs(written: Sequence[StageEntry]) -> None:
    """Refuse stages that are to cost as much as one that is not there, or as themselves by way of others."""
    wanted = {entry.name: entry.cost_as for entry in written}
    for name in wanted:
        way = [name]
        while (other := wanted[way[-1]]) is not None:
            if other not in wanted:
                raise RecipeError(f"stage {way[-1]}: cost_as {other!r} is no stage, {nearest(other, wanted)}")
            if other in way:
                raise RecipeError(f"stage {name}: cost_as goes in a circle, {' → '.join([*way, other])}")
            way.append(other)


def _check(entry: StageEntry, earlier: dict[str, StageEntry], recipe: Recipe) -> None:
    place = f"stage {entry.name}"
    for name in _sources(entry):
        if name not in earlier:
            others = f"{nearest(name, earlier)}" if earlier else "it is the first"
            raise RecipeError(f"{place} starts from stage {name!r}, which no stage before it is called: {others}")
    start = entry.student.weights.removeprefix(STAGE_REFERENCE)
    if start in earlier and entry.student.weights != start and earlier[start].student.network != entry.student.network:
        raise RecipeError(
            f"{place}: its {entry.student.network} cannot start from the weights of stage {start}, which is a "
            f"{earlier[start].student.network}"
        )
    teacher = earlier[entry.teacher].student if isinstance(entry.teacher, str) else entry.teacher
    if teacher and entry.student.side > teacher.side:
        raise RecipeError(
            f"{place}: its student reads {entry.student.side} pixels, its teacher {teacher.side}: "
            "pixel distillation goes from large images to small ones"
        )
    if isinstance(entry.teacher, Network) and entry.teacher.weights in ("none", "pretrained"):
        raise RecipeError(
            f"{place}: its teacher's weights {entry.teacher.weights!r} have not seen these classes: "
            "name a trained one, or a stage that trains it"
        )
    _check_enlarged(place, entry.student, teacher)
    if entry.student.class_order:
        raise RecipeError(f"{place}: class_order is that of a trained teacher's weights, and this is a student: leave it out")
    kinds = [term.kind for term in entry.terms]
    if foreign := [kind for kind in kinds if kind in (OF_DETECTORS if recipe.task == "classification" else OF_CLASSIFIERS)]:
        other = "detection" if recipe.task == "classification" else "classification"
        raise RecipeError(f"{place}: term {foreign[0]} is one of {other}: leave it out")
    teachers = _TEACH_PREDICTION if recipe.task == "classification" else ("supervised",)
    if not any(term.kind in teachers and term.weight > 0 for term in entry.terms):
        raise RecipeError(f"{place}: no term trains the prediction: add {' or '.join(teachers)}")
    if teacher is None and kinds != ["supervised"]:
        needy = next(kind for kind in kinds if kind != "supervised")
        raise RecipeError(f"{place}: term {needy} compares the student with a teacher: add `teacher`")
    if recipe.views.mixup and any(isinstance(term, DKDTerm) for term in entry.terms):
        raise RecipeError(f"{place}: dkd tells the true class from the others, and views.mixup leaves no true class: remove one")
    epochs = (entry.schedule or recipe.schedule).epochs
    for name, term in name_terms(entry.terms).items():
        if term.warmup_epochs + term.cooldown_epochs > epochs:
            raise RecipeError(f"{place}: term {name} rises and falls over more than the stage's {epochs} epochs")


def _check_enlarged(place: str, *networks: Network | None) -> None:
    for network in networks:
        if network and network.detector and not network.enlarges_levels:
            raise RecipeError(
                f"{place}: an image of {network.side} pixels is to be enlarged to {network.enlarge}, which shifts a detector's "
                "levels by no whole number: choose sides of which one is 2, 4, … times the other"
            )


def _sources(entry: StageEntry) -> Iterator[str]:
    """Name the stages that one starts from, by its weights or by its teacher."""
    if entry.student.weights.startswith(STAGE_REFERENCE):
        yield entry.student.weights.removeprefix(STAGE_REFERENCE)
    if isinstance(entry.teacher, str):
        yield entry.teacher


def _named(kind: str, student: Student, recipe: Recipe) -> str:
    return f"{kind}-{student.label}" if recipe.students else kind


def _network(student: Student) -> Network:
    return Network(**student.model_dump(exclude={"name"}, exclude_unset=True))


def _plain(terms: Sequence[Term]) -> tuple[Term, ...]:
    """Give plain distillation of the prediction, with the settings that a chain's last stage has for it."""
    kept = tuple(term for term in terms if isinstance(term, SupervisedTerm | PKDTerm | BoxesTerm))
    return kept if any(isinstance(term, PKDTerm) for term in kept) else (*kept, PKDTerm(kind="pkd"))
