"""GroceryStore (81 classes), tf_efficientnet_lite0 from 224 to 56 (two seeds) and 112 (one): alone, PKD, PKD + ISRD.

    .venv/bin/python benchmarks/grocery_store.py PATH/TO/grocery_store

One command; it can be stopped and goes on. It prints the tables that stand in docs/results.md.
"""

import sys
from pathlib import Path

from pixeldistill.cli import run_command
from pixeldistill.reading import load_recipe
from pixeldistill.report.summary import by_stage, to_markdown
from pixeldistill.training.stages import run_recipe

RECIPE = Path(__file__).parent.parent / "recipes" / "grocery_store.yaml"


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    root = f"data.root={Path(sys.argv[1]).resolve()}"
    small = load_recipe(RECIPE, [root])
    middle = load_recipe(
        RECIPE,
        [
            root,
            "student.side=112",
            "seeds=[0]",
            "run=runs/grocery-112",
            "teacher.schedule=null",
            f"teacher.weights={small.run}/1-teacher",  # trained once, with the first seed
        ],
    )
    for recipe, results in [(recipe, run_recipe(recipe)) for recipe in (small, middle)]:
        print(f"\n{recipe.run}\n{to_markdown(by_stage((r.stage.name, r.figures) for r in results))}")


if __name__ == "__main__":
    sys.exit(run_command(main))
