"""Networks as recipes and finished trainings describe them: classifiers and detectors alike."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from pixeldistill.cards import read_card
from pixeldistill.errors import WeightsError
from pixeldistill.networks.adoption import adopt_detector
from pixeldistill.networks.classifier import Classifier, build_classifier
from pixeldistill.networks.detector import Detector, build_detector
from pixeldistill.networks.heads import ordered, reorder_heads
from pixeldistill.networks.weights import (
    adopt_weights,
    check_build,
    check_card,
    check_settings,
    detector_settings,
    missing_weights,
    read_trained,
    weights_file,
)
from pixeldistill.recipe import Network
from pixeldistill.types import FeatureSpec

AnyNetwork = Classifier | Detector


def build_network(network: Network, classes: tuple[str, ...], *, trained: bool, weights: str | None = None) -> AnyNetwork:
    """Build the network that a recipe names, with its weights; see `build_classifier` and `build_detector`.

    Args:
        network: as the recipe says.
        classes: their names, compared with those of a former run.
        trained: the weights must know these classes already (a frozen teacher).
        weights: instead of the recipe's.
    """
    source = weights or network.weights
    if trained:
        check_trained(network, classes, source)
    if network.detector is None:
        classifier = build_classifier(
            network.network, len(classes), network.side, weights=source, patch=network.patch, options=network.options,
            classes=classes, trained=trained, enlarge=network.enlarge, stem_stride=network.stem_stride, mean=network.mean,
            std=network.std,
        )  # fmt: skip
        if trained and network.class_order:
            reorder_heads(classifier.net, class_rows(network.class_order, classes))
        return classifier
    learned = None if source in ("none", "pretrained") else detector_settings(source)
    own = source if learned is None else "none"  # of the backbone alone
    detector = build_detector(
        network.network, len(classes), network.side, network.detector, weights=own, patch=network.patch,
        options=network.options, enlarge=network.enlarge, mean=network.mean, std=network.std,
    )  # fmt: skip
    if learned:
        known = classes if trained else None
        state = read_trained(source, network.network, network.built_for if trained else None, known)
        adopt_detector(detector, state, learned, source, trained=trained)
    return detector


def class_rows(order: str | Sequence[str], classes: Sequence[str]) -> list[int]:
    """Say which row of trained weights, whose classes are in an order, is each of the data's. Raises WeightsError."""
    theirs = ordered(classes, order)
    if sorted(theirs) != sorted(classes):
        odd = next((name for name in theirs if name not in classes), None)
        what = f"{odd!r} is no class of the data" if odd else f"it has {len(theirs)} classes, the data {len(classes)}"
        raise WeightsError(f"class_order: {what}: list each of the data's classes once")
    place = {name: row for row, name in enumerate(theirs)}
    return [place[name] for name in classes]


def check_trained(network: Network, classes: tuple[str, ...] | None, weights: str | None = None) -> None:
    """Look, without building anything, whether a teacher's weights are those of a network such as the recipe names.

    Args:
        network: as the recipe says.
        classes: their names, where they are known.
        weights: instead of the recipe's.

    Raises:
        WeightsError: they are not there, or of another task, network, side, other classes, anchors or options.
    """
    source = weights or network.weights
    if network.detector:
        if not Path(source).exists():
            raise WeightsError(f"{missing_weights(source)}: name the run folder of a trained detector")
        learned = detector_settings(source)
        if learned is None:
            raise WeightsError(
                f"{source} is no training of a detector, and a teacher or given assistant must be one: name its run folder"
            )
        check_settings(source, learned, network.detector)
    check_card(source, network.network, network.built_for, classes)
    check_build(source, network.options, network.stem_stride)


def build_fresh(network: Network, classes: int) -> AnyNetwork:
    """Build a network for its shapes alone: weights are not looked at."""
    names = tuple(str(i) for i in range(classes))
    return build_network(network.model_copy(update={"weights": "none"}), names, trained=False)


class Outline(NamedTuple):
    """What a network of other or no weights gives too: the shapes of its maps, and what was noted as it was built."""

    spec: FeatureSpec
    notes: tuple[str, ...]


def outline(network: Network, classes: int) -> Outline:
    """Build a network once, to see its shapes. Raises NetworkError."""
    return _outline(network.model_copy(update={"weights": "none"}).model_dump_json(), classes)


@lru_cache(maxsize=256)
def _outline(network: str, classes: int) -> Outline:
    built = build_fresh(Network.model_validate_json(network), classes)
    return Outline(built.spec, tuple(built.notes))


def adopt(network: AnyNetwork, state: Mapping[str, Tensor], source: Network, name: str) -> None:
    """Load what another network of the same architecture has learned; of a detector, the levels that both have.

    Args:
        network: in place.
        state: of the other network's `net`.
        source: what the other network is.
        name: where it comes from, for an error.

    Raises:
        WeightsError: they do not fit.
    """
    if isinstance(network, Detector):
        assert source.detector is not None
        adopt_detector(network, state, source.detector, name, trained=False)
    else:
        adopt_weights(network.net, dict(state), source.network, network.spec.classes, name)


def load_trained(folder: Path, which: str = "last") -> AnyNetwork:
    """Build the network of a finished training as its card says, with its last or its best weights.

    Raises:
        WeightsError: no such file, or one that does not fit the card.
    """
    card = read_card(folder)
    network = Network(
        network=card.network, side=card.side, weights=str(weights_file(folder, which)), patch=card.patch, options=card.options,
        enlarge=card.enlarge, stem_stride=card.stem_stride, mean=card.mean, std=card.std, detector=card.detector,
    )  # fmt: skip
    return build_network(network, card.classes, trained=True)
