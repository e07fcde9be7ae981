"""Command that prints the stages of a recipe and, as a dry run, their shapes."""

from typing import Annotated

import typer

from pixeldistill.cli.console import Overrides, RecipeFile, need_torch, say


def show(
    recipe: RecipeFile,
    set_: Overrides = None,
    as_stages: Annotated[bool, typer.Option("--stages", help="Print the stages as YAML, to be edited as `stages:`.")] = False,
    compared: Annotated[bool, typer.Option("--compare", help="What `compare` trains, if the recipe names no methods.")] = False,
) -> None:
    """Print the stages that the recipe stands for and, as a dry run, all tensor shapes."""
    from pixeldistill.recipe.expand import expand
    from pixeldistill.recipe.load import load_recipe, write_stages

    loaded = load_recipe(recipe, set_ or [])
    if compared:
        need_torch()
        from pixeldistill.experiments.compare import every_method

        loaded = every_method(loaded)
    if as_stages:
        print(write_stages(loaded), end="")
        return
    need_torch()
    from pixeldistill.runs.dry_run import (
        describe_passes,
        describe_schedule,
        describe_stage,
        disagreements,
        doubts,
        known_classes,
    )
    from pixeldistill.runs.equal_compute import match_compute
    from pixeldistill.tasks import task_of

    classes, images, data = known_classes(loaded)
    warnings = []
    if images is None:
        warnings += data
    else:
        for line in data:
            say(line)
    stages = match_compute(expand(loaded), len(classes), images)
    for number, stage in enumerate(stages, start=1):
        seeds = ", ".join(map(str, stage.seeds))
        say("")
        say(f"{number}. {stage.name}: seeds {seeds} → {loaded.run}/{number}-{stage.name}")
        for line in describe_stage(stage, len(classes), images):
            say(f"   {line}")
        say(f"   schedule: {describe_schedule(stage.schedule)}")
        warnings += doubts(stage, classes, images)
    for line in (*describe_passes(loaded, stages), *task_of(loaded).describe_coverage(loaded, stages)):
        say("")
        say(line)
    for warning in dict.fromkeys([*warnings, *disagreements(loaded, stages)]):
        say("")
        say(f"warning: {warning}")
