"""The stages that a recipe stands for: first as entries, which the user may as well have written, then resolved."""

from collections.abc import Iterator, Sequence

from pixeldistill.errors import RecipeError, nearest
from pixeldistill.losses import DKDTerm, PKDTerm, SupervisedTerm, Term
from pixeldistill.recipe import ASSISTANT, STAGE_REFERENCE, Assistant, Network, Recipe, Stage, StageEntry, Student

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
    """Write a recipe's stages out: `teacher`, `student`, `method` and `controls` as `stages`."""
    if recipe.stages:
        return recipe.stages
    found = []
    teacher: str | Network | None = None
    if recipe.teacher:
        network = Network(**recipe.teacher.model_dump(exclude={"schedule"}))
        teacher = "teacher" if recipe.teacher.schedule else network
        if recipe.teacher.schedule:
            found.append(StageEntry(name="teacher", student=network, terms=SUPERVISED, schedule=recipe.teacher.schedule))

    def of_students(kind: str, terms: tuple[Term, ...], teacher: str | Network | None) -> list[StageEntry]:
        return [
            StageEntry(name=_named(kind, student, recipe), student=_unassisted(student), teacher=teacher, terms=terms)
            for student in recipe.all_students
        ]

    if teacher is None or "alone" in recipe.controls:
        found += of_students("alone", SUPERVISED, None)
    if teacher and "pkd" in recipe.controls:
        found += of_students("pkd", (_pkd_of(recipe.last_terms),), teacher)
    if teacher and recipe.method == "ts":
        found += of_students("distilled", recipe.last_terms, teacher)
    if teacher and recipe.method == "tas":
        found += two_stages(recipe, teacher)
    return tuple(found)


def two_stages(recipe: Recipe, teacher: str | Network) -> list[StageEntry]:
    """Write TAS out: an assistant for each student architecture, or one for all; then the students, taught by it.

    Source:
        TAS of Pixel Distillation (TPAMI 2024): model compression T → A at the large side, input compression A → S.
    """
    assert recipe.teacher is not None
    settings = recipe.assistant or Assistant()
    found: dict[str, StageEntry | Network] = {}
    students = []
    for student in recipe.all_students:
        own = settings.network is None
        network = Network(
            network=student.network if settings.network is None else settings.network,
            side=settings.side or recipe.teacher.side,
            weights=settings.weights,
            patch=student.patch if own and settings.patch is None else settings.patch,
            options=student.options if own and not settings.options else settings.options,
        )
        several = own and len({s.network for s in recipe.all_students}) > 1
        name = f"{ASSISTANT}-{student.network.rsplit('/', maxsplit=1)[-1]}" if several else ASSISTANT
        if settings.given:
            assistant: StageEntry | Network = found.setdefault(name, network)
        else:
            entry = StageEntry(name=name, student=network, teacher=teacher, terms=settings.terms, schedule=settings.schedule)
            assistant = found.setdefault(name, entry)
        of_assistant = settings.weights if settings.given else f"{STAGE_REFERENCE}{name}"
        starts = _network(student)
        if starts.weights == ASSISTANT:
            starts = starts.model_copy(update={"weights": of_assistant})
        students.append(
            StageEntry(
                name=_named("distilled", student, recipe),
                student=starts,
                teacher=assistant if isinstance(assistant, Network) else name,
                terms=recipe.last_terms,
            )
        )
    return [*(entry for entry in found.values() if isinstance(entry, StageEntry)), *students]


def resolve(recipe: Recipe, written: Sequence[StageEntry]) -> tuple[Stage, ...]:
    """Fill in what the entries leave to the recipe, and refuse what cannot be trained."""
    networks = [network for entry in written for network in (entry.student, entry.teacher) if isinstance(network, Network)]
    crop_side = max(network.side for network in networks)
    if recipe.data.store and recipe.data.store < crop_side:
        raise RecipeError(f"data.store {recipe.data.store} is smaller than the views, {crop_side}: nothing would be left to crop")
    if recipe.bank and not any(entry.teacher for entry in written):
        raise RecipeError("`bank` keeps what a teacher says: no stage has one")
    earlier: dict[str, StageEntry] = {}
    sources = {name for entry in written for name in _sources(entry)}
    stages = []
    for entry in written:
        _check(entry, earlier, recipe)
        earlier[entry.name] = entry
        schedule = entry.schedule or recipe.schedule
        teacher = entry.teacher
        if isinstance(teacher, str):
            teacher = earlier[teacher].student.model_copy(update={"weights": f"{STAGE_REFERENCE}{teacher}"})
        distinct = recipe.bank and (schedule.epochs if recipe.bank.views == "exact" else recipe.bank.views)
        stages.append(
            Stage(
                name=entry.name,
                student=entry.student,
                teacher=teacher,
                terms=entry.terms,
                schedule=schedule,
                crop_side=crop_side,
                distinct_views=distinct if entry.teacher or entry.name not in sources else None,
                bank=recipe.bank.model_copy(update={"views": distinct}) if recipe.bank and teacher else None,
                order_seed=recipe.order_seed,
                seeds=entry.seeds or (recipe.seeds[:1] if entry.name in sources else recipe.seeds),
            )
        )
    return tuple(stages)


def _check(entry: StageEntry, earlier: dict[str, StageEntry], recipe: Recipe) -> None:
    place = f"stage {entry.name}"
    for name in _sources(entry):
        if name not in earlier:
            others = f"{nearest(name, earlier)}" if earlier else "it is the first"
            raise RecipeError(f"{place} starts from stage {name!r}, which no stage before it is called: {others}")
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
    kinds = [term.kind for term in entry.terms]
    if len(set(kinds)) < len(kinds):
        raise RecipeError(f"{place}: terms name one thing twice: {', '.join(kinds)}")
    if not set(kinds) & set(_TEACH_PREDICTION):
        raise RecipeError(f"{place}: no term trains the prediction: add one of {', '.join(_TEACH_PREDICTION)}")
    if teacher is None and kinds != ["supervised"]:
        needy = next(kind for kind in kinds if kind != "supervised")
        raise RecipeError(f"{place}: term {needy} compares the student with a teacher: add `teacher`")
    if recipe.views.mixup and any(isinstance(term, DKDTerm) for term in entry.terms):
        raise RecipeError(f"{place}: dkd tells the true class from the others, and views.mixup leaves no true class: remove one")
    epochs = (entry.schedule or recipe.schedule).epochs
    for term in entry.terms:
        if term.warmup_epochs + term.cooldown_epochs > epochs:
            raise RecipeError(f"{place}: term {term.kind} rises and falls over more than the stage's {epochs} epochs")


def _sources(entry: StageEntry) -> Iterator[str]:
    """Name the stages that one starts from, by its weights or by its teacher."""
    if entry.student.weights.startswith(STAGE_REFERENCE):
        yield entry.student.weights.removeprefix(STAGE_REFERENCE)
    if isinstance(entry.teacher, str):
        yield entry.teacher


def _named(kind: str, student: Student, recipe: Recipe) -> str:
    return f"{kind}-{student.label}" if recipe.students else kind


def _network(student: Student) -> Network:
    return Network(**student.model_dump(exclude={"name"}))


def _unassisted(student: Student) -> Network:
    """Give the student of a control, which has no assistant to start from: it starts as the assistant would."""
    network = _network(student)
    return network.model_copy(update={"weights": "pretrained"}) if network.weights == ASSISTANT else network


def _pkd_of(terms: Sequence[Term]) -> PKDTerm:
    return next((term for term in terms if isinstance(term, PKDTerm)), PKDTerm(kind="pkd"))
