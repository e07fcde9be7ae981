"""Methods of a comparison: by name, completed with known settings. Pure data."""

from collections.abc import Mapping

from pydantic import ValidationError

from pixeldistill.errors import RecipeError, nearest
from pixeldistill.recipe.method import Method
from pixeldistill.recipe.tasks import TaskRules


def complete_methods(methods: Mapping[str, Method], epochs: int, rules: TaskRules) -> dict[str, Method]:
    """Return a recipe's methods. Methods with a known name get its known settings.

    Args:
        methods: methods as in the recipe.
        epochs: number of epochs of the recipe's schedule.
        rules: rules of the recipe's task.

    Raises:
        RecipeError: a name is neither known nor has terms, or is reserved for stages.
    """
    found = {name: _completed(name, method, rules.methods(method.epochs or epochs)) for name, method in methods.items()}
    for name, method in found.items():
        try:
            rules.check_method(method)
        except ValueError as error:
            raise RecipeError(f"compare.{name}: {error}") from None
    return found


def _completed(name: str, method: Method, presets: Mapping[str, Method]) -> Method:
    if name == "teacher" or name.startswith("assistant"):
        raise RecipeError(f"compare: {name!r} is what a stage before the methods is called: give the method another name")
    if name not in presets:
        if not method.model_fields_set & {"terms", "chain"}:
            raise RecipeError(f"compare: unknown method {name!r}, {nearest(name, presets)}; or say its `terms`")
        return method
    known = presets[name]
    if method.chain != known.chain and "chain" in method.model_fields_set:
        raise RecipeError(f"compare.{name} is known with chain {known.chain!r}: with another one, give it another name")
    said = {setting: getattr(method, setting) for setting in method.model_fields_set}
    said |= {"match_compute_of": None} if method.epochs else {}
    try:
        return Method.model_validate({**dict(known), **said})
    except ValidationError as error:
        raise RecipeError(f"compare.{name}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from error
