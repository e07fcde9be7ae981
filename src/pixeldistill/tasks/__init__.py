"""What is asked of an image: a folder a task, with all that depends on it. Outside, nothing asks which task it is."""

from typing import Protocol

from pixeldistill.tasks.base import Task
from pixeldistill.tasks.classification.task import Classification
from pixeldistill.tasks.detection.task import ObjectDetection

__all__ = ["TASKS", "Task", "task_of"]

TASKS: dict[str, Task] = {task.name: task for task in (Classification(), ObjectDetection())}


class _Described(Protocol):
    @property
    def task(self) -> str:
        """The name of its task."""


def task_of(described: _Described) -> Task:
    """Return the task of a recipe, of a network that is described in one, of a run's card, or of a built network."""
    return TASKS[described.task]
