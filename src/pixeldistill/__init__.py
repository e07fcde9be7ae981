"""Pixel distillation: from a large network on large images to a small network, of any family, on small images.

>>> import pixeldistill
>>> recipe = pixeldistill.load_recipe("recipes/demo.yaml")
>>> recipe.teacher.image_size, recipe.student.image_size
(64, 32)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pixeldistill.errors import (
    DataError,
    ExportError,
    MissingExtraError,
    NetworkError,
    PixelDistillError,
    PluginError,
    RecipeError,
    RunError,
    ShapeError,
    WeightsError,
)

if TYPE_CHECKING:
    from pixeldistill.api import compare, distill, evaluate, export, load_model, plan, predict, sweep
    from pixeldistill.inference.torch import Predictor
    from pixeldistill.recipe.load import load_recipe
    from pixeldistill.recipe.recipe import Recipe

    __version__: str

__all__ = [
    "DataError", "ExportError", "MissingExtraError", "NetworkError", "PixelDistillError", "PluginError", "Predictor", "Recipe",
    "RecipeError", "RunError", "ShapeError", "WeightsError", "__version__", "compare", "distill", "evaluate", "export",
    "load_model", "load_recipe", "plan", "predict", "sweep",
]  # fmt: skip

_API = ("compare", "distill", "evaluate", "export", "load_model", "plan", "predict", "sweep")
_LAZY = {name: "pixeldistill.api" for name in _API} | {
    "Predictor": "pixeldistill.inference.torch",
    "Recipe": "pixeldistill.recipe.recipe",
    "load_recipe": "pixeldistill.recipe.load",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import a function or class the first time that it is used, because the import is slow."""
    if name == "__version__":
        from importlib.metadata import version

        return version("pixeldistill")
    if name not in _LAZY:
        raise AttributeError(f"module 'pixeldistill' has no attribute {name!r}")
    from pixeldistill.api import told_what_to_install

    with told_what_to_install():
        return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
