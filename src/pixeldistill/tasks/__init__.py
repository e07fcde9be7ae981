"""Tasks: one folder each, with all code that depends on the task. Code outside never checks which task it is."""

from typing import Protocol

from pixeldistill.tasks.base import Task
from pixeldistill.tasks.classification.task import Classification
from pixeldistill.tasks.detection.task import ObjectDetection

__all__ = ["TASKS", "Task", "task_of"]

TASKS: dict[str, Task] = {task.name: task for task in (Classification(), ObjectDetection())}


class _Described(Protocol):
    @property
    def task(self) -> str:
        """Name of its task."""


def task_of(described: _Described) -> Task:
    """Return the task of a recipe, of a recipe's network, of a run's card, or of a built network."""
    return TASKS[described.task]
