"""Recipes: what the user writes (YAML), validated strictly, and the stages it stands for.

Pure data: this file knows neither torch nor timm, so that `pixeldistill show` and the planner run on the base install.
"""

from collections.abc import Sequence
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

    @model_validator(mode="after")
    def _complete(self) -> "Data":
        if self.format != "demo" and self.root is None:
            raise ValueError(f"format {self.format!r} needs `root`, the folder of the data")
        if self.format == "list" and self.train is None:
            raise ValueError("format 'list' needs `train`, a file of `path, label` lines")
        if self.format != "list" and (self.train or self.val or self.test):
            raise ValueError("`train`, `val` and `test` name list files: they need `format: list`")
        return self


class Views(_Strict):
    """The random view of a training image: a crop and a flip, drawn from (seed, epoch, index) alone."""

    scale: tuple[float, float] = Field((0.08, 1.0), description="area of the crop as a share of the image")
    ratio: tuple[float, float] = Field((0.75, 4 / 3), description="width / height of the crop")
    flip: float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip")
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


class Teacher(Network):
    """The large network. With a schedule it is trained first; without, its weights must know the classes already."""

    schedule: Schedule | None = None


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
    seeds: tuple[int, ...] = (0,)


class Recipe(_Strict):
    """What the user asks for; `expand` says which stages that is."""

    task: Literal["classification"] = "classification"
    data: Data
    teacher: Teacher | None = None
    student: Network | None = None
    method: Literal["ts"] = "ts"
    terms: tuple[Term, ...] = Field((PKDTerm(kind="pkd"), ISRDTerm(kind="isrd", weight=10.0)), min_length=1)
    controls: tuple[Literal["alone", "pkd"], ...] = Field(
        (), description="the same student and schedule: trained alone, by plain PKD"
    )
    schedule: Schedule
    views: Views = Views()
    imaging: Imaging = Imaging()
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0,), min_length=1)
    run: Path

    @model_validator(mode="after")
    def _possible(self) -> "Recipe":
        if self.teacher is None and self.student is None:
            raise ValueError("a recipe needs a `student`, a `teacher`, or both")
        if self.teacher and self.student and self.student.side > self.teacher.side:
            raise ValueError(
                f"student.side {self.student.side} is larger than teacher.side {self.teacher.side}: "
                "pixel distillation goes from large images to small ones; exchange them"
            )
        if self.teacher and self.teacher.schedule is None and self.teacher.weights in ("none", "pretrained"):
            raise ValueError(
                f"teacher.weights {self.teacher.weights!r} has not seen these classes: "
                "give teacher.schedule to train it first, or the weights of a trained one"
            )
        for role, network in (("teacher", self.teacher), ("student", self.student)):
            if network and network.weights.startswith(STAGE_REFERENCE):
                raise ValueError(
                    f"{role}.weights {network.weights!r}: {STAGE_REFERENCE} is reserved; name a file or a run folder"
                )
        if self.teacher is None and ("terms" in self.model_fields_set or self.controls):
            raise ValueError("`terms` and `controls` compare the student with a teacher: add `teacher`")
        if not any(term.kind in _SEES_LABELS for term in self.terms):
            raise ValueError("no term sees the labels: add {kind: pkd} or {kind: supervised}")
        for name, values in (
            ("terms", [t.kind for t in self.terms]),
            ("seeds", self.seeds),
            ("controls", self.controls),
        ):
            if len(set(values)) < len(values):
                raise ValueError(f"{name} names one thing twice: {', '.join(map(str, values))}")
        return self


def expand(recipe: Recipe) -> tuple[Stage, ...]:
    """Give the stages that a recipe stands for, in the order in which they are trained.

    Every stage crops its views at the recipe's largest side, so that a control sees exactly the distilled student's views.
    """
    crop_side = max(n.side for n in (recipe.teacher, recipe.student) if n is not None)
    supervised: tuple[Term, ...] = (SupervisedTerm(kind="supervised"),)
    stages = []
    teacher = recipe.teacher and Network(**recipe.teacher.model_dump(exclude={"schedule"}))
    if recipe.teacher and recipe.teacher.schedule and teacher:
        stages.append(
            Stage(name="teacher", student=teacher, terms=supervised, schedule=recipe.teacher.schedule,
                  crop_side=crop_side, seeds=recipe.seeds[:1])
        )  # fmt: skip
        teacher = teacher.model_copy(update={"weights": f"{STAGE_REFERENCE}teacher"})
    if recipe.student:

        def student_stage(name: str, terms: tuple[Term, ...], teacher: Network | None) -> Stage:
            assert recipe.student is not None
            return Stage(name=name, student=recipe.student, teacher=teacher, terms=terms, schedule=recipe.schedule,
                         crop_side=crop_side, seeds=recipe.seeds)  # fmt: skip

        if teacher is None or "alone" in recipe.controls:
            stages.append(student_stage("alone", supervised, None))
        if "pkd" in recipe.controls:
            stages.append(student_stage("pkd", (_pkd_of(recipe.terms),), teacher))
        if teacher:
            stages.append(student_stage("distilled", recipe.terms, teacher))
    return tuple(stages)


def _pkd_of(terms: Sequence[Term]) -> PKDTerm:
    return next((term for term in terms if isinstance(term, PKDTerm)), PKDTerm(kind="pkd"))
