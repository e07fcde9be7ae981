"""Functions that `import pixeldistill` offers. Each does the same as the command of its name, and returns the result."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixeldistill.errors import RecipeError, nearest
from pixeldistill.extras import missing_extra
from pixeldistill.recipe.budget import parse_limit
from pixeldistill.recipe.load import load_recipe, parse_recipe
from pixeldistill.recipe.recipe import Recipe
from pixeldistill.recipe.starter import starter

if TYPE_CHECKING:
    from rich.console import Console

    from pixeldistill.cost.costs import Costs
    from pixeldistill.cost.plan import Plan
    from pixeldistill.evaluation.rerun import Measured
    from pixeldistill.experiments.compare import Comparison
    from pixeldistill.experiments.sweep import Sweep
    from pixeldistill.exporting.run import Exported
    from pixeldistill.inference.results import ImagePredictor
    from pixeldistill.runs.results import TrainingResult
    from pixeldistill.tasks.base import Result as Prediction

RecipeLike = Recipe | str | Path | Mapping[str, Any]


def distill(
    recipe: RecipeLike | None = None,
    *,
    supervised_only: bool = False,
    workers: int | None = None,
    accelerator: str = "auto",
    console: "Console | None" = None,
    **settings: Any,  # noqa: ANN401
) -> "list[TrainingResult]":
    """Train all stages of a recipe with all seeds. Finished trainings are skipped, interrupted ones go on.

    Args:
        recipe: a recipe, its file, or its content.
        supervised_only: leave out the stages with a teacher, and the stages that start from such a stage.
        workers: number of loader processes. By default one less than the cores, at most four.
        accelerator: auto, cpu, cuda or mps.
        console: where progress is written.
        settings: instead of a recipe, see `recipe.starter.starter`.

    Returns:
        One result for each training: its stage, seed, folder and figures.

    Raises:
        PixelDistillError: see `runs.execute.run_recipe`.

    Examples:
        >>> distill(data="photos", teacher="resnet50", student="resnet18", image_size=56)  # doctest: +SKIP

        >>> distill("recipe.yaml", image_size=56)
        Traceback (most recent call last):
        pixeldistill.errors.RecipeError: give a recipe, or settings such as image_size, not both
    """
    if (recipe is None) == (not settings):
        told = f"settings such as {next(iter(settings))}, not both" if settings else "settings: data=…, student=…, image_size=…"
        raise RecipeError(f"give a recipe, or {told}")
    if unknown := next((name for name in settings if name not in signature(starter).parameters), None):
        raise RecipeError(f"unknown setting {unknown!r}, {nearest(unknown, signature(starter).parameters)}")
    with told_what_to_install():
        from pixeldistill.runs.execute import run_recipe
    meant = parse_recipe(_recipe_from(workers, settings)) if recipe is None else _recipe(recipe)
    return run_recipe(meant, supervised_only=supervised_only, workers=workers, accelerator=accelerator, console=console)


def compare(
    recipe: RecipeLike, *, workers: int | None = None, accelerator: str = "auto", console: "Console | None" = None
) -> "Comparison":
    """Train the methods that a recipe compares, with all seeds, and put the results in a table.

    Args:
        recipe: a recipe, its file, or its content.
        workers: see `distill`.
        accelerator: see `distill`.
        console: see `distill`.

    Raises:
        PixelDistillError: see `experiments.compare.compare`.

    Examples:
        >>> compare("comparison.yaml").students  # doctest: +SKIP

        >>> compare({"student": {"network": "resnet18", "image_size": 56}})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        pixeldistill.errors.RecipeError: recipe: data: missing; it must be given; schedule: missing; it must be given; run: ...
    """
    meant = _recipe(recipe)
    with told_what_to_install():
        from pixeldistill.experiments.compare import compare as run
    return run(meant, workers=workers, accelerator=accelerator, console=console)


def sweep(
    recipe: RecipeLike, *, workers: int | None = None, accelerator: str = "auto", console: "Console | None" = None
) -> "Sweep":
    """Train the candidates that fit a recipe's budget, stop dominated ones early, and find the Pareto front.

    Args:
        recipe: a recipe with `candidates`, its file, or its content.
        workers: see `distill`.
        accelerator: see `distill`.
        console: see `distill`.

    Raises:
        PixelDistillError: see `experiments.sweep.sweep`.

    Examples:
        >>> [student.label for student in sweep("sweep.yaml").front]  # doctest: +SKIP

        >>> sweep("none.yaml")
        Traceback (most recent call last):
        pixeldistill.errors.RecipeError: recipe none.yaml cannot be read: No such file or directory
    """
    meant = _recipe(recipe)
    with told_what_to_install():
        from pixeldistill.experiments.sweep import sweep as run
    return run(meant, workers=workers, accelerator=accelerator, console=console)


def plan(costs: "Sequence[Costs] | str | Path", **budget: str | float) -> "Plan":
    """Sort pairs of network and camera by the costs that a deployment can afford. Needs no PyTorch.

    Args:
        costs: costs of all pairs, or the file that `pixeldistill cost --out` has written.
        budget: the largest allowed value of each cost, such as `bytes="4kB"` or `macs="50M"`.

    Raises:
        RecipeError: nothing fits, a cost has an unknown name, or a cost was not measured.
        DataError: the file holds no costs.

    Examples:
        >>> from pixeldistill.cost.costs import Costs
        >>> small, large = (Costs("net", side, "raw", params=1, macs=side**2, memory=1, pixels=side**2) for side in (32, 64))
        >>> [cost.image_size for cost in plan([small, large], macs="2k").fitting]
        [32]
    """
    from pixeldistill.cost.costs import read_costs
    from pixeldistill.cost.plan import plan as sort

    known = read_costs(Path(costs)) if isinstance(costs, str | Path) else costs
    return sort(known, {name: parse_limit(name, limit) for name, limit in budget.items()})


def evaluate(
    run: str | Path, recipe: RecipeLike | None = None, *, workers: int | None = None, accelerator: str = "auto"
) -> "Measured":
    """Measure the last and best weights of a run on val and test.

    Args:
        run: a run folder, or a stage or seed folder in it.
        recipe: gives the data and the camera. By default the run's own recipe.
        workers: see `distill`.
        accelerator: see `distill`.

    Raises:
        PixelDistillError: see `evaluation.rerun.measure_run`.

    Examples:
        >>> evaluate("runs/photos").figures["last"]["test"]["top1"]  # doctest: +SKIP

        >>> evaluate("none")
        Traceback (most recent call last):
        pixeldistill.errors.WeightsError: none is not there: name a run folder, or an exported file
    """
    meant = None if recipe is None else _recipe(recipe)
    with told_what_to_install():
        from pixeldistill.evaluation.rerun import measure_run
    return measure_run(Path(run), meant, workers=workers, accelerator=accelerator)


def export(run: str | Path, out: str | Path | None = None, **options: Any) -> "list[Exported]":  # noqa: ANN401
    """Export a run's network as an ONNX file that takes 8-bit images of any size, and check it against PyTorch.

    Args:
        run: a run folder, or a stage or seed folder in it.
        out: the file to write. By default `model.onnx` in the training's folder.
        options: `weights`, `images`, `int8`, `workers`, `force`. See `exporting.run.export_run`.

    Raises:
        PixelDistillError: see `exporting.run.export_run`.

    Examples:
        >>> export("runs/photos", int8=True)[1].path  # doctest: +SKIP

        >>> export("none")
        Traceback (most recent call last):
        pixeldistill.errors.WeightsError: none is not there: name a run folder, or an exported file
    """
    with told_what_to_install():
        from pixeldistill.exporting.run import export_run
    return export_run(Path(run), None if out is None else Path(out), **options)


def load_model(path: str | Path, weights: str = "last") -> "ImagePredictor":
    """Load a trained network, ready to predict. An exported file needs no PyTorch.

    Args:
        path: an exported file, or a run folder, or a stage or seed folder in it.
        weights: for a run, "last" or "best".

    Raises:
        PixelDistillError: the path does not exist, or pixeldistill did not write it.

    Examples:
        >>> load_model("none.onnx")
        Traceback (most recent call last):
        pixeldistill.errors.ExportError: none.onnx is not there: `pixeldistill export RUN` makes such a file
    """
    from pixeldistill.inference.runtimes import open_exported

    if exported := open_exported(Path(path)):
        return exported
    with told_what_to_install():
        from pixeldistill.inference.torch import Predictor
    return Predictor(path, weights)


def predict(
    model: "ImagePredictor | str | Path", files: Sequence[str | Path] | str | Path, *, top: int = 5, min_score: float = 0.3
) -> "list[Prediction]":
    """Predict images of any size: their classes, or the objects in them.

    Args:
        model: the result of `load_model`, or a path that `load_model` takes.
        files: paths of images, and of folders of images.
        top: for a classifier, the number of classes to return.
        min_score: for a detector, objects with a lower probability are not returned.

    Raises:
        PixelDistillError: see `load_model`, or a path does not exist.

    Examples:
        >>> predict("student.onnx", ["photos/"])[0].classes  # doctest: +SKIP

        >>> predict("none", ["photos/"])
        Traceback (most recent call last):
        pixeldistill.errors.WeightsError: none is not there: name a run folder, or an exported file
    """
    asked = load_model(model) if isinstance(model, str | Path) else model
    return asked.predict([files] if isinstance(files, str | Path) else files, top, min_score)


@contextmanager
def told_what_to_install() -> Iterator[None]:
    """Turn a failed import into an error that says what to install.

    Raises:
        MissingExtraError: a package is not installed.

    Examples:
        >>> with told_what_to_install():
        ...     raise ModuleNotFoundError(name="torch")
        Traceback (most recent call last):
        pixeldistill.errors.MissingExtraError: torch is not installed: pip install 'pixeldistill[train]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = missing_extra(error)
        if missing is None:
            raise
        raise missing from error


def _recipe_from(workers: int | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's content from settings. Inspect the data if it is a folder."""
    from pixeldistill.data.survey import first_recipe

    data, others = settings.get("data"), {name: value for name, value in settings.items() if name != "data"}
    if isinstance(data, str | Path) and Path(data).is_dir() and "student" in others:
        return first_recipe(Path(data), workers, **others)[1]
    return starter(data, **others)


def _recipe(recipe: RecipeLike) -> Recipe:
    if isinstance(recipe, Recipe):
        return recipe
    return load_recipe(recipe) if isinstance(recipe, str | Path) else parse_recipe(recipe)
