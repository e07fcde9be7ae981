"""Recipes: the user's files (YAML), validated strictly. `expand` returns the stages that a recipe stands for.

Pure data: this file imports neither torch nor timm, so that `pixeldistill show` and the planner run on the base install.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from pixeldistill.errors import nearest
from pixeldistill.recipe.base import Seed, StageRef, Strict, UserPath
from pixeldistill.recipe.camera import Camera
from pixeldistill.recipe.data import Augmentation, Data
from pixeldistill.recipe.detector import DetectorSettings
from pixeldistill.recipe.formats import formats_with
from pixeldistill.recipe.losses import Term
from pixeldistill.recipe.method import Methods
from pixeldistill.recipe.network import Assistant, Network, Student, Teacher
from pixeldistill.recipe.schedule import Schedule, Seeds
from pixeldistill.recipe.search import Budget, Candidates, Halving
from pixeldistill.recipe.stage import StageEntry, TeacherCache
from pixeldistill.recipe.tasks import DEFAULT_TASK, RULES, TaskRules


def _known_task(name: object) -> object:
    if not isinstance(name, str) or name not in RULES:
        raise ValueError(f"{name!r} is not valid, {nearest(str(name), RULES)}")
    return name


class Recipe(Strict):
    """A complete recipe: data, networks, losses, schedules. `expand.expand` returns the stages that it stands for."""

    task: Annotated[str, BeforeValidator(_known_task)] = Field(DEFAULT_TASK, description="classification or detection")
    data: Data = Field(description="the images and their labels")
    detector: DetectorSettings | None = Field(None, description="detection: pyramid and head of all networks")
    teacher: Teacher | None = Field(
        None, description="the large network on large images; without it the student learns from labels"
    )
    other_teachers: tuple[Network, ...] = Field(
        (), description="more trained networks: students of the teacher learn from the mean of all logits"
    )
    student: Student | None = Field(None, description="the small network on small images; without it the teacher is trained")
    students: tuple[Student, ...] = Field((), description="several students instead of one `student`")
    method: Literal["ts", "tas"] = Field("ts", description="ts: teacher → student; tas: teacher → assistant → student")
    assistant: Assistant | None = Field(None, description="the network between teacher and student, of method tas")
    stages: tuple[StageEntry, ...] = Field(
        (), description="any chain of trainings, instead of teacher, student, method, assistant, terms, controls, compare"
    )
    terms: tuple[Term, ...] | None = Field(
        None, min_length=1, description="losses of the last stage; by default those of the method"
    )
    controls: tuple[Literal["supervised", "pkd"], ...] = Field(
        (), description="also train the same student without a teacher, or by plain distillation"
    )
    compare: Methods | None = Field(None, description="methods to compare, instead of one method and its controls")
    candidates: Candidates | None = Field(None, description="students to choose from: for `plan` and `sweep`")
    budget: Budget = Field(default_factory=dict, description="the most that a candidate may cost, such as {bytes: 4kB}")
    halving: Halving | None = Field(Halving(), description="how a sweep gives up candidates early; null trains all to the end")
    schedule: Schedule = Field(description="how every network is trained that has no schedule of its own")
    teacher_cache: TeacherCache | None = Field(
        None, description="keep the teacher's outputs on disk instead of asking it at every step"
    )
    augmentation: Augmentation = Field(Augmentation(), description="the random view of every training image")
    camera: Camera = Field(Camera(), description="the camera that the student will be deployed behind")
    seeds: Seeds = Field((0,), min_length=1, description="of the students: initial weights, order of the images, dropout")
    shuffle_seed: Seed | None = Field(
        None, description="one order of the images for all seeds, which then train side by side; by default each has its own"
    )
    train_together: bool = Field(True, description="train side by side the networks that see the same views")
    loggers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = Field(
        ("tensorboard",),
        description="where the figures of every epoch go, beside metrics.csv; wandb and mlflow need the extra of that name",
    )
    run: UserPath = Field(description="folder of everything that is made")

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_task(cls, content: Any) -> Any:  # noqa: ANN401
        """Add the task's defaults."""
        rules = RULES.get(str(content.get("task"))) if isinstance(content, dict) else None
        return content if rules is None else rules.with_defaults(content)

    @model_validator(mode="after")
    def _possible(self) -> "Recipe":
        self._check_task()
        self._check_candidates()
        if self.student and self.students:
            raise ValueError("`student` is one, `students` are several: give one of the two")
        if self.stages:
            self._check_stages()
        elif self.teacher is None and not self.all_students:
            raise ValueError("a recipe needs a `student`, a `teacher`, or both; or `stages`")
        else:
            self._check_networks()
        folders = {
            "run": self.run,
            "teacher_cache.folder": self.teacher_cache and self.teacher_cache.folder,
            "data.image_cache_folder": self.data.image_cache_folder,
        }
        taken: dict[Path, str] = {}
        for name, folder in folders.items():
            if folder and (other := taken.setdefault(folder.resolve(), name)) != name:
                raise ValueError(f"{other} and {name} are one folder: name another {name}, or leave it out")
        for name, values in (
            ("seeds", self.seeds),
            ("controls", self.controls),
            ("loggers", self.loggers),
            ("students", [student.label for student in self.all_students]),
            ("stages", [stage.name for stage in self.stages]),
        ):
            if len(set(values)) < len(values):
                fix = "; give each a `name`" if name == "students" else ""
                raise ValueError(f"{name} names one thing twice: {', '.join(map(str, values))}{fix}")
        return self

    def _check_candidates(self) -> None:
        if self.candidates and (self.all_students or self.stages or self.compare):
            raise ValueError("`candidates` are the students to choose from: leave out `student`, `students`, `stages`, `compare`")
        if self.candidates and self.controls:
            raise ValueError("`controls` are not for a sweep: train them of what it finds, by the recipes of `plan --write`")
        if self.candidates and self.teacher is None:
            raise ValueError("`candidates` learn from a teacher: add `teacher`")
        if self.candidates and self.teacher and max(self.candidates.image_sizes) > self.teacher.image_size:
            raise ValueError(
                f"candidates.image_sizes has {max(self.candidates.image_sizes)}, more than teacher.image_size "
                f"{self.teacher.image_size}"
            )
        if self.budget and not self.candidates:
            raise ValueError("`budget` chooses among `candidates`: add them")
        if self.halving != Halving() and not self.candidates:
            raise ValueError("`halving` gives up `candidates`: add them")

    def _check_task(self) -> None:
        """Raise ValueError if the recipe has settings that its task does not have."""
        if self.data.labels != self.rules.labels:
            other = next(rules.name for rules in RULES.values() if rules.labels == self.data.labels)
            raise ValueError(
                f"format {self.data.format!r} has {self.data.labels}: it needs `task: {other}`; `task: {self.task}` needs format "
                f"{formats_with(self.rules.labels)}"
            )
        self.rules.check(self)
        others = (*(stage.augmentation for stage in self.stages), *(m.augmentation for m in (self.compare or {}).values()))
        for augmentation in (self.augmentation, *filter(None, others)):
            self.rules.check_augmentation(augmentation)

    @property
    def rules(self) -> TaskRules:
        """Rules for recipes of its task."""
        return RULES[self.task]

    @property
    def networks(self) -> tuple[Network | Assistant, ...]:
        """All networks that it describes."""
        listed = (
            self.teacher,
            *self.other_teachers,
            self.assistant,
            *self.all_students,
            *(entry.student for entry in self.stages),
        )
        return tuple(network for network in listed if network)

    @property
    def all_students(self) -> tuple[Student, ...]:
        """Its students, from `student` or `students`."""
        return (self.student,) if self.student else self.students

    def _check_stages(self) -> None:
        """Raise ValueError if a setting repeats what `stages` define."""
        spelt = ("teacher", "other_teachers", "student", "students", "terms", "controls", "assistant", "method", "compare")
        if also := [name for name in spelt if name in self.model_fields_set and getattr(self, name)]:
            raise ValueError(f"`stages` say all that `{also[0]}` says: give one of the two")

    def _check_networks(self) -> None:
        for student in self.all_students:
            if self.teacher and student.image_size > self.teacher.image_size:
                raise ValueError(
                    f"student.image_size {student.image_size} is larger than teacher.image_size {self.teacher.image_size}: "
                    "pixel distillation goes from large images to small ones; exchange them"
                )
        if self.teacher and self.teacher.schedule is None and self.teacher.weights in ("none", "pretrained"):
            raise ValueError(
                f"teacher.weights {self.teacher.weights!r} has not seen these classes: "
                "give teacher.schedule to train it first, or the weights of a trained one"
            )
        for role, network in (
            ("teacher", self.teacher),
            *(("other_teachers", network) for network in self.other_teachers),
            ("assistant", self.assistant),
            *(("student", s) for s in self.all_students),
        ):
            if network and isinstance(network.weights, StageRef):
                raise ValueError(f"{role}.weights '{network.weights}': @ is reserved for `stages`; name a file or a run folder")
        if self.teacher is None and (self.terms or self.controls or self.other_teachers or self.method != "ts"):
            raise ValueError("`terms`, `controls`, `method` and `other_teachers` need a `teacher`: add it")
        if self.assistant and self.method != "tas" and not self.compare:
            raise ValueError("`assistant` is the middle of two stages: it needs `method: tas`")
        if self.assistant and self.assistant.given and self.assistant.terms:
            raise ValueError("assistant.terms would train it, and its weights are given: leave one of the two out")
        if self.compare and (self.teacher is None or not self.all_students):
            raise ValueError("`compare` compares students of a teacher: it needs both")
        if self.compare and (self.controls or self.method != "ts"):
            raise ValueError("`compare` names its methods and controls itself: leave out `method` and `controls`")
        if self.teacher_cache and (self.teacher is None or not (self.all_students or self.candidates)):
            raise ValueError("`teacher_cache` keeps the teacher's outputs for a student: it needs both")
