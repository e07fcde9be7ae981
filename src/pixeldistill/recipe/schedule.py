"""Schedule of a recipe: how a network is trained. Pure data."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt, model_validator

from pixeldistill.errors import RecipeError
from pixeldistill.recipe.base import Count, Seed, Strict

Seeds = Annotated[tuple[Seed, ...], AfterValidator(lambda seeds: tuple(sorted(seeds)))]

BATCH = 64
LR = {"adamw": 0.001, "sgd": 0.02}  # for a batch of 64
WEIGHT_DECAY = {"adamw": 0.05, "sgd": 5e-4}
WARM_UP, EMA = 20, 10  # the epochs are divided by so much


def _lr(known: dict[str, Any]) -> float:
    """Return the default learning rate. AdamW's grows with the root of the batch size, SGD's with the batch size."""
    times: float = known["batch_size"] / BATCH
    return LR["adamw"] * times**0.5 if known["optimizer"] == "adamw" else LR["sgd"] * times


class Schedule(Strict):
    """Schedule of a training. `epochs` alone is enough. Source of the defaults: usual values, tried together (ours)."""

    epochs: Count = Field(description="passes over the training images")
    batch_size: Count = Field(
        BATCH, description="images of one update, over all processes and accumulated pieces; of detectors 8 by default"
    )
    optimizer: Literal["sgd", "adamw"] = Field("adamw", description="adamw, or sgd (with momentum)")
    lr: float = Field(
        default_factory=_lr, gt=0,
        description=f"largest learning rate; by default {LR['adamw']:g} × √(batch_size / {BATCH}), for sgd {LR['sgd']:g} × "
        f"batch_size / {BATCH}; of detectors 0.001 × √(batch_size / 8)",
    )  # fmt: skip
    momentum: float = Field(0.9, ge=0, lt=1, description="sgd's")
    weight_decay: float = Field(
        default_factory=lambda known: WEIGHT_DECAY[known["optimizer"]], ge=0,
        description=f"by default {WEIGHT_DECAY['adamw']:g}, biases and norms left out; for sgd {WEIGHT_DECAY['sgd']:g} of all",
    )  # fmt: skip
    decay: Literal["cosine", "step", "constant"] = Field("cosine", description="how the learning rate falls")
    milestones: tuple[PositiveInt, ...] = Field((), description="step decay: epochs at which lr is multiplied by gamma")
    gamma: float = Field(0.1, gt=0, le=1, description="step decay: the factor at each milestone")
    warmup_epochs: float = Field(
        default_factory=lambda known: known["epochs"] / WARM_UP, ge=0,
        description="first epochs, over which the learning rate rises; by default a twentieth of all",
    )  # fmt: skip
    ema_epochs: float = Field(
        default_factory=lambda known: known["epochs"] / EMA, ge=0,
        description="the trained weights are an exponential moving average over about so many epochs; by default a tenth of all; "
        "0 takes those of the last step",
    )  # fmt: skip
    label_smoothing: float = Field(0, ge=0, lt=1, description="share of the labels' weight that is spread over all classes")
    clip_grad: float | None = Field(
        5.0, gt=0, description="largest norm of all gradients together; of detectors 10; null allows any"
    )
    accumulate: Count = Field(1, description="pieces in which one batch is computed")
    precision: Annotated[Literal["32", "bf16", "16"], BeforeValidator(str)] = Field(
        "32", description="32, or mixed precision with bf16 or (on GPUs) 16"
    )
    channels_last: bool = Field(True, description="memory layout; false is faster for plain ViTs")
    compile: bool = Field(False, description="compile the student's forward pass by torch.compile")

    def check_images(self, images: int) -> None:
        """Raise RecipeError if a batch is larger than the training split."""
        if self.batch_size > images:
            raise RecipeError(
                f"schedule.batch_size {self.batch_size} is more than the {images} training images: set it to {images} or fewer, "
                "in the teacher's and the assistant's own schedules too"
            )

    @model_validator(mode="after")
    def _possible(self) -> "Schedule":
        if self.decay == "step" and not self.milestones:
            raise ValueError("decay 'step' needs `milestones`, for example [30, 60, 90]")
        if self.milestones and self.decay != "step":
            raise ValueError("`milestones` need `decay: step`")
        fields = type(self).model_fields
        if self.decay != "step" and self.gamma != fields["gamma"].default:
            raise ValueError("`gamma` needs `decay: step`")
        if self.optimizer == "adamw" and self.momentum != fields["momentum"].default:
            raise ValueError("`momentum` is SGD's: leave it out, or `optimizer: adamw`")
        if self.milestones and max(self.milestones) >= self.epochs:
            raise ValueError(f"milestone {max(self.milestones)} is not before the end, epoch {self.epochs}")
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs {self.warmup_epochs:g} leaves nothing of {self.epochs} epochs: lower it, or raise `epochs`"
            )
        if self.ema_epochs >= self.epochs:
            raise ValueError(f"ema_epochs {self.ema_epochs:g} averages all of {self.epochs} epochs, the first too: lower it")
        if self.batch_size % self.accumulate:
            raise ValueError(f"accumulate {self.accumulate} does not divide batch_size {self.batch_size}")
        return self

    def lasting(self, epochs: int) -> "Schedule":
        """Return the same schedule stretched to another number of epochs, including its milestones and its warm-up."""
        stretched = (max(1, round(m * epochs / self.epochs)) for m in self.milestones)
        milestones = tuple(m for m in stretched if m < epochs)
        warmup = self.warmup_epochs if epochs >= self.epochs else self.warmup_epochs * epochs / self.epochs
        changes: dict[str, Any] = {"epochs": epochs, "milestones": milestones, "warmup_epochs": warmup}
        changes["ema_epochs"] = self.ema_epochs * epochs / self.epochs
        if self.milestones and not milestones:  # too short for any step
            changes |= {"decay": "constant", "gamma": type(self).model_fields["gamma"].default}
        return self.model_copy(update=changes)
