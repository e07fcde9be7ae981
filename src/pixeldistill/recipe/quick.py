"""Trial of a recipe: the same recipe with one epoch a stage on a few images, in its own run folder."""

from pathlib import Path
from typing import Any

from pixeldistill.recipe.load import parse_recipe
from pixeldistill.recipe.recipe import Recipe

IMAGES, BATCH = 400, 16


def trial_of(recipe: Recipe) -> Recipe:
    """Shorten a recipe, so that everything in it runs once within a minute or two. Its figures mean nothing."""
    content = recipe.model_dump(mode="json", exclude_unset=True)
    data = content["data"]
    content |= {
        "run": str(Path(f"{recipe.run}-quick")),
        "seeds": list(recipe.seeds[:1]),
        "data": data | {"limit": min(IMAGES, data.get("limit") or IMAGES), "image_cache_folder": None},
        "schedule": _once(content["schedule"]),
    }
    if recipe.candidates:
        content["halving"] = None
    if recipe.teacher_cache:
        content["teacher_cache"] |= {"folder": None}
    for part in (content.get("teacher"), content.get("assistant"), *content.get("stages", ())):
        if part and part.get("schedule"):
            part["schedule"] = _once(part["schedule"])
    for entry in content.get("stages", ()):
        entry |= {"seeds": None, "match_compute_of": None}
    for part in (content, content.get("assistant"), *content.get("stages", ()), *(content.get("compare") or {}).values()):
        if part and part.get("terms"):
            part["terms"] = [term | {"warmup_epochs": 0, "cooldown_epochs": 0} for term in part["terms"]]
    if recipe.compare:
        content["compare"] = {
            name: method | {"epochs": 1, "match_compute_of": None, "seeds": None} for name, method in content["compare"].items()
        }
    return parse_recipe(content)


def _once(schedule: dict[str, Any]) -> dict[str, Any]:
    short = {key: value for key, value in schedule.items() if key not in ("milestones", "gamma", "ema_epochs")}
    short |= {"epochs": 1, "warmup_epochs": 0, "batch_size": min(BATCH, schedule.get("batch_size", BATCH)), "accumulate": 1}
    return short | ({"decay": "cosine"} if schedule.get("decay") == "step" else {})
