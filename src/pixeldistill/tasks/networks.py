"""Building networks from recipes and finished trainings, for any task."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from pixeldistill.networks.adapter import Adapter
from pixeldistill.networks.weights.load import check_build, check_card, weights_file
from pixeldistill.recipe.card import read_card
from pixeldistill.recipe.network import Network, ShapeKey
from pixeldistill.tasks import task_of
from pixeldistill.types import FeatureSpec


def build_network(network: Network, classes: tuple[str, ...], *, trained: bool, weights: str | None = None) -> Adapter:
    """Build the network of a recipe with its weights. See `Task.build`.

    Args:
        network: the network in the recipe.
        classes: names of the classes, compared with those of a former run.
        trained: the weights must already know these classes (a frozen teacher).
        weights: weights to use instead of the recipe's.
    """
    source = weights or str(network.weights)
    if trained:
        check_trained(network, classes, source)
    return task_of(network).build(network, classes, source, trained=trained)


def check_trained(network: Network, classes: tuple[str, ...] | None, weights: str | None = None) -> None:
    """Check, without building anything, that a teacher's weights belong to the recipe's network.

    Args:
        network: the network in the recipe.
        classes: names of the classes, if they are known.
        weights: weights to use instead of the recipe's.

    Raises:
        WeightsError: they do not exist, or have another task, network, image size, other classes, anchors or options.
    """
    source = weights or str(network.weights)
    task_of(network).check_trained(network, source)
    check_card(source, network.network, network.built_for, classes)
    check_build(source, network.options, network.stem_stride)


def build_fresh(network: Network, classes: int) -> Adapter:
    """Build a network only for its shapes. Its weights are ignored."""
    names = tuple(str(i) for i in range(classes))
    return build_network(network.model_copy(update={"weights": "none"}), names, trained=False)


class Outline(NamedTuple):
    """Properties of a network that do not depend on its weights: the shapes of its maps, and the notes from building it."""

    spec: FeatureSpec
    notes: tuple[str, ...]


def outline(network: Network, classes: int) -> Outline:
    """Build a network once to find its shapes. Raises NetworkError."""
    return _outline(network.shape_key, classes)


@lru_cache(maxsize=256)
def _outline(key: ShapeKey, classes: int) -> Outline:
    built = build_fresh(key.network(), classes)
    return Outline(built.spec, tuple(built.notes))


def load_state(network: Adapter, state: Mapping[str, Tensor], source: Network, name: str) -> None:
    """Load the weights of another network of the same architecture. See `Task.load_state`."""
    task_of(source).load_state(network, state, source, name)


def load_trained(folder: Path, which: str = "last") -> Adapter:
    """Build the network of a finished training from its card, with its last or its best weights.

    Raises:
        WeightsError: the file does not exist, or does not fit the card.
    """
    card = read_card(folder)
    network = Network(
        network=card.network, image_size=card.image_size, weights=str(weights_file(folder, which)),
        patch_size=card.patch_size, options=card.options, enlarge=card.enlarge, stem_stride=card.stem_stride, mean=card.mean,
        std=card.std, detector=card.detector,
    ).of_task(card.task)  # fmt: skip
    return build_network(network, card.classes, trained=True)
