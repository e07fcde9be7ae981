"""Pixel distillation: from a large network on large images to a small network, of any family, on small images.

>>> import pixeldistill
>>> recipe = pixeldistill.load_recipe("recipes/demo.yaml")
>>> recipe.student.side
40
"""

from typing import TYPE_CHECKING, Any

from pixeldistill.errors import PixelDistillError

if TYPE_CHECKING:
    from pixeldistill.predict import Predictor
    from pixeldistill.reading import load_recipe
    from pixeldistill.recipe import Recipe
    from pixeldistill.training.stages import run_recipe as distill

__all__ = ["PixelDistillError", "Predictor", "Recipe", "distill", "load_recipe"]

_LAZY = {
    "Predictor": ("pixeldistill.predict", "Predictor"),
    "Recipe": ("pixeldistill.recipe", "Recipe"),
    "distill": ("pixeldistill.training.stages", "run_recipe"),
    "load_recipe": ("pixeldistill.reading", "load_recipe"),
}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import what takes its time when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module 'pixeldistill' has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _LAZY[name]
    return getattr(import_module(module), attribute)
