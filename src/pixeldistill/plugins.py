"""Parts of other packages: losses, data formats, detector heads, export runtimes.

A package lists its parts in its `pyproject.toml`, under the group of their kind:

    [project.entry-points."pixeldistill.losses"]
    cosine = "my_package.losses:Cosine"

A part is used by its entry point's name, like the project's own parts. Importing a module registers nothing.
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, TypeVar

from pixeldistill.errors import PluginError

PartT = TypeVar("PartT")

GROUPS = ("losses", "formats", "heads", "runtimes")


@cache
def installed(kind: str) -> Mapping[str, Any]:
    """Return the parts of a kind that installed packages add, by name.

    Args:
        kind: one of `GROUPS`.

    Raises:
        PluginError: a part cannot be imported, or two packages use one name.

    >>> isinstance(installed("heads"), dict)
    True
    """
    found: dict[str, Any] = {}
    for entry in entry_points(group=f"pixeldistill.{kind}"):
        package = entry.dist.name if entry.dist else entry.value
        if entry.name in found:
            raise PluginError(f"two installed packages add {entry.name!r} to pixeldistill.{kind}: uninstall one ({package})")
        try:
            found[entry.name] = entry.load()
        except Exception as error:  # other packages may raise anything
            raise PluginError(
                f"package {package} adds {entry.name!r} to pixeldistill.{kind}, and it cannot be imported "
                f"({type(error).__name__}: {error}): mend or uninstall it"
            ) from error
    return found


def with_installed(kind: str, own: Mapping[str, PartT], part: type[PartT]) -> dict[str, PartT]:
    """Return the project's own parts of a kind and those of installed packages, all of one type.

    Raises:
        PluginError: a package uses a name that is taken, or a part has another type.
    """
    others = installed(kind)
    for name, other in others.items():
        if not isinstance(other, part):
            raise PluginError(
                f"an installed package adds {name!r} to pixeldistill.{kind}, no {part.__name__} but {other!r}: mend it"
            )
    if taken := own.keys() & others.keys():
        raise PluginError(f"an installed package adds {min(taken)!r} to pixeldistill.{kind}, which is built in: uninstall it")
    return {**own, **others}


def load(place: str) -> Any:  # noqa: ANN401
    """Import the object that `module:name` names.

    >>> load("math:sqrt")(9.0)
    3.0
    """
    module, _, name = place.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        if place.startswith("pixeldistill."):
            raise
        raise PluginError(
            f"{place}, which an installed package names, cannot be imported ({error}): mend or uninstall it"
        ) from error
