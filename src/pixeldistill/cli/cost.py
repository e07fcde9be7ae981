"""Commands about the costs of a deployment: cost, plan."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pixeldistill.cli.console import Overrides, first_process, need_torch, optional_recipe, say, table
from pixeldistill.cost.cache import default_cache
from pixeldistill.cost.costs import Costs, columns, read_costs, to_csv, to_json, write_quantity
from pixeldistill.cost.plan import NEAR, Plan
from pixeldistill.cost.plan import plan as make_plan
from pixeldistill.display.text import in_words
from pixeldistill.errors import RecipeError
from pixeldistill.recipe.budget import AXES, parse_limit
from pixeldistill.storage.files import write_file

if TYPE_CHECKING:
    from pixeldistill.cost.measure import Unavailable
    from pixeldistill.cost.selection import Selection
    from pixeldistill.recipe.network import Student
    from pixeldistill.recipe.recipe import Recipe
    from pixeldistill.recipe.search import StudentOptions

SHOWN = 12  # pairs that do not fit, or cannot be built

Networks = Annotated[list[str] | None, typer.Argument(help="Names or globs of timm's architectures.", metavar="NETWORK...")]
Sides = Annotated[list[int] | None, typer.Option("--image-size", min=8, help="Side of the image in pixels; again for more.")]
Strides = Annotated[
    list[int] | None,
    typer.Option(
        "--stem-stride", min=1, max=64, help="Stride of the first convolution; again for more. By default the network's."
    ),
]
Codecs = Annotated[list[str] | None, typer.Option("--codec", help="jpeg:85, webp:60, png or raw; again for more.")]
Grey = Annotated[bool, typer.Option("--grey", help="The camera sees no colour.")]
RecipeOption = Annotated[Path | None, typer.Option("--recipe", help="Whose images, classes, detector and candidates to take.")]
Images = Annotated[Path | None, typer.Option(help="Folder of images to measure the bytes by.")]
Classes = Annotated[int | None, typer.Option(min=1, help="Of the prediction, by default 1000; a recipe's data says it itself.")]
Rate = Annotated[float | None, typer.Option(help="Images a second, for the bits a second.")]
Latency = Annotated[bool, typer.Option("--latency", help="Export and time each network, with ONNX Runtime.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Of the timing; by default all cores.")]
Cache = Annotated[Path | None, typer.Option(help="Where measurements are kept; by default ~/.cache/pixeldistill.")]


def cost(
    networks: Networks = None,
    image_size: Sides = None,
    stem_stride: Strides = None,
    codec: Codecs = None,
    grey: Grey = False,
    recipe: RecipeOption = None,
    set_: Overrides = None,
    images: Images = None,
    classes: Classes = None,
    fps: Rate = None,
    latency: Latency = False,
    threads: Threads = None,
    cache: Cache = None,
    out: Annotated[Path | None, typer.Option(help="Also write a file: .csv or .json.")] = None,
) -> None:
    """Measure the costs of networks at image sizes: computation, memory, time, sensor, transmission."""
    from pixeldistill.recipe.search import StudentOptions

    _check_out(out)
    loaded = optional_recipe(recipe, set_)
    asked = StudentOptions(networks, image_size, stem_stride, codec, grey)
    costed, refused = _measured(asked, loaded, images, classes, fps, latency, threads, cache)
    costs = [one for _, one in costed]
    _show_costs(costs, "")
    if (codec or fps) and not (images or recipe):
        say("bytes are not measured without images: name yours by --images")
    _tell_refused(refused)
    if out:
        write_file(out, (to_json if out.suffix == ".json" else to_csv)(costs))
        say(f"table: {out}")


def plan(
    networks: Networks = None,
    limits: Annotated[list[str] | None, typer.Option("--max", help="bytes=4kB, macs=50M, latency=5ms, params=3M, …")] = None,
    image_size: Sides = None,
    stem_stride: Strides = None,
    codec: Codecs = None,
    grey: Grey = False,
    recipe: RecipeOption = None,
    set_: Overrides = None,
    images: Images = None,
    classes: Classes = None,
    fps: Rate = None,
    threads: Threads = None,
    cache: Cache = None,
    costs: Annotated[Path | None, typer.Option(help="What `cost --out` wrote, instead of measuring.")] = None,
    near: Annotated[float, typer.Option(min=0, help="How far over a limit is still told of, as a share.")] = NEAR,
    write: Annotated[Path | None, typer.Option(help="Folder for a recipe of each survivor; needs --recipe.")] = None,
) -> None:
    """Find which networks at which image sizes a deployment can afford, which ones nearly fit, and which ones are dominated."""
    from pixeldistill.recipe.search import StudentOptions

    budget = dict(_limit(limit) for limit in limits or ())
    loaded = optional_recipe(recipe, set_)
    budget = {**(loaded.budget if loaded else {}), **budget}
    if not budget:
        raise RecipeError(f"a plan needs a budget: --max NAME=LIMIT, with a name of {', '.join(AXES)}")
    if write and not recipe:
        raise RecipeError("--write needs --recipe: what it writes are that recipe's variants")
    if costs:
        measuring = {
            "networks": networks, "--image-size": image_size, "--stem-stride": stem_stride, "--codec": codec, "--grey": grey,
            "--recipe": recipe, "--images": images, "--classes": classes, "--fps": fps, "--threads": threads, "--cache": cache,
            "--write": write,
        }  # fmt: skip
        if said := [name for name, value in measuring.items() if value is not None and value is not False]:
            raise RecipeError(f"--costs plans with what that file holds: leave out {said[0]}")
        _show_plan(make_plan(read_costs(costs), budget, near))
        return
    timed = "latency" in budget
    asked = StudentOptions(networks, image_size, stem_stride, codec, grey)
    costed, refused = _measured(asked, loaded, images, classes, fps, timed, threads, cache)
    from pixeldistill.cost.selection import select_students

    choice = select_students(costed, refused, budget, near)
    show_choice(choice)
    if write and loaded:
        _write_recipes(choice, loaded, write)


def _limit(text: str) -> tuple[str, float]:
    name, equals, value = text.partition("=")
    if not equals:
        raise RecipeError(f"--max {text}: write NAME=LIMIT, as in --max bytes=4kB")
    return name.strip(), parse_limit(name.strip(), value)


def _check_out(out: Path | None) -> None:
    if out and out.suffix not in (".csv", ".json"):
        raise RecipeError(f"--out {out}: name a .csv or a .json file")


def _measured(
    asked: "StudentOptions", recipe: "Recipe | None", images: Path | None, classes: int | None, fps: float | None, latency: bool,
    threads: int | None, cache: Path | None,
) -> "tuple[list[tuple[Student, Costs]], list[Unavailable]]":  # fmt: skip
    """Measure the networks that the options name. A recipe's candidates fill in missing options."""
    need_torch()
    if threads and not latency:
        raise RecipeError("--threads are of the timing: add --latency, or to a plan --max latency=…")
    from pixeldistill.cost.options import listed, samples_of
    from pixeldistill.cost.selection import cost_of
    from pixeldistill.training.progress import counting

    wanted = listed(asked, recipe)
    samples, count = samples_of(recipe, images, classes)
    done = 0
    with counting(Console(stderr=True), "measuring", "pairs") as tell:

        def step() -> None:
            nonlocal done
            done += 1
            tell(done, len(wanted))

        rate = recipe.candidates.fps if fps is None and recipe and recipe.candidates else fps
        return cost_of(
            wanted, count, samples, fps=rate, latency=latency, threads=threads, cache=cache or default_cache(), step=step
        )


def _show_costs(costs: Sequence[Costs], title: str, notes: Sequence[str] = (), heading: str = "") -> None:
    axes = columns(costs)
    threads = next((cost.threads for cost in costs if cost.threads), None)
    titles = [f"median latency, {threads} threads (p95)" if axis == "latency" else AXES[axis].title for axis in axes]
    rows = []
    for number, cost in enumerate(costs):
        cells = [write_quantity(axis, getattr(cost, axis)) for axis in axes]
        if "latency" in axes and cost.p95 is not None:
            cells[axes.index("latency")] += f" ({write_quantity('latency', cost.p95)})"
        rows.append([cost.title, str(cost.image_size), cost.camera, *cells, *(notes[number : number + 1])])
    table(title, ["network", "image_size", "camera", *titles, *([heading] if notes else [])], rows, close=True)


def show_choice(choice: "Selection") -> None:
    """Print the pairs that fit a budget, the pairs that do not, and the pairs that cannot be built."""
    if first_process():
        _show_plan(choice.plan)
        _tell_refused(choice.refused)


def _show_plan(found: Plan) -> None:
    budget = ", ".join(f"{AXES[axis].title} {write_quantity(axis, limit)}" for axis, limit in found.budget.items())
    _show_costs(found.fitting, f"{in_words(len(found.fitting), 'pair')} within the budget{budget and f' ({budget})'}")
    if found.dominated:
        by = [other.label for _, other in found.dominated]
        _show_costs([cost for cost, _ in found.dominated], "within the budget, but dominated", by, "by")
    if found.near:
        shown = found.near[:SHOWN]
        _show_costs([cost for cost, _ in shown], "nearly within", [str(excess) for _, excess in shown], "misses")
    rest = len(found.far) + len(found.near[SHOWN:])
    if rest:
        say(f"{in_words(rest, 'pair')} further off")


def _tell_refused(refused: "Sequence[Unavailable]") -> None:
    reasons = list(dict.fromkeys(one.reason for one in refused))  # one reason for a network and image size, for all cameras
    for reason in reasons[:SHOWN]:
        say(f"left out: {reason}")
    if reasons[SHOWN:]:
        say(
            "left out too: "
            + ", ".join(dict.fromkeys(f"{one.network} at {one.image_size}" for one in refused if one.reason in reasons[SHOWN:]))
        )


def _write_recipes(choice: "Selection", recipe: "Recipe", folder: Path) -> None:
    import yaml

    from pixeldistill.cost.selection import recipe_of

    written = {
        folder / f"{student.label}.yaml": f"# {costs.label}\n"
        + yaml.safe_dump(recipe_of(recipe, student), sort_keys=False, allow_unicode=True)
        for student, costs in choice.students
    }
    for path, text in written.items():
        if path.is_file() and path.read_text(encoding="utf-8") != text:
            raise RecipeError(f"--write: {path} is there already and says something else: name another folder")
    for path, text in written.items():
        write_file(path, text)
    say(f"{in_words(len(choice.students), 'recipe')}: {folder}")
