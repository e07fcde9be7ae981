"""The stages that a recipe stands for."""

from collections.abc import Sequence

from pixeldistill.recipe import STAGE_REFERENCE, Network, PKDTerm, Recipe, Stage, SupervisedTerm, Term


def expand(recipe: Recipe) -> tuple[Stage, ...]:
    """Give the stages that a recipe stands for, in the order in which they are trained.

    Every stage crops its views at the recipe's largest side, so that a control sees exactly the distilled student's views.
    """
    crop_side = max(n.side for n in (recipe.teacher, *recipe.all_students) if n is not None)
    supervised: tuple[Term, ...] = (SupervisedTerm(kind="supervised"),)
    stages = []
    teacher = recipe.teacher and Network(**recipe.teacher.model_dump(exclude={"schedule"}))
    if recipe.teacher and recipe.teacher.schedule and teacher:
        stages.append(
            Stage(name="teacher", student=teacher, terms=supervised, schedule=recipe.teacher.schedule,
                  crop_side=crop_side, seeds=recipe.seeds[:1])
        )  # fmt: skip
        teacher = teacher.model_copy(update={"weights": f"{STAGE_REFERENCE}teacher"})
    bank, distinct = recipe.bank, None
    if bank:
        distinct = recipe.schedule.epochs if bank.views == "exact" else bank.views
        bank = bank.model_copy(update={"views": distinct})

    def student_stages(name: str, terms: tuple[Term, ...], teacher: Network | None) -> list[Stage]:
        return [
            Stage(
                name=f"{name}-{student.label}" if recipe.students else name,
                student=Network(**student.model_dump(exclude={"name"})),
                teacher=teacher,
                terms=terms,
                schedule=recipe.schedule,
                crop_side=crop_side,
                distinct_views=distinct,
                bank=bank if teacher else None,
                order_seed=recipe.order_seed,
                seeds=recipe.seeds,
            )
            for student in recipe.all_students
        ]

    if teacher is None or "alone" in recipe.controls:
        stages += student_stages("alone", supervised, None)
    if "pkd" in recipe.controls:
        stages += student_stages("pkd", (_pkd_of(recipe.terms),), teacher)
    if teacher:
        stages += student_stages("distilled", recipe.terms, teacher)
    return tuple(stages)


def _pkd_of(terms: Sequence[Term]) -> PKDTerm:
    return next((term for term in terms if isinstance(term, PKDTerm)), PKDTerm(kind="pkd"))
