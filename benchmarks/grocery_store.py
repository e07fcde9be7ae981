"""GroceryStore (81 classes), tf_efficientnet_lite0 from 224 to 56 (two seeds) and 112 (one): supervised, PKD, PKD + ISRD.

    .venv/bin/python benchmarks/grocery_store.py PATH/TO/grocery_store [--teacher-cache exact] [--image-cache 256] [--epochs 20]

One command; it can be stopped and goes on. It prints the tables of docs/benchmarks/grocery-one-stage.md, and its time.
With a teacher cache or an image cache the runs lie beside those without; both sides share teacher, both caches.
"""

import argparse
import json
import time
from pathlib import Path

from pixeldistill.process import tune_process

tune_process()

from pixeldistill.cli.app import run_command
from pixeldistill.recipe.load import load_recipe
from pixeldistill.report.summary import by_stage, to_markdown
from pixeldistill.runs.execute import run_recipe

RECIPE = Path(__file__).parent.parent / "recipes" / "grocery_store.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--teacher-cache", help="distinct views, or exact")
    parser.add_argument("--image-cache", type=int, help="shorter side of the stored images")
    parser.add_argument("--epochs", type=int, help="of the students (recipe: 10)")
    parser.add_argument("--image-sizes", type=int, nargs="+", default=[56, 112])
    args = parser.parse_args()
    common = [f"data.root={args.data.resolve()}"]
    name = "grocery"
    if args.image_cache:
        common += [f"data.image_cache={args.image_cache}", f"data.image_cache_folder=runs/grocery-store-{args.image_cache}"]
        name += f"-image-cache{args.image_cache}"
    taught_by = f"runs/{name}-teacher"
    teacher = load_recipe(RECIPE, [*common, "student=null", "controls=[]", f"run={taught_by}"])
    began = time.monotonic()
    run_recipe(teacher)
    print(f"teacher: {time.monotonic() - began:.0f} s")
    if args.epochs:
        common.append(f"schedule.epochs={args.epochs}")
        name += f"-epochs{args.epochs}"
    if args.teacher_cache:
        views = {"views": args.teacher_cache if args.teacher_cache == "exact" else int(args.teacher_cache)}
        folder = f"runs/{name}-teacher-cache-{args.teacher_cache}"
        common.append(f"teacher_cache={json.dumps(views | {'folder': folder})}")
        name += f"-teacher-cache-{args.teacher_cache}"
    for image_size in args.image_sizes:
        seeds = "[0, 1]" if image_size == 56 else "[0]"
        settings = [f"student.image_size={image_size}", f"seeds={seeds}", "teacher.schedule=null", f"teacher.weights={taught_by}"]
        recipe = load_recipe(RECIPE, [*common, *settings, f"run=runs/{name}-{image_size}"])
        began = time.monotonic()
        results = run_recipe(recipe)
        print(f"\n{recipe.run}: {time.monotonic() - began:.0f} s in this call")
        print(to_markdown(by_stage((result.stage.name, result.figures) for result in results)))


if __name__ == "__main__":
    raise SystemExit(run_command(main))
