"""Reading recipes: parse YAML, apply overrides, and name the place and the fix in errors. Neither torch nor timm."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pixeldistill.display.text import shown
from pixeldistill.errors import RecipeError
from pixeldistill.recipe.expand import entries, expand
from pixeldistill.recipe.messages import explanations
from pixeldistill.recipe.network import Network
from pixeldistill.recipe.recipe import Recipe
from pixeldistill.recipe.search import Candidates
from pixeldistill.storage.files import read_text
from pixeldistill.storage.yaml_files import LARGEST, parse_yaml, parsed, shared_settings


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and validate a recipe.

    Args:
        path: a YAML file.
        overrides: `a.b.0.c=value` settings, applied to the YAML before validation. The value is itself YAML.

    Raises:
        RecipeError: the recipe is invalid. The message names the place, the expected value, the nearest valid names and the
            fix.
    """
    path = Path(path)
    text = read_text(path, RecipeError, "recipe ", LARGEST)
    content = parsed(text, f"recipe {path}", RecipeError)
    if not isinstance(content, dict):
        told = "is empty" if content is None else f"is a {type(content).__name__}"
        raise RecipeError(f"recipe {path} must be a mapping of settings, and {told}")
    for name in shared_settings(text) - Recipe.model_fields.keys():  # written once, used elsewhere
        content.pop(name, None)
    return parse_recipe(with_overrides(content, overrides), source=str(path))


def with_overrides(content: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Apply `a.b.0.c=value` settings to a recipe's content, in place, and return it. Raises RecipeError."""
    for override in overrides:
        _override(content, override)
    return content


def _with_a_student(content: Mapping[str, Any], candidates: Candidates | None) -> Mapping[str, Any]:
    """Replace a recipe's candidates by the largest one, so that the chain can be checked before one is chosen."""
    if candidates is None:
        return content
    rest = {name: value for name, value in content.items() if name not in ("candidates", "budget", "halving")}
    return rest | {"student": {"network": candidates.networks[0], "image_size": max(candidates.image_sizes)}}


def parse_recipe(content: Mapping[str, Any], source: str = "recipe") -> Recipe:
    """Validate a recipe given as a mapping. Raises RecipeError."""
    try:
        recipe = Recipe.model_validate(content)
        expand(Recipe.model_validate(_with_a_student(content, recipe.candidates)))
    except ValidationError as error:
        raise RecipeError(f"{source}: " + "; ".join(explanations(error.errors())[:5])) from None
    except RecipeError as error:
        raise RecipeError(f"{source}: {error}") from None
    return recipe


def told(network: Network) -> dict[str, Any]:
    """Write a network as in a recipe. A detector's settings are complete, so that the recipe's `detector` cannot change them."""
    written = network.model_dump(mode="json", exclude_defaults=True)
    return written | network.model_dump(mode="json", include={"detector"}, exclude_none=True)


def write_stages(recipe: Recipe) -> str:
    """Write the stages that a recipe stands for as YAML: a `stages:` that can replace its other settings."""
    written = [
        entry.model_dump(mode="json", exclude_defaults=True)
        | {role: told(network) for role in ("student", "teacher") if isinstance(network := getattr(entry, role), Network)}
        for entry in entries(recipe)
    ]
    return yaml.safe_dump({"stages": written}, sort_keys=False, default_flow_style=None, width=120)


def _override(content: dict[str, Any], override: str) -> None:
    """Apply one `a.b.0.c=value` in place. Missing mappings on the way are created, list items must exist."""
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
