"""Recipes: what the user writes (YAML), validated strictly; `expansion` says which stages it stands for.

Pure data: this file knows neither torch nor timm, so that `pixeldistill show` and the planner run on the base install.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, model_validator

Fraction = Annotated[float, Field(gt=0, lt=1)]
STAGE_REFERENCE = "@"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_truth_as_number(cls, values: Any) -> Any:  # noqa: ANN401
        """Refuse true and false where a number is meant: pydantic would take them for 1 and 0."""
        if isinstance(values, dict):
            for name, value in values.items():
                field = cls.model_fields.get(name)
                if isinstance(value, bool) and field is not None and field.annotation is not bool:
                    raise ValueError(f"{name} is {str(value).lower()}, which is no value of it")
        return values


class Data(_Strict):
    """Where the images and labels are. `root` is relative to the folder the command runs in."""

    format: Literal["folder", "list", "cub", "aircraft", "demo"]
    root: Path | None = Field(None, description="folder of the data; the demo needs none")
    train: str | None = Field(None, description="list format: file of `path, label` lines, relative to root")
    val: str | None = None
    test: str | None = None
    label_column: PositiveInt = Field(1, description="list format: which column (counted from 0) holds the label")
    val_fraction: Fraction = Field(0.1, description="cut from train, by split_seed, where the data has no val")
    test_fraction: Fraction = Field(0.2, description="cut likewise, where one pool of images has no splits at all")
    split_seed: int = 0
    limit: PositiveInt | None = Field(None, description="at most this many images a split, for a trial run")
    on_bad_image: Literal["error", "skip"] = "error"
    decode: Literal["reduced", "full"] = Field(
        "reduced", description="JPEG views: decoded no larger than the crop needs, or whole"
    )
    store: PositiveInt | None = Field(None, description="keep the training images decoded, their shorter side at so many pixels")
    store_folder: Path | None = Field(None, description="where; by default <run>/store")

    @model_validator(mode="after")
    def _complete(self) -> "Data":
        if self.format != "demo" and self.root is None:
            raise ValueError(f"format {self.format!r} needs `root`, the folder of the data")
        if self.format == "list" and self.train is None:
            raise ValueError("format 'list' needs `train`, a file of `path, label` lines")
        if self.store_folder and not self.store:
            raise ValueError("`store_folder` needs `store`, the stored images' shorter side in pixels")
        if self.format != "list" and (self.train or self.val or self.test):
            raise ValueError("`train`, `val` and `test` name list files: they need `format: list`")
        return self


class Views(_Strict):
    """The random view of a training image: a crop and a flip, drawn from (seed, epoch, index) alone."""

    scale: tuple[float, float] = Field((0.08, 1.0), description="area of the crop as a share of the image")
    ratio: tuple[float, float] = Field((0.75, 4 / 3), description="width / height of the crop")
    flip: float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip")
    mixup: float = Field(0, ge=0, description="α of the Beta distribution of mixed pairs of views; 0 mixes nothing")
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> "Views":
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale must be [low, high] with 0 < low <= high <= 1, not {list(self.scale)}")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio must be [low, high] with 0 < low <= high, not {list(self.ratio)}")
        return self


class Imaging(_Strict):
    """The cheap camera: how an image of the network's side comes from the scene."""

    kernel: Literal["bilinear", "bicubic"] = Field("bilinear", description="always antialiased")
    crop: float = Field(0.875, gt=0, le=1, description="test time: side of the centre crop / shorter side (224 / 256)")


class Schedule(_Strict):
    """How a network is trained. Defaults are the published ones (METHOD: SGD 0.9, 5e-4, batch 64)."""

    epochs: PositiveInt
    lr: float = Field(gt=0)
    batch_size: PositiveInt = Field(64, description="images of one update, over all processes and accumulated pieces")
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)
    decay: Literal["cosine", "step", "constant"] = "cosine"
    milestones: tuple[PositiveInt, ...] = Field((), description="step decay: epochs at which lr is multiplied by gamma")
    gamma: float = Field(0.1, gt=0, le=1)
    warmup_epochs: float = Field(0, ge=0)
    label_smoothing: float = Field(0, ge=0, lt=1)
    clip_grad: float | None = Field(None, gt=0, description="largest norm of all gradients together")
    accumulate: PositiveInt = Field(1, description="pieces in which one batch is computed")
    precision: Annotated[Literal["32", "bf16", "16"], BeforeValidator(str)] = "32"
    channels_last: bool = True
    compile: bool = False

    @model_validator(mode="after")
    def _possible(self) -> "Schedule":
        if self.decay == "step" and not self.milestones:
            raise ValueError("decay 'step' needs `milestones`, for example [30, 60, 90]")
        if self.milestones and self.decay != "step":
            raise ValueError("`milestones` need `decay: step`")
        if self.milestones and max(self.milestones) >= self.epochs:
            raise ValueError(f"milestone {max(self.milestones)} is not before the end, epoch {self.epochs}")
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs {self.warmup_epochs:g} leaves nothing of {self.epochs} epochs")
        if self.batch_size % self.accumulate:
            raise ValueError(f"accumulate {self.accumulate} does not divide batch_size {self.batch_size}")
        return self


_TAKEN = {"num_classes", "pretrained", "img_size", "patch_size", "in_chans", "features_only", "checkpoint_path"}
_TAKEN_FIX = "the classes come from the data; use `side`, `patch` and `weights` for the rest"


class Network(_Strict):
    """A network, the side of the square image it reads, and where its weights come from."""

    network: str = Field(description="a timm name, or torchvision/shufflenet_v2_x1_0")
    side: int = Field(ge=8, description="pixels")
    weights: str = Field("pretrained", description="none | pretrained | a weights file | a run folder")
    patch: PositiveInt | None = Field(None, description="patch size of a ViT")
    options: dict[str, Any] = Field(default_factory=dict, description="passed on to timm.create_model")

    @model_validator(mode="after")
    def _own_settings(self) -> "Network":
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


class PooledMap(_Strict):
    """A feature map of the teacher to be stored: which (as in a list, -1 is the last), average-pooled to side × side."""

    index: int
    side: PositiveInt


class Bank(_Strict):
    """The teacher's outputs for every training view, computed once and kept on disk (half precision)."""

    views: PositiveInt | Literal["exact"] = Field(
        description="distinct views of an image, after which they repeat; exact: no repeat"
    )
    folder: Path | None = Field(None, description="where; by default <run>/bank")
    maps: tuple[PooledMap, ...] = Field((), description="feature maps to be stored beside the logits")


class _Term(_Strict):
    weight: float = Field(1.0, ge=0)


class SupervisedTerm(_Term):
    """Cross-entropy with the labels."""

    kind: Literal["supervised"]


class PKDTerm(_Term):
    """Distillation of the prediction, the labels' cross-entropy included (METHOD: L_PKD)."""

    kind: Literal["pkd"]
    temperature: float = Field(4.0, gt=0)
    alpha: float = Field(0.9, ge=0, le=1)


class ISRDTerm(_Term):
    """Input spatial representation distillation (METHOD: L_ISRD)."""

    kind: Literal["isrd"]
    fit: Literal["resize", "crop"] = "resize"


Term = Annotated[SupervisedTerm | PKDTerm | ISRDTerm, Field(discriminator="kind")]
KINDS = ("supervised", "pkd", "isrd")
_SEES_LABELS = ("supervised", "pkd")


class Stage(_Strict):
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


class Recipe(_Strict):
    """What the user asks for; `expansion.expand` says which stages that is."""

    task: Literal["classification"] = "classification"
    data: Data
    teacher: Teacher | None = None
    student: Student | None = None
    students: tuple[Student, ...] = Field((), description="several, instead of `student`")
    method: Literal["ts"] = "ts"
    terms: tuple[Term, ...] = Field((PKDTerm(kind="pkd"), ISRDTerm(kind="isrd", weight=10.0)), min_length=1)
    controls: tuple[Literal["alone", "pkd"], ...] = Field(
        (), description="the same student and schedule: trained alone, by plain PKD"
    )
    schedule: Schedule
    bank: Bank | None = None
    views: Views = Views()
    imaging: Imaging = Imaging()
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0,), min_length=1)
    order_seed: int | None = Field(None, ge=0, description="one order of the images for all seeds, which then share a pass")
    one_pass: bool = Field(True, description="train what sees the same views side by side")
    run: Path

    @model_validator(mode="after")
    def _possible(self) -> "Recipe":
        if self.student and self.students:
            raise ValueError("`student` is one, `students` are several: give one of the two")
        if self.teacher is None and not self.all_students:
            raise ValueError("a recipe needs a `student`, a `teacher`, or both")
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
        for role, network in (("teacher", self.teacher), *(("student", student) for student in self.all_students)):
            if network and network.weights.startswith(STAGE_REFERENCE):
                raise ValueError(
                    f"{role}.weights {network.weights!r}: {STAGE_REFERENCE} is reserved; name a file or a run folder"
                )
        if self.teacher is None and ("terms" in self.model_fields_set or self.controls):
            raise ValueError("`terms` and `controls` compare the student with a teacher: add `teacher`")
        self._check_bank()
        if not any(term.kind in _SEES_LABELS for term in self.terms):
            raise ValueError("no term sees the labels: add {kind: pkd} or {kind: supervised}")
        for name, values in (
            ("terms", [t.kind for t in self.terms]),
            ("seeds", self.seeds),
            ("controls", self.controls),
            ("students", [student.label for student in self.all_students]),
        ):
            if len(set(values)) < len(values):
                fix = "; give each a `name`" if name == "students" else ""
                raise ValueError(f"{name} names one thing twice: {', '.join(map(str, values))}{fix}")
        return self

    @property
    def all_students(self) -> tuple[Student, ...]:
        """The students, whichever way they are written."""
        return (self.student,) if self.student else self.students

    def _check_bank(self) -> None:
        if self.bank and (self.teacher is None or not self.all_students):
            raise ValueError("`bank` keeps the teacher's outputs for a student: it needs both")
        if self.bank and self.views.mixup:
            raise ValueError(
                "`bank` cannot serve views.mixup: it holds what the teacher says of single views, and mixed ones are new in "
                "every step; remove one of the two"
            )
        largest = max(n.side for n in (self.teacher, *self.all_students) if n)
        if self.data.store and self.data.store < largest:
            raise ValueError(f"data.store {self.data.store} is smaller than the views, {largest}: nothing would be left to crop")
