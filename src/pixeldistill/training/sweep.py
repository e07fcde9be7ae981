"""Sweeps: which of a recipe's candidates are worth their costs, found by training them side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from pixeldistill.candidates import Halving
from pixeldistill.cost.choose import Choice, choose, cost_of, list_students, with_students
from pixeldistill.cost.costs import Costs
from pixeldistill.cost.plan import NEAR
from pixeldistill.data.sources import Splits, load_splits
from pixeldistill.errors import GivenUp, RecipeError
from pixeldistill.files import write_file, write_json
from pixeldistill.recipe import Recipe
from pixeldistill.report.frontier import Measured, draw_frontiers, front, to_csv, to_markdown
from pixeldistill.tasks.headline import HEADLINES, decisive
from pixeldistill.training.halving import lost_students
from pixeldistill.training.logs import METRICS, read_column
from pixeldistill.training.passes import Training
from pixeldistill.training.progress import counting
from pixeldistill.training.runs import DONE, read_record
from pixeldistill.training.stages import Result, run_recipe

VERDICT, TABLE = "given-up.json", "frontier.md"
AXES = ("bytes", "macs")  # by which students are compared, where no budget names others


@dataclass(frozen=True)
class Sweep:
    """What came of a sweep: the plan, every student that was begun, those on the front, and pictures of it."""

    choice: Choice
    students: Sequence[Measured]
    front: Sequence[Measured]
    pictures: Sequence[Path]
    failure: GivenUp | None = None


class Halver:
    """Gives up the students of a sweep that are dominated most; its verdicts lie in their folders."""

    def __init__(self, costs: Mapping[str, Costs], axes: Sequence[str], halving: Halving, figure: str, images: int) -> None:
        self.halving, self.figure, self.images = halving, figure, images
        self.costs = {name: [getattr(cost, axis) for axis in axes] for name, cost in costs.items()}
        self.seen: dict[str, list[float]] = {}  # of each student, epoch by epoch
        self.given_up: dict[str, int] = {}

    def verdict(self, training: Training) -> str | None:
        """See `passes.Referee`."""
        name, path = training.stage.name, training.folder / VERDICT
        if name not in self.costs:
            return None
        if path.is_file():
            content = read_record(path)
            self.seen[name], self.given_up[name] = content["val"], content["epoch"]
            return str(content["reason"])
        if (training.folder / DONE).is_file():
            self.seen[name] = read_column(training.folder / METRICS, f"val_{self.figure}")
        return None

    def judge(self, trainings: Sequence[Training], histories: Sequence[Sequence[Mapping[str, float]]]) -> Mapping[int, str]:
        """See `passes.Referee`. Students are judged at an epoch when all that are under way have come to it."""
        mine = {t.stage.name: place for place, t in enumerate(trainings) if t.stage.name in self.costs}
        alive = [len(histories[place]) for name, place in mine.items() if name not in self.given_up]
        if not alive:
            return {}
        for name, place in mine.items():
            self.seen[name] = [row[f"val_{self.figure}"] for row in histories[place][: min(alive)]]
        epochs = trainings[0].stage.schedule.epochs
        known = {name: self.seen[name] for name in self.costs if name in self.seen}  # in one order, for one decision
        lost = lost_students(known, self.costs, self.halving, epochs, self.images, self.given_up)
        found = {}
        for name in lost.keys() - self.given_up.keys():
            if name not in mine:
                continue  # it is trained to its end already
            reason = f"given up after epoch {lost[name]} of {epochs}: others are better for no more"
            write_json(trainings[mine[name]].folder / VERDICT, {"epoch": lost[name], "reason": reason, "val": self.seen[name]})
            self.given_up[name] = lost[name]
            found[mine[name]] = reason
        return found


def sweep(
    recipe: Recipe, *, workers: int | None = None, accelerator: str = "auto", console: Console | None = None, near: float = NEAR
) -> Sweep:
    """Train the candidates that a recipe's budget allows, give up early what is dominated, and find the front.

    The teacher, its bank and the assistants are shared; students with one schedule train side by side. The first of the recipe's
    seeds is trained.

    Raises:
        RecipeError: no candidates, or none that the budget allows.
        PixelDistillError: as `run_recipe`.
    """
    if recipe.candidates is None:
        raise RecipeError("a sweep needs `candidates`: {networks: [...], sides: [...]}")
    console = console or Console()
    splits = load_splits(recipe.data)
    choice = choose_students(recipe, splits, console)
    costs = {f"distilled-{student.label}": cost for student, cost in choice.students}
    chosen = with_students(recipe, [student for student, _ in choice.students]).model_copy(update={"seeds": recipe.seeds[:1]})
    axes = tuple(recipe.budget) or tuple(axis for axis in AXES if all(getattr(c, axis) is not None for c in costs.values()))
    figure = HEADLINES[recipe.task]
    halver = Halver(costs, axes, recipe.halving, figure, len(splits.val)) if recipe.halving and len(costs) > 1 else None
    failure = None
    try:
        results = run_recipe(chosen, workers=workers, accelerator=accelerator, console=console, referee=halver)
    except GivenUp as error:
        results, failure = [r for r in error.results if isinstance(r, Result)], error
    done = {result.stage.name: result for result in results}
    measured = [_measured(name, cost, done.get(name), halver) for name, cost in costs.items()]
    write_file(recipe.run / TABLE, to_markdown(measured, figure, axes))
    write_file(recipe.run / "frontier.csv", to_csv(measured))
    pictures = draw_frontiers(recipe.run, measured, figure)
    return Sweep(choice, measured, front(measured, axes), pictures, failure)


def choose_students(recipe: Recipe, splits: Splits, console: Console) -> Choice:
    """Measure a recipe's candidates and plan with them; what was measured is kept in the run folder."""
    assert recipe.candidates is not None
    listed = list_students(recipe.candidates, recipe.imaging, recipe.detector)
    done = 0
    with counting(console, "measuring", "pairs") as tell:

        def step() -> None:
            nonlocal done
            done += 1
            tell(done, len(listed))

        costed, refused = cost_of(
            listed, len(splits.classes), splits.test or splits.val, latency="latency" in recipe.budget,
            cache=recipe.run / "costs", step=step,
        )  # fmt: skip
    return choose(costed, refused, dict(recipe.budget), NEAR)


def _measured(name: str, cost: Costs, result: Result | None, halver: Halver | None) -> Measured:
    label = name.removeprefix("distilled-")
    if result is None:
        epoch = halver.given_up.get(name) if halver else None
        val = halver.seen[name][epoch - 1] if halver and epoch else None
        return Measured(label, cost, val, None, epoch)
    last = result.figures["last"]
    return Measured(label, cost, decisive(last["val"]), decisive(last["test"]) if "test" in last else None, None)
