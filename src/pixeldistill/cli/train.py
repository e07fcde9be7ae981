"""Commands that train the stages of a recipe: train, distill, compare, sweep."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.console import Console

from pixeldistill.cli.console import Accelerator, Overrides, RecipeFile, Workers, first_process, need_torch, say, share
from pixeldistill.cli.cost import show_choice
from pixeldistill.cli.start import Epochs, ImageSize, Start, Student, Teacher, recipe_for
from pixeldistill.display.tables import show_table
from pixeldistill.display.text import reasons, shell_word
from pixeldistill.errors import GivenUp, RecipeError, RunError

if TYPE_CHECKING:
    from pixeldistill.recipe.recipe import Recipe
    from pixeldistill.runs.results import TrainingResult

NEXT = "`pixeldistill report {run}`, `pixeldistill predict {run} {image}`, `pixeldistill export {run}`"

Quick = Annotated[bool, typer.Option("--quick", help="Trial: one epoch a stage on 400 images of each split, in <run>-quick.")]


def train(
    recipe: RecipeFile,
    set_: Overrides = None,
    quick: Quick = False,
    workers: Workers = None,
    accelerator: Accelerator = "auto",
) -> None:
    """Train the recipe's stages that learn from labels alone (its teacher, its supervised student)."""
    _run(_load(recipe, set_, quick), supervised_only=True, workers=workers, accelerator=accelerator)


def distill(
    recipe: Annotated[Path, typer.Argument(help="A recipe (YAML), or a folder of images.", metavar="RECIPE|FOLDER")],
    set_: Overrides = None,
    quick: Quick = False,
    workers: Workers = None,
    accelerator: Accelerator = "auto",
    student: Student = None,
    image_size: ImageSize = None,
    teacher: Teacher = None,
    epochs: Epochs = None,
    weights: Start = None,
) -> None:
    """Train all stages of the recipe: its teacher if needed, the controls, the distilled student."""
    from pixeldistill.recipe.expand import expand

    of_folder = {"student": student, "image_size": image_size, "teacher": teacher, "epochs": epochs, "weights": weights}
    loaded = recipe_for(recipe, set_, quick=quick, workers=workers, **of_folder)
    if not any(stage.teacher for stage in expand(loaded)):
        raise RecipeError(f"{recipe} has no stage with a teacher: distilling needs teacher and student; use `train`")
    _run(loaded, supervised_only=False, workers=workers, accelerator=accelerator)
    if quick:
        say("a trial: one epoch on few images shows that everything runs; its figures mean nothing")


def compare(
    recipe: RecipeFile,
    set_: Overrides = None,
    quick: Quick = False,
    workers: Workers = None,
    accelerator: Accelerator = "auto",
) -> None:
    """Train the methods that the recipe compares, with all seeds, and put the results in a table; stop and go on as you like."""
    need_torch()
    from pixeldistill.experiments.compare import compare as run_comparison
    from pixeldistill.experiments.compare import every_method
    from pixeldistill.recipe.load import load_recipe
    from pixeldistill.recipe.quick import trial_of
    from pixeldistill.report.comparison import to_rich
    from pixeldistill.storage.run_folder import COMPARISON, FIGURES

    console, loaded = Console(), every_method(load_recipe(recipe, set_ or []))
    loaded = trial_of(loaded) if quick else loaded
    found = run_comparison(loaded, workers=workers, accelerator=accelerator, console=console)
    if first_process():
        for name, top1 in found.references.items():
            say(f"{name}: {share(top1)} on test")
        for label, methods in found.students.items():
            show_table(console, to_rich(label, found.teacher, methods))
        say(f"table: {loaded.run / COMPARISON}; costs and all figures: {loaded.run / FIGURES}")
    if found.failure:
        raise found.failure


def sweep(
    recipe: RecipeFile,
    set_: Overrides = None,
    quick: Quick = False,
    workers: Workers = None,
    accelerator: Accelerator = "auto",
    ray: Annotated[
        str | None, typer.Option(help="Train on a Ray cluster: auto, local or its address.", metavar="ADDRESS")
    ] = None,
    tasks: Annotated[int | None, typer.Option(min=1, help="With --ray: groups of students; by default one a GPU.")] = None,
) -> None:
    """Train the candidates that fit the recipe's budget, stop dominated ones early, and find the Pareto front."""
    need_torch()
    from pixeldistill.experiments.ray import on_ray
    from pixeldistill.experiments.sweep import sweep as run_sweep
    from pixeldistill.storage.run_folder import FRONTIER

    if tasks and not ray:
        raise RecipeError("--tasks divides the students of a cluster: name it by --ray")
    loaded = _load(recipe, set_, quick)
    cluster = on_ray(ray, tasks) if ray else None
    found = run_sweep(
        loaded, workers=workers, accelerator=accelerator, console=Console(), tell=show_choice, cluster=cluster
    )  # fmt: skip
    if first_process():
        for one in found.front:
            say(f"on the front: {one.label}: val {share(one.val)}, test {share(one.test)}")
        say(f"table: {loaded.run / FRONTIER}")
        for picture in found.pictures:
            say(f"picture: {picture}")
    if found.failures:
        raise RunError(reasons(found.failures))


def _load(path: Path, overrides: list[str] | None, quick: bool) -> "Recipe":
    from pixeldistill.recipe.load import load_recipe
    from pixeldistill.recipe.quick import trial_of

    loaded = load_recipe(path, overrides or [])
    return trial_of(loaded) if quick else loaded


def _run(recipe: "Recipe", *, supervised_only: bool, workers: int | None, accelerator: str) -> None:
    need_torch()
    from pixeldistill.data.splits import load_splits
    from pixeldistill.recipe.expand import student_pairs
    from pixeldistill.report.summary import by_stage, gains, to_markdown, to_rich
    from pixeldistill.runs.execute import run_recipe
    from pixeldistill.runs.provenance import finished
    from pixeldistill.storage.files import write_file
    from pixeldistill.storage.run_folder import FIGURES, RECONSTRUCTION

    console, failure = Console(), None
    try:
        results = run_recipe(recipe, supervised_only=supervised_only, workers=workers, accelerator=accelerator, console=console)
    except GivenUp as error:
        results, failure = cast(list["TrainingResult"], error.results), error
    if first_process() and results:
        found = by_stage(finished(recipe))  # `train` leaves the lines of what `distill` has trained before
        remarks = gains(found, student_pairs(recipe))
        write_file(recipe.run / FIGURES, to_markdown(found, str(recipe.run), remarks))
        show_table(console, to_rich(found, str(recipe.run)))
        for remark in remarks:
            say(remark)
        for picture in (result.folder / RECONSTRUCTION for result in results):
            if picture.is_file():
                say(f"picture: {picture}")
        say(f"table: {recipe.run / FIGURES}")
        if not failure:
            image = next((str(s.path) for s in load_splits(recipe.data).test), "IMAGES")
            say(f"next: {NEXT.format(run=shell_word(str(recipe.run)), image=shell_word(image))}")
    if failure:
        raise failure
