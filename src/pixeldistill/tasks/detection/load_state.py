"""Loading another detector's weights, level by level. The two pyramids may begin and end at different levels."""

import re
from collections.abc import Mapping

from torch import Tensor

from pixeldistill.errors import WeightsError
from pixeldistill.networks.weights.load import load_net_state
from pixeldistill.recipe.detector import DetectorSettings
from pixeldistill.storage.files import differences
from pixeldistill.tasks.detection.detector import Detector

_BACKBONE, _CLASSES = "backbone.", "head.classification_head.cls_logits"
_LATERAL = re.compile(r"^(fpn\.(?:inner|layer)_blocks\.)(\d+)(\..*)$")


def load_detector_state(
    detector: Detector, state: Mapping[str, Tensor], other: DetectorSettings, source: str, *, trained: bool
) -> None:
    """Load another detector's weights, in place. Layers are matched by their pyramid level.

    Args:
        detector: detector to load into.
        state: state dict of the other detector's `net`.
        other: settings of the other's pyramid and head.
        source: origin of the weights, named in errors.
        trained: whether all weights must be present, and no others. Otherwise levels that only one of the two has are left
            out, with the parts of the backbone that only they need.

    Raises:
        WeightsError: the weights do not fit.
    """
    own = detector.net.state_dict()
    levels, wanted_levels = other.levels, detector.built.levels
    before, after = ({"channels": s.channels, "depth": s.depth, **s.anchors} for s in (other, detector.built))
    if changes := list(differences(before, after)):
        raise WeightsError(f"weights {source} are of another detector: its {'; '.join(changes)}: give both the same")
    shift = _first_lateral(state, levels) - _first_lateral(own, wanted_levels)
    renamed = {_shifted(key, shift): value for key, value in state.items()}
    if trained and levels != wanted_levels:
        raise WeightsError(
            f"{source} has the levels P{levels[0]}–P{levels[1]}, not P{wanted_levels[0]}–P{wanted_levels[1]}: "
            "say its own as `detector: {levels: [...]}`"
        )
    backbone = {key.removeprefix(_BACKBONE): value for key, value in renamed.items() if key.startswith(_BACKBONE)}
    if not trained:
        backbone = {key: value for key, value in backbone.items() if _BACKBONE + key in own}
    load_net_state(detector.backbone, backbone, "its backbone", 0, source, trained=True)
    rest = {key: value for key, value in renamed.items() if not key.startswith(_BACKBONE)}
    wanted = [key for key in own if not key.startswith(_BACKBONE)]
    wrong = [key for key in wanted if key in rest and rest[key].shape != own[key].shape]
    if not trained and wrong and all(key.startswith(_CLASSES) for key in wrong):  # other classes: that layer stays fresh
        rest = {key: value for key, value in rest.items() if not key.startswith(_CLASSES)}
        wanted, wrong = [key for key in wanted if not key.startswith(_CLASSES)], []
    missing = [key for key in wanted if key not in rest and (trained or not _of_a_level(key))]
    if wrong or missing:
        detail = f"{(wrong or missing)[0]} is {'of another shape' if wrong else 'missing'}"
        raise WeightsError(f"weights {source} do not fit this detector ({detail})")
    detector.net.load_state_dict({key: rest[key] for key in wanted if key in rest}, strict=False)


def _first_lateral(state: Mapping[str, Tensor], levels: tuple[int, int]) -> int:
    """Return the level of a pyramid's first lateral layer. For a pyramid beyond the backbone's last map, it is that map's."""
    coarse = [int(key.split(".")[3]) for key in state if key.startswith("fpn.extra_blocks.levels.")]
    laterals = {match[2] for key in state if (match := _LATERAL.match(key))}
    return (min(coarse) if coarse else levels[1] + 1) - len(laterals)


def _shifted(key: str, shift: int) -> str:
    match = _LATERAL.match(key)
    return f"{match[1]}{int(match[2]) + shift}{match[3]}" if match else key


def _of_a_level(key: str) -> bool:
    return key.startswith(("fpn.", "simple."))
