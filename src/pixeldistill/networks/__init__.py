"""Networks: any classifier of timm (and torchvision's ShuffleNetV2), and detectors on them, as modules that return `Outputs`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pixeldistill.networks.classifier import Classifier, build_classifier

__all__ = ["Classifier", "build_classifier"]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import what needs torch when it is first used. The rules of `pyramid` need no torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pixeldistill.networks import classifier

    return getattr(classifier, name)
