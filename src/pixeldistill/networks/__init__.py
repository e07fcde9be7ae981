"""Networks: any classifier of timm (and torchvision's ShuffleNetV2) as a module that returns `Outputs`."""

from pixeldistill.networks.classifier import Classifier, build_classifier

__all__ = ["Classifier", "build_classifier"]
