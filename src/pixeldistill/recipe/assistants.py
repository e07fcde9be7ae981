"""Assistants of a two-stage chain: which ones a recipe's students need, and the settings of a detector among them (AFP)."""

from pixeldistill.recipe.network import Assistant, Network
from pixeldistill.recipe.recipe import Recipe
from pixeldistill.recipe.stage import StageEntry

ASSISTANT = "assistant"


def assistants_of(recipe: Recipe, teacher: str | Network) -> tuple[list[StageEntry], dict[str, str | Network]]:
    """Return the assistants to train, and the assistant of every student: a stage's name, or a given network.

    Students of one architecture share an assistant, or all share the one that the recipe names. Detectors share one only if it
    has the same levels in common with them, because it is trained for these levels. Assistants have a live teacher: each is
    trained once, and the large maps that its terms may need would make a teacher cache large.

    Source:
        TAS of Pixel Distillation (TPAMI 2024): model compression T → A at the large image size, then input compression A → S.
    """
    assert recipe.teacher is not None
    said, rules = recipe.assistant or Assistant(), recipe.rules
    trained: dict[str, StageEntry] = {}
    of_student: dict[str, str | Network] = {}
    for student in recipe.all_students:
        own = said.network is None
        network = Network(
            network=student.network if said.network is None else said.network,
            image_size=said.image_size or recipe.teacher.image_size,
            weights=said.start(student.weights),
            patch_size=student.patch_size if own and said.patch_size is None else said.patch_size,
            options=student.options if own and not said.options else said.options,
            mean=student.mean if own else None,
            std=student.std if own else None,
            camera=recipe.camera.optics if recipe.camera.alters else None,
        )
        network = rules.assistant_of(network, said, student, recipe)
        if said.given:
            of_student[student.label] = network
            continue
        entry = StageEntry(
            name=ASSISTANT, student=network, teacher=teacher, schedule=said.schedule, live=True,
            other_teachers=recipe.other_teachers, terms=said.terms or rules.terms_of_assistant(network, student, recipe),
        )  # fmt: skip
        name = next((name for name, other in trained.items() if other == entry), None)
        if name is None:
            name = f"{ASSISTANT}-{student.network.rsplit('/', maxsplit=1)[-1]}" if own and recipe.students else ASSISTANT
            name = f"{ASSISTANT}-{student.label}" if name in trained else name
            trained[name] = entry
        of_student[student.label] = name
    return [entry.model_copy(update={"name": name}) for name, entry in trained.items()], of_student
