"""Rules for recipes of each task: one file a task."""

from pixeldistill.recipe.tasks.base import TaskRules
from pixeldistill.recipe.tasks.classification import ClassificationRules
from pixeldistill.recipe.tasks.detection import DetectionRules

__all__ = ["DEFAULT_TASK", "RULES", "TaskRules"]

RULES: dict[str, TaskRules] = {rules.name: rules for rules in (ClassificationRules(), DetectionRules())}

DEFAULT_TASK = ClassificationRules.name
