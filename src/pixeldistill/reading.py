"""Reading recipes: YAML in, overrides applied, errors that name the place and the fix. Neither torch nor timm."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from pixeldistill.candidates import Candidates, Halving
from pixeldistill.detectors import DetectorSettings
from pixeldistill.errors import RecipeError, nearest
from pixeldistill.expansion import entries, expand
from pixeldistill.files import read_text
from pixeldistill.inputs import Data, Imaging, Views
from pixeldistill.losses import KINDS
from pixeldistill.methods import Method
from pixeldistill.recipe import Assistant, Bank, Network, Recipe, StageEntry, Student, Teacher
from pixeldistill.schedules import Schedule
from pixeldistill.wording import shown
from pixeldistill.yaml_files import LARGEST, parse_yaml, parsed, shared_settings


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and validate a recipe.

    Args:
        path: a YAML file.
        overrides: `a.b.0.c=value` settings, applied to the YAML before validation; the value is itself YAML.

    Raises:
        RecipeError: naming the place, what was expected, the nearest valid names and the fix.
    """
    path = Path(path)
    text = read_text(path, RecipeError, "recipe ", LARGEST)
    content = parsed(text, f"recipe {path}", RecipeError)
    if not isinstance(content, dict):
        told = "is empty" if content is None else f"is a {type(content).__name__}"
        raise RecipeError(f"recipe {path} must be a mapping of settings, and {told}")
    for name in shared_settings(text) - Recipe.model_fields.keys():  # written once, meant elsewhere
        content.pop(name, None)
    for override in overrides:
        _override(content, override)
    return parse_recipe(content, source=str(path))


def _with_a_student(content: Mapping[str, Any], candidates: Candidates | None) -> Mapping[str, Any]:
    """Put the largest of a recipe's candidates in their place, so that the chain can be checked before one is chosen."""
    if candidates is None:
        return content
    rest = {name: value for name, value in content.items() if name not in ("candidates", "budget", "halving")}
    return rest | {"student": {"network": candidates.networks[0], "side": max(candidates.sides)}}


def parse_recipe(content: Mapping[str, Any], source: str = "recipe") -> Recipe:
    """Validate a recipe given as a mapping. Raises RecipeError."""
    try:
        recipe = Recipe.model_validate(content)
        expand(Recipe.model_validate(_with_a_student(content, recipe.candidates)))
    except ValidationError as error:
        raise RecipeError(f"{source}: " + "; ".join(_explanations(error.errors())[:5])) from None
    except RecipeError as error:
        raise RecipeError(f"{source}: {error}") from None
    return recipe


def told(network: Network) -> dict[str, Any]:
    """Write a network as a recipe does; of a detector all, as where it is silent the recipe's `detector` would speak."""
    written = network.model_dump(mode="json", exclude_defaults=True)
    return written | ({"detector": network.detector.model_dump(mode="json")} if network.detector else {})


def write_stages(recipe: Recipe) -> str:
    """Write the stages that a recipe stands for as YAML: a `stages:` that may stand in its place."""
    written = [
        entry.model_dump(mode="json", exclude_defaults=True)
        | {role: told(network) for role in ("student", "teacher") if isinstance(network := getattr(entry, role), Network)}
        for entry in entries(recipe)
    ]
    return yaml.safe_dump({"stages": written}, sort_keys=False, default_flow_style=None, width=120)


def _override(content: dict[str, Any], override: str) -> None:
    """Apply one `a.b.0.c=value` in place; mappings on the way are made, list items must exist."""
    place, sign, text = override.partition("=")
    keys = place.split(".")
    if not sign or not all(keys):
        raise RecipeError(f"--set {override}: expected a.b.0.c=value")
    try:
        value = parse_yaml(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {shown(override)}: {shown(text)} is not YAML") from error
    node: Any = content
    for depth, key in enumerate(keys):
        last = depth == len(keys) - 1
        if isinstance(node, list):
            if not key.isdigit() or int(key) >= len(node):
                raise RecipeError(f"--set {override}: {key!r} is no item of the list of {len(node)} at "
                                  f"{'.'.join(keys[:depth])}")  # fmt: skip
            slot: Any = int(key)
        elif isinstance(node, dict):
            slot = key
        else:
            raise RecipeError(f"--set {override}: {'.'.join(keys[:depth])} is {node!r}, which has no {key!r}")
        if last:
            node[slot] = value
        else:
            if isinstance(node, dict) and node.get(slot) is None:
                if keys[depth + 1].isdigit():
                    raise RecipeError(
                        f"--set {override}: the recipe has no list {'.'.join(keys[: depth + 1])!r}: write it out there"
                    )
                node[slot] = {}
            node = node[slot]


_MODELS: dict[str, type[BaseModel]] = {
    "data": Data, "teacher": Teacher, "assistant": Assistant, "student": Student, "students": Student, "stages": StageEntry,
    "schedule": Schedule, "bank": Bank, "views": Views, "imaging": Imaging, "detector": DetectorSettings, "compare": Method,
    "candidates": Candidates, "halving": Halving, "cameras": Imaging,
    **KINDS,
}  # fmt: skip


MOST_ERRORS = 50  # that are looked at: five are told
_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def _explanations(errors: Sequence[Any]) -> list[str]:
    """Explain each error once: not a list's length that is wrong because of an item, nor every branch of a union."""
    found: dict[str, str] = {}
    errors = errors[:MOST_ERRORS]
    for error in sorted(errors, key=lambda error: error["type"] != "literal_error" or not isinstance(error["input"], str)):
        inner = any(other["loc"][: len(error["loc"])] == error["loc"] for other in errors if other is not error)
        if error["type"] != "too_short" or not inner:
            found.setdefault(_place(error), _explain(error))
    return list(found.values())


def _place(error: Any) -> str:  # noqa: ANN401  (pydantic's ErrorDetails)
    location = error["loc"]
    parts = [str(part) for i, part in enumerate(location) if not _is_branch(location, i)]
    return ".".join(parts)


def _is_branch(location: Sequence[Any], i: int) -> bool:
    """Tell whether a part of a location names no place, but the branch of a union that pydantic tried there."""
    part = str(location[i])
    return (
        "[" in part
        or part in ("constrained-int", "str", "Network")
        or (i > 0 and part in KINDS and isinstance(location[i - 1], int))
    )


def _owner(location: Sequence[Any]) -> type[BaseModel]:
    """Find the part of the recipe in which a key stands."""
    for i in range(len(location) - 2, -1, -1):
        if location[i] in _MODELS and (location[i] not in KINDS or _is_branch(location, i)):
            return _MODELS[location[i]]
    return Recipe


def _explain(error: Any) -> str:  # noqa: ANN401  (pydantic's ErrorDetails)
    """Put one of pydantic's errors into a line: place, what was expected, what came, the nearest names."""
    location = list(error["loc"])
    place = _place(error)
    given, context = error.get("input"), error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            text = f"unknown key, {nearest(str(location[-1]), _owner(location).model_fields)}"
        case "missing":
            text = "missing; it must be given"
        case "literal_error":
            valid = re.findall(r"'([^']*)'", context["expected"])
            text = f"{given!r} is not valid, {nearest(str(given), valid)}"
        case "union_tag_invalid":
            place, text = f"{place}.kind", f"unknown term {context['tag']!r}, {nearest(context['tag'], KINDS)}"
        case "union_tag_not_found":
            text = "a term needs `kind`, for example {kind: pkd}"
        case "value_error":
            text = str(context["error"])
        case "greater_than_equal" | "greater_than" | "less_than_equal" | "less_than":
            bound, words = next((context[key], words) for key, words in _BOUNDS.items() if key in context)
            text = f"must be {words} {bound:g}, not {given!r}"
        case "too_long" | "too_short" if isinstance(given, list | tuple | dict):
            few = error["type"] == "too_short"
            most = f"at least {context['min_length']}" if few else f"at most {context['max_length']}"
            text = f"takes {most}, not {len(given)}: {given!r}"
        case "model_type" | "dict_type":
            text = f"expected settings, such as {{key: value}}, not {given!r}"
        case "tuple_type":
            text = f"expected a list, not {given!r}"
        case _:
            text = f"{error['msg'][0].lower()}{error['msg'][1:]}, not {given!r}"
    return f"{place}: {text}" if place else text
