"""Recipes: what the user writes (YAML), validated strictly; `expansion` says which stages it stands for.

Pure data: this file knows neither torch nor timm, so that `pixeldistill show` and the planner run on the base install.
"""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, model_validator

from pixeldistill.architectures import Architecture
from pixeldistill.candidates import Budget, Candidates, Halving
from pixeldistill.detectors import DetectorSettings
from pixeldistill.inputs import Camera, Data, Imaging, Views
from pixeldistill.losses import Term
from pixeldistill.methods import Methods
from pixeldistill.schedules import Schedule, Seeds
from pixeldistill.strict import Channels, Count, Deviations, Seed, Side, Strict, UserPath, Weights

STAGE_REFERENCE = "@"
DETECTION_SCALE = (0.4, 1.0)  # of the crops' area
ASSISTANT = "assistant"
Patch = Annotated[int, Field(ge=1, le=1024)]
Stride = Annotated[int, Field(ge=1, le=64)]

_TAKEN = {"num_classes", "pretrained", "img_size", "patch_size", "in_chans", "features_only", "checkpoint_path"}
_TAKEN_FIX = "the classes come from the data; use `side`, `patch` and `weights` for the rest"


class Network(Strict):
    """A network, the side of the square image it reads, and where its weights come from."""

    network: Architecture = Field(description="a timm name, or torchvision/shufflenet_v2_x1_0")
    side: Side = Field(description="pixels; of a detector's images the shorter side")
    weights: Weights = Field("pretrained", description="none | pretrained | a weights file | a run folder")
    patch: Patch | None = Field(None, description="patch size of a ViT")
    options: dict[str, Any] = Field(default_factory=dict, description="passed on to timm.create_model")
    enlarge: Side | None = Field(None, description="a control: the image is enlarged to this side before the network")
    stem_stride: Stride | None = Field(None, description="a control: stride of the first convolution")
    mean: Channels | None = Field(None, description="of its images in [0, 1], red, green, blue; by default the architecture's")
    std: Deviations | None = Field(None, description="likewise, the deviation")
    class_order: Literal["natural", "alphabetical"] | tuple[str, ...] | None = Field(
        None, description="of trained weights: the order of their classes, where it is not the data's"
    )
    detector: DetectorSettings | None = Field(None, description="detection: what differs from the recipe's `detector`")
    imaging: Imaging | None = Field(
        None, description="the camera that feeds it: by default the recipe's, or only its optics where it teaches others"
    )

    @property
    def camera(self) -> Camera:
        """What feeds it."""
        return Camera(self.side, self.imaging or Imaging())

    @property
    def built_for(self) -> int:
        """Side of the image that the network itself reads."""
        return self.enlarge or self.side

    @property
    def seen(self) -> DetectorSettings:
        """What a detector is like, its levels counted in pixels of the camera's image: it may be enlarged before the network."""
        assert self.detector is not None
        return self.detector.enlarged(self.built_for / self.side)

    @property
    def enlarges_levels(self) -> bool:
        """Whether an image is enlarged, if it is, by a power of two: that shifts a detector's levels by whole numbers."""
        return math.log2(self.built_for / self.side).is_integer()

    @model_validator(mode="after")
    def _own_settings(self) -> "Network":
        if self.enlarge is not None and self.enlarge <= self.side:
            raise ValueError(f"enlarge {self.enlarge} does not enlarge an image of side {self.side}")
        if taken := sorted(_TAKEN & self.options.keys()):
            raise ValueError(f"options.{taken[0]} is not for you to set: {_TAKEN_FIX}")
        return self


class Student(Network):
    """The small network; `name` tells two of the same network and side apart."""

    name: str | None = Field(None, pattern=r"^[\w.-]+$")

    @property
    def label(self) -> str:
        """What the student is called among others."""
        return self.name or f"{self.network.rsplit('/', maxsplit=1)[-1]}-{self.side}"


class Teacher(Network):
    """The large network. With a schedule it is trained first; without, its weights must know the classes already."""

    schedule: Schedule | None = None


class Bank(Strict):
    """The teacher's outputs for every training view, computed once and kept on disk (half precision)."""

    views: Count | Literal["exact"] = Field(description="distinct views of an image, after which they repeat; exact: no repeat")
    folder: UserPath | None = Field(None, description="where; by default <run>/bank")


class Stage(Strict):
    """One training: a student, what teaches it, and how. Recipes expand to these."""

    name: str
    student: Network
    teacher: Network | None = None
    terms: tuple[Term, ...]
    schedule: Schedule
    crop_side: PositiveInt = Field(description="side at which every view is cropped before it is made smaller")
    distinct_views: PositiveInt | None = Field(None, description="epochs after which the views repeat")
    bank: Bank | None = None
    order_seed: int | None = Field(None, description="of the order of the images; by default each seed has its own order")
    seeds: tuple[int, ...] = (0,)
    cost_as: str | None = Field(None, description="the stage with whose cost the epochs are still to be settled")

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the stages that it starts from."""
        weights = [network.weights for network in (self.student, self.teacher) if network]
        return tuple(dict.fromkeys(w.removeprefix(STAGE_REFERENCE) for w in weights if w.startswith(STAGE_REFERENCE)))


class Assistant(Strict):
    """The middle of a two-stage chain: large images, the student's architecture."""

    network: Architecture | None = Field(None, description="by default each student's own")
    side: Side | None = Field(None, description="by default the teacher's")
    weights: Weights | None = Field(
        None, description="what it starts from, by default pretrained, or none as its student; without a schedule, a trained one"
    )
    patch: Patch | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    terms: tuple[Term, ...] | None = Field(None, min_length=1, description="by default PKD and a feature loss")
    schedule: Schedule | None = Field(None, description="by default the recipe's")
    detector: DetectorSettings | None = Field(None, description="detection: by default the levels of teacher and student")

    @property
    def given(self) -> bool:
        """Whether it is trained already."""
        return self.schedule is None and self.weights not in (None, "none", "pretrained")

    def start(self, student: str) -> str:
        """Say what it starts from, by its student's `weights`."""
        return self.weights or ("none" if student == "none" else "pretrained")


class StageEntry(Strict):
    """One stage as a recipe writes it: `teacher` names an earlier stage, or is a network whose weights know the classes."""

    name: str = Field(pattern=r"^[\w.-]+$")
    student: Network
    teacher: str | Network | None = None
    terms: tuple[Term, ...] = Field(min_length=1)
    schedule: Schedule | None = Field(None, description="by default the recipe's")
    cost_as: str | None = Field(None, description="as many epochs as the training of that stage, and of its assistant, costs")
    live: bool = Field(False, description="ask the teacher at every step, whatever `bank` says")
    seeds: Seeds | None = Field(None, description="by default the recipe's, or its first for what later stages start from")


class Recipe(Strict):
    """What the user asks for; `expansion.expand` says which stages that is."""

    task: Literal["classification", "detection"] = "classification"
    data: Data
    detector: DetectorSettings | None = Field(None, description="detection: pyramid and head of all networks")
    teacher: Teacher | None = None
    student: Student | None = None
    students: tuple[Student, ...] = Field((), description="several, instead of `student`")
    method: Literal["ts", "tas"] = "ts"
    assistant: Assistant | None = Field(None, description="of method tas")
    stages: tuple[StageEntry, ...] = Field((), description="any chain, instead of teacher, student, method, terms and controls")
    terms: tuple[Term, ...] | None = Field(None, min_length=1, description="of the last stage; by default those of its method")
    controls: tuple[Literal["alone", "pkd"], ...] = Field(
        (), description="the same student and schedule: trained alone, by plain PKD"
    )
    compare: Methods | None = Field(None, description="methods, instead of one method and its controls")
    candidates: Candidates | None = Field(None, description="students to choose from: for `plan` and `sweep`")
    budget: Budget = Field(default_factory=dict, description="the most that a candidate may cost, such as {bytes: 4kB}")
    halving: Halving | None = Field(Halving(), description="of `sweep`; null trains all to the end")
    schedule: Schedule
    bank: Bank | None = None
    views: Views = Views()
    imaging: Imaging = Imaging()
    seeds: Seeds = Field((0,), min_length=1)
    order_seed: Seed | None = Field(None, description="one order of the images for all seeds, which then share a pass")
    one_pass: bool = Field(True, description="train what sees the same views side by side")
    run: UserPath

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_task(cls, content: Any) -> Any:  # noqa: ANN401
        """Let a detector's views show more of the image: what a crop leaves out cannot be found in it."""
        if not isinstance(content, dict) or content.get("task") != "detection":
            return content
        views = content.get("views") or {}
        shown = {"scale": DETECTION_SCALE, **views} if isinstance(views, dict) else views
        return content | {"detector": content.get("detector") or {}, "views": shown}

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
        if self.bank and self.views.mixup:
            raise ValueError(
                "`bank` cannot serve views.mixup: it holds what the teacher says of single views, and mixed ones are new in "
                "every step; remove one of the two"
            )
        folders = {"run": self.run, "bank.folder": self.bank and self.bank.folder, "data.store_folder": self.data.store_folder}
        taken: dict[Path, str] = {}
        for name, folder in folders.items():
            if folder and (other := taken.setdefault(folder.resolve(), name)) != name:
                raise ValueError(f"{other} and {name} are one folder: name another {name}, or leave it out")
        for name, values in (
            ("seeds", self.seeds),
            ("controls", self.controls),
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
        if self.candidates and self.teacher and max(self.candidates.sides) > self.teacher.side:
            raise ValueError(f"candidates.sides has {max(self.candidates.sides)}, more than teacher.side {self.teacher.side}")
        if self.budget and not self.candidates:
            raise ValueError("`budget` chooses among `candidates`: add them")
        if self.halving != Halving() and not self.candidates:
            raise ValueError("`halving` gives up `candidates`: add them")

    def _check_task(self) -> None:
        """Refuse what one of the two tasks does not have."""
        networks = [n for n in (self.teacher, self.assistant, *self.all_students, *(e.student for e in self.stages)) if n]
        if self.task == "classification":
            if self.data.boxed:
                raise ValueError(f"format {self.data.format!r} has boxes: it needs `task: detection`")
            if self.detector or any(network.detector for network in networks):
                raise ValueError("`detector` settings need `task: detection`")
            if self.views.visible is not None:
                raise ValueError("views.visible is of boxes: it needs `task: detection`")
            return
        cameras = [self.imaging, *(n.imaging for n in networks if isinstance(n, Network) and n.imaging)]
        if any(camera.crop != Imaging().crop for camera in cameras):
            raise ValueError("imaging.crop is of classifiers: a detector is fed the whole image; leave it out")
        if not self.data.boxed:
            formats = "coco, voc, yolo, labelme or scenes"
            raise ValueError(f"format {self.data.format!r} has no boxes: `task: detection` needs format {formats}")
        if self.views.mixup:
            raise ValueError("views.mixup mixes classes, not boxes: leave it out for detection")
        if self.bank:
            raise ValueError("`bank` keeps what classifiers say; detectors are asked at every step: leave it out")
        schedules = [self.schedule, *(part.schedule for part in (self.teacher, self.assistant, *self.stages) if part)]
        if any(schedule and schedule.label_smoothing for schedule in schedules):
            raise ValueError("schedule.label_smoothing smooths classes, not boxes: leave it out for detection")
        if any(isinstance(network, Network) and network.stem_stride for network in networks):
            raise ValueError("`stem_stride` is a control of classification")

    @property
    def all_students(self) -> tuple[Student, ...]:
        """The students, whichever way they are written."""
        return (self.student,) if self.student else self.students

    def _check_stages(self) -> None:
        """Refuse what `stages` say already."""
        spelt = ("teacher", "student", "students", "terms", "controls", "assistant", "method", "compare")
        if also := [name for name in spelt if name in self.model_fields_set and getattr(self, name)]:
            raise ValueError(f"`stages` say all that `{also[0]}` says: give one of the two")

    def _check_networks(self) -> None:
        for student in self.all_students:
            if self.teacher and student.side > self.teacher.side:
                raise ValueError(
                    f"student.side {student.side} is larger than teacher.side {self.teacher.side}: "
                    "pixel distillation goes from large images to small ones; exchange them"
                )
        if self.teacher and self.teacher.schedule is None and self.teacher.weights in ("none", "pretrained"):
            raise ValueError(
                f"teacher.weights {self.teacher.weights!r} has not seen these classes: "
                "give teacher.schedule to train it first, or the weights of a trained one"
            )
        for role, network in (
            ("teacher", self.teacher),
            ("assistant", self.assistant),
            *(("student", s) for s in self.all_students),
        ):
            if network and network.weights and network.weights.startswith(STAGE_REFERENCE):
                raise ValueError(
                    f"{role}.weights {network.weights!r}: {STAGE_REFERENCE} is reserved for `stages`; name a file or a run folder"
                )
            starts_later = role == "student" and network and network.weights == ASSISTANT
            if starts_later and self.method != "tas" and not self.compare:
                raise ValueError(f"student.weights {ASSISTANT!r} is the start of the second stage: it needs `method: tas`")
        if self.teacher is None and (self.terms or self.controls or self.method != "ts"):
            raise ValueError("`terms`, `controls` and `method` compare the student with a teacher: add `teacher`")
        if self.assistant and self.method != "tas" and not self.compare:
            raise ValueError("`assistant` is the middle of two stages: it needs `method: tas`")
        if self.assistant and self.assistant.given and self.assistant.terms:
            raise ValueError("assistant.terms would train it, and its weights are given: leave one of the two out")
        if self.compare and (self.teacher is None or not self.all_students):
            raise ValueError("`compare` compares students of a teacher: it needs both")
        if self.compare and (self.controls or self.method != "ts"):
            raise ValueError("`compare` names its methods and controls itself: leave out `method` and `controls`")
        if self.bank and (self.teacher is None or not (self.all_students or self.candidates)):
            raise ValueError("`bank` keeps the teacher's outputs for a student: it needs both")
