"""Error messages about recipes, in words."""

import re
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel

from pixeldistill.errors import nearest
from pixeldistill.recipe.losses import Loss, losses
from pixeldistill.recipe.recipe import Recipe

MOST_ERRORS = 50  # errors to read; five are printed

_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def explanations(errors: Sequence[Any]) -> list[str]:
    """Explain each error once.

    Skip what follows from another error: a list's length that is wrong because of an item, a default that needs a wrong value.
    Skip other branches of a union too.
    """
    found: dict[str, str] = {}
    errors = [error for error in errors if error["type"] != "default_factory_not_called"][:MOST_ERRORS]
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
    """Return whether a part of a location is not a place, but a union's branch that pydantic tried."""
    part = str(location[i])
    return (
        "[" in part
        or part in ("constrained-int", "constrained-float", "str", "Network")
        or (i > 0 and part in losses() and isinstance(location[i - 1], int))
    )


def _owner(location: Sequence[Any]) -> type[BaseModel]:
    """Return the part of the recipe that holds a key, by the schema's own annotations."""
    model: type[BaseModel] = Recipe
    annotation: Any = Recipe
    for part in location[:-1]:
        if part in losses() and Loss in _models_in(annotation):
            model = annotation = losses()[part]
            continue
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else annotation
        model = next(iter(_models_in(annotation)), model)
    return model


def _models_in(annotation: Any) -> list[type[BaseModel]]:  # noqa: ANN401
    """List the models that an annotation contains, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _explain(error: Any) -> str:  # noqa: ANN401  (pydantic's ErrorDetails)
    """Write one of pydantic's errors as a line: place, expected value, actual value, nearest names."""
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
            place, text = f"{place}.kind", f"unknown term {context['tag']!r}, {nearest(context['tag'], losses())}"
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
