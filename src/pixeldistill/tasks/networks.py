"""Networks as recipes and finished trainings describe them, whatever their task."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from pixeldistill.networks.adapter import Adapter
from pixeldistill.networks.weights.load import check_build, check_card, weights_file
from pixeldistill.recipe.card import read_card
from pixeldistill.recipe.network import Network
from pixeldistill.tasks import task_of
from pixeldistill.types import FeatureSpec


def build_network(network: Network, classes: tuple[str, ...], *, trained: bool, weights: str | None = None) -> Adapter:
    """Build the network that a recipe names, with its weights; see `Task.build`.

    Args:
        network: as the recipe says.
        classes: their names, compared with those of a former run.
        trained: the weights must know these classes already (a frozen teacher).
        weights: instead of the recipe's.
    """
    source = weights or str(network.weights)
    if trained:
        check_trained(network, classes, source)
    return task_of(network).build(network, classes, source, trained=trained)


def check_trained(network: Network, classes: tuple[str, ...] | None, weights: str | None = None) -> None:
    """Look, without building anything, whether a teacher's weights are those of a network such as the recipe names.

    Args:
        network: as the recipe says.
        classes: their names, where they are known.
        weights: instead of the recipe's.

    Raises:
        WeightsError: they are not there, or of another task, network, side, other classes, anchors or options.
    """
    source = weights or str(network.weights)
    task_of(network).check_trained(network, source)
    check_card(source, network.network, network.built_for, classes)
    check_build(source, network.options, network.stem_stride)


def build_fresh(network: Network, classes: int) -> Adapter:
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


def load_state(network: Adapter, state: Mapping[str, Tensor], source: Network, name: str) -> None:
    """Load what another network of the same architecture has learned; see `Task.load_state`."""
    task_of(source).load_state(network, state, source, name)


def load_trained(folder: Path, which: str = "last") -> Adapter:
    """Build the network of a finished training as its card says, with its last or its best weights.

    Raises:
        WeightsError: no such file, or one that does not fit the card.
    """
    card = read_card(folder)
    network = Network(
        network=card.network, image_size=card.image_size, weights=str(weights_file(folder, which)),
        patch_size=card.patch_size, options=card.options, enlarge=card.enlarge, stem_stride=card.stem_stride, mean=card.mean,
        std=card.std, detector=card.detector,
    )  # fmt: skip
    return build_network(network, card.classes, trained=True)
