"""The losses as pure functions on tensors: each takes one pair, is unweighted and gives a scalar."""

from pixeldistill.functional.prediction import prediction_kd
from pixeldistill.functional.reconstruction import reconstruction_l1

__all__ = ["prediction_kd", "reconstruction_l1"]
