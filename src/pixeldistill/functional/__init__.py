"""Losses as pure functions on tensors. Each compares one pair, is unweighted and returns a scalar."""

from pixeldistill.functional.attention import attention_transfer
from pixeldistill.functional.correlation import inter_channel_correlation
from pixeldistill.functional.decoupled import decoupled_kd
from pixeldistill.functional.exits import exit_loss
from pixeldistill.functional.features import hint, upsampled_mse
from pixeldistill.functional.prediction import prediction_kd
from pixeldistill.functional.reconstruction import reconstruction_l1
from pixeldistill.functional.relations import relational_kd
from pixeldistill.functional.similarity import similarity_preserving

__all__ = [
    "attention_transfer",
    "decoupled_kd",
    "exit_loss",
    "hint",
    "inter_channel_correlation",
    "prediction_kd",
    "reconstruction_l1",
    "relational_kd",
    "similarity_preserving",
    "upsampled_mse",
]
