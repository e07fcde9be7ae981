"""Terms that compare the prediction."""

from torch import Tensor, nn

from pixeldistill.errors import RecipeError
from pixeldistill.functional.decoupled import decoupled_kd
from pixeldistill.functional.prediction import prediction_kd
from pixeldistill.functional.relations import relational_kd
from pixeldistill.recipe.losses import DISTTerm, DKDTerm, PKDTerm, SupervisedTerm
from pixeldistill.tasks.classification.loss import supervised_loss
from pixeldistill.types import Batch, FeatureSpec, Outputs


class Supervised(nn.Module):
    """The task's own loss with the labels, without a teacher."""

    def __init__(self, config: SupervisedTerm, student: FeatureSpec, teacher: FeatureSpec | None) -> None:
        super().__init__()
        if config.shared_levels:
            raise RecipeError(
                "term supervised: `shared_levels` names levels of a detector, and this is a classifier: leave it out"
            )

    def forward(self, student: Outputs, teacher: Outputs | None, batch: Batch) -> Tensor:
        """Compare the student's prediction with the labels."""
        return supervised_loss(student.logits, batch.views["student"].labels)


class PKD(nn.Module):
    """L_PKD. See `functional.prediction_kd`."""

    def __init__(self, config: PKDTerm, student: FeatureSpec, teacher: FeatureSpec) -> None:
        super().__init__()
        self.config = config

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Compare the student's prediction with the labels and with the teacher's prediction."""
        return prediction_kd(
            student.logits,
            teacher.logits,
            batch.views["student"].labels,
            temperature=self.config.temperature,
            alpha=self.config.alpha,
            standardised=self.config.standardised,
        )


class DKD(nn.Module):
    """Decoupled distillation of the prediction. See `functional.decoupled_kd`. Smoothed labels count as their class."""

    def __init__(self, config: DKDTerm, student: FeatureSpec, teacher: FeatureSpec) -> None:
        super().__init__()
        self.config = config

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Compare the student's prediction with the teacher's."""
        target = batch.views["student"].labels
        return decoupled_kd(
            student.logits,
            teacher.logits,
            target.argmax(dim=1) if target.ndim > 1 else target,
            alpha=self.config.alpha,
            beta=self.config.beta,
            temperature=self.config.temperature,
        )


class DIST(nn.Module):
    """Distillation of relations in the prediction. See `functional.relational_kd`."""

    def __init__(self, config: DISTTerm, student: FeatureSpec, teacher: FeatureSpec) -> None:
        super().__init__()
        self.config = config

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Compare the student's prediction with the teacher's."""
        return relational_kd(
            student.logits,
            teacher.logits,
            beta=self.config.beta,
            gamma=self.config.gamma,
            temperature=self.config.temperature,
        )
