"""First run without a recipe: inspect a folder and make a recipe for it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pixeldistill.cli.console import Workers, first_process, need_torch, say
from pixeldistill.display.text import in_time, in_words, shell_word
from pixeldistill.errors import RecipeError
from pixeldistill.machine import cores
from pixeldistill.storage.run_folder import RECIPE

if TYPE_CHECKING:
    from pixeldistill.data.survey import Survey
    from pixeldistill.recipe.recipe import Recipe

Student = Annotated[str | None, typer.Option(help="Of a folder: the student, a timm name; by default resnet18.")]
ImageSize = Annotated[int | None, typer.Option(min=8, help="Of a folder: side of the student's images in pixels.")]
Teacher = Annotated[str | None, typer.Option(help="Of a folder: the teacher, a timm name; by default resnet50.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="Of a folder: epochs of the student.")]
Start = Annotated[
    Literal["pretrained", "none"] | None, typer.Option("--weights", help="Of a folder: what the networks start from.")
]


def init(
    folder: Annotated[Path, typer.Argument(help="A folder of images and labels.", metavar="FOLDER")],
    out: Annotated[Path, typer.Option(help="The recipe that is written.")] = Path("recipe.yaml"),
    student: Student = None,
    image_size: ImageSize = None,
    teacher: Teacher = None,
    epochs: Epochs = None,
    weights: Start = None,
    workers: Workers = None,
) -> None:
    """Inspect a folder, and write a commented recipe for it, with an estimate of the time on this machine."""
    need_torch()
    from pixeldistill.data.survey import first_recipe
    from pixeldistill.recipe.load import parse_recipe
    from pixeldistill.recipe.starter import to_yaml
    from pixeldistill.storage.files import write_file

    if out.exists():
        raise RecipeError(f"{out} is there already: name another file as --out, or remove it")
    found, content = first_recipe(
        folder, workers, student=student, image_size=image_size, teacher=teacher, epochs=epochs, weights=weights
    )
    told = [*found.notes, _size_line(found), _time_line(parse_recipe(content), found, workers)]
    for line in told:
        say(line)
    name = shell_word(str(out))
    head = f"Written by `pixeldistill init {shell_word(str(folder))}`. Train it: pixeldistill distill {name}"
    write_file(out, to_yaml(content, [head, *told]))
    say(f"recipe: {out}")
    say(f"next: `pixeldistill show {name}`, `pixeldistill distill {name}` (--quick: a trial)")


def recipe_for(
    path: Path, overrides: list[str] | None, *, quick: bool, workers: int | None, **said: str | int | None
) -> "Recipe":
    """Load a recipe file, or make a recipe for a folder, and shorten it for a trial. A folder's recipe is written into the run.

    Raises:
        RecipeError: options for a folder are given with a recipe file.
    """
    from pixeldistill.recipe.load import load_recipe, parse_recipe, with_overrides
    from pixeldistill.recipe.quick import trial_of
    from pixeldistill.recipe.starter import to_yaml
    from pixeldistill.storage.files import write_file

    if not path.exists():
        raise RecipeError(f"{path} is not there: name a recipe, or a folder of images")
    if path.is_dir():
        need_torch()
        from pixeldistill.data.survey import first_recipe

        found, content = first_recipe(path, workers, **said)
        say(_size_line(found))
        recipe = parse_recipe(with_overrides(content, overrides or []))
        recipe = trial_of(recipe) if quick else recipe
        written = recipe.run / RECIPE
        if first_process():
            write_file(written, to_yaml(content, [f"Made by `pixeldistill distill {shell_word(str(path))}`."]))
        say(f"recipe: {written}")
        return recipe
    if given := next((name for name, value in said.items() if value is not None), None):
        raise RecipeError(f"--{given.replace('_', '-')} is for a folder of images; a recipe says it itself: use --set")
    recipe = load_recipe(path, overrides or [])
    return trial_of(recipe) if quick else recipe


def _size_line(found: "Survey") -> str:
    height, width = found.size
    return f"images: the median is {width}×{height} pixels"


def _time_line(recipe: "Recipe", found: "Survey", workers: int | None) -> str:
    from pixeldistill.data.loading import default_workers
    from pixeldistill.recipe.expand import expand
    from pixeldistill.runs.estimate import estimate

    stages = expand(recipe)
    seconds = estimate(stages, found.splits, default_workers() if workers is None else workers)
    machine = in_words(cores(), "core")
    count = in_words(len(stages), "training")
    return f"time: about {in_time(seconds)} for {count} on this machine's {machine}, if nothing else runs"
