"""Terms that look at the prediction."""

from torch import Tensor, nn

from pixeldistill.functional.prediction import prediction_kd
from pixeldistill.recipe import PKDTerm, SupervisedTerm
from pixeldistill.tasks import classification
from pixeldistill.types import Batch, FeatureSpec, Outputs


class Supervised(nn.Module):
    """The task's own loss, with the labels; no teacher."""

    def __init__(self, config: SupervisedTerm, student: FeatureSpec, teacher: FeatureSpec | None) -> None:
        super().__init__()

    def forward(self, student: Outputs, teacher: Outputs | None, batch: Batch) -> Tensor:
        """Compare the student's prediction with the labels."""
        return classification.supervised_loss(student.prediction, batch.views["student"].target)


class PKD(nn.Module):
    """L_PKD: see `functional.prediction_kd`."""

    def __init__(self, config: PKDTerm, student: FeatureSpec, teacher: FeatureSpec) -> None:
        super().__init__()
        self.config = config

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Compare the student's prediction with the labels and with the teacher's prediction."""
        return prediction_kd(
            student.prediction,
            teacher.prediction,
            batch.views["student"].target,
            temperature=self.config.temperature,
            alpha=self.config.alpha,
        )
