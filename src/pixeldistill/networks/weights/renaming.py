"""Conversion of the names in a foreign state dict to those of a network."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pixeldistill.display.text import in_words, shown
from pixeldistill.errors import WeightsError
from pixeldistill.networks.heads import natural_key

State = dict[str, Tensor]

COUNT = "num_batches_tracked"  # other libraries' batch norms do not save it, and nothing depends on it
_PREFIXES = (
    "_orig_mod.", "module.", "model.", "net.", "network.", "backbone.", "encoder.", "head.", "neck.",
    "timm_model.", "base_model.",
)  # fmt: skip
_PARTS_OF_QKV = re.compile(r"^(.*?)\.(query|q_proj|q|key|k_proj|k|value|v_proj|v)\.(weight|bias)$")
_SHORTCUT = re.compile(r"shortcut|downsample|skip")
_ALSO_SHORTCUT = re.compile(rf"{_SHORTCUT.pattern}|\.proj\.\d")  # torchvision's RegNets
_PREDICTION = re.compile(r"^(?:[a-z]+\.)?(classifier|fc|heads?|last_linear)\.")
_IN_ONE = re.compile(r"\.in_proj_(weight|bias)$")  # torch's own attention
_FIRST_NORM, _SECOND_NORM = "layernorm_before", "layernorm_after"  # their alphabetical order is wrong


def renamed(
    state: State, own: Mapping[str, Tensor], heads: Iterable[str], source: str, adapt: Callable[[State], State]
) -> tuple[State, list[str]]:
    """Return a state dict under the network's names.

    These are tried in turn: its names unchanged, one prefix before the names of the whole network, prefixes that wrappers add
    (of `torch.compile`, of several GPUs, of Lightning), another library's names, by order and shape.

    Args:
        state: names and tensors of a file.
        own: names and tensors of the network.
        heads: names of the network's prediction layers, which a file may lack.
        source: origin of the weights, named in errors.
        adapt: filter of the architecture's own library for foreign names.

    Returns:
        The state dict, with unknown names unchanged, and notes about the changes.
    """
    heads = set(heads)
    wanted = [key for key in own if key not in heads and not key.endswith(COUNT)]

    def known(found: State) -> int:
        return sum(key in found for key in wanted)

    adapted = adapt(state)
    if not wanted or known(adapted) == len(wanted):
        return adapted, []
    if (below := _below_a_prefix(state, wanted, source)) is not None:
        return below
    names = _stripped_names(state, own)
    stripped = {names[key]: value for key, value in state.items()}
    without = f"weights {source}: the prefixes of names left out (such as {shown(next(iter(state)))})"
    for found in (stripped, adapt(stripped)):
        if known(found) == len(wanted):
            trunk = {key.partition(".")[0] for key, name in names.items() if name in own}
            aside = {key for key in found if key not in own and key in state and key.partition(".")[0] not in trunk}
            rest = f"; {in_words(len(aside), 'tensor')} beside the network left out" if aside else ""
            return {key: value for key, value in found.items() if key not in aside}, [without + rest]
    if known(adapted) <= len(wanted) / 2 and (matched := by_order(state, own)) is not None:
        count = in_words(len(matched), "tensor")
        return matched, [f"weights {source}: the names are another library's; {count} matched by order and shape"]
    return (stripped, []) if known(stripped) > known(adapted) else (adapted, [])


def _below_a_prefix(state: State, wanted: Sequence[str], source: str) -> tuple[State, list[str]] | None:
    """Find the only prefix under which the file holds the whole network."""
    first = wanted[0]
    prefixes = [key.removesuffix(first) for key in state if key.endswith(f".{first}")]
    whole = [prefix for prefix in prefixes if all(prefix + key in state for key in wanted)]
    if len(whole) > 1:
        found = ", ".join(shown(prefix) for prefix in whole[:3])
        raise WeightsError(f"weights {source} hold the network more than once, below {found}: save the one that you mean")
    if not whole:
        return None
    prefix = whole[0]
    below = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    others = len(state) - len(below)
    rest = f"; {in_words(others, 'other tensor')} left out" if others else ""
    return below, [f"weights {source}: taken below {shown(prefix)}{rest}"]


def _stripped_names(state: State, own: Mapping[str, Tensor]) -> dict[str, str]:
    """Remove known prefixes from names, in any order, until the network has the name. Return each key's new name, each once."""
    names = {key: key for key in state}
    taken = {key for key in state if key in own}
    for key in state:
        name = key
        while name not in own and (prefix := next((p for p in _PREFIXES if name.startswith(p)), None)):
            name = name.removeprefix(prefix)
        if name in own and name not in taken:
            names[key] = name
            taken.add(name)
    return names


def by_order(state: State, own: Mapping[str, Tensor]) -> State | None:
    """Match another library's tensors with the network's: the first of a kind with the first of the same kind, and so on.

    Tensors of one kind share the last part of the name, the shape, the shape of the weight beside them, and whether they belong
    to a shortcut. Return None if the numbers of tensors differ for any kind.

    Source:
        Ours. Libraries number the layers of one architecture in the same order, with any names.
    """
    state = _fused(_in_order(state), own)
    ours = _by_kind(own, _SHORTCUT)
    for shortcut in (_SHORTCUT, _ALSO_SHORTCUT):
        theirs = _by_kind(state, shortcut)
        if {kind: len(keys) for kind, keys in theirs.items()} == {kind: len(keys) for kind, keys in ours.items()}:
            pairs = [pair for kind, keys in ours.items() for pair in zip(keys, theirs[kind], strict=True)]
            return {mine: state[other].reshape(own[mine].shape) for mine, other in pairs}
    return None


def _in_order(state: State) -> State:
    """Sort tensors by the numbers in their names, if they are not in the order of the layers.

    A network registers a layer's weight before its bias. Safetensors files are sorted by types and names, so the bias comes
    first. Without any bias, names in alphabetical order count as sorted by a file.
    """
    sorted_by_name = [*state] == sorted(state)
    place = {key: number for number, key in enumerate(state)}
    biases = [key for key in state if key.endswith(".bias") and f"{key.removesuffix('bias')}weight" in place]
    later = [place[key] > place[f"{key.removesuffix('bias')}weight"] for key in biases]
    state = {_IN_ONE.sub(r".qkv.\1", key): value for key, value in state.items()}
    if all(later) if biases else not sorted_by_name:
        return state
    return {key: state[key] for key in sorted(state, key=_by_number)}


def _by_number(key: str) -> tuple[bool, list[tuple[int, str]]]:
    """Return a key that sorts names by their numbers. The prediction layers come last, with any name."""
    return bool(_PREDICTION.match(key)), natural_key(_norms_in_order(key))


def _norms_in_order(key: str) -> str:
    return key.replace(_FIRST_NORM, "layernorm_1").replace(_SECOND_NORM, "layernorm_2")


def _by_kind(state: Mapping[str, Tensor], shortcut: re.Pattern[str]) -> dict[tuple[Any, ...], list[str]]:
    stages = {
        match[1] for key in state if (match := re.match(r"(.*)\.(?!downsample)[a-z_]+\.\d+\.", key))
    }  # their parts are numbered blocks
    found: dict[tuple[Any, ...], list[str]] = {}
    for key, value in state.items():
        parent, _, leaf = key.rpartition(".")
        if leaf == COUNT or key.endswith("relative_position_index"):
            continue
        beside = state.get(f"{parent}.weight")
        kind = leaf if leaf in ("weight", "bias", "running_mean", "running_var") else ""
        shape = tuple(n for n in value.shape if n != 1)
        at = tuple(n for n in beside.shape if n != 1) if beside is not None else ()
        beyond = shortcut.search(key)
        aside = beyond is not None and not (beyond[0] == "downsample" and key[: beyond.start() - 1] in stages)
        found.setdefault((kind, shape, at, aside), []).append(key)
    return found


def _fused(state: State, own: Mapping[str, Tensor]) -> State:
    """Join queries, keys and values if the network has them in one tensor."""
    if not any(".qkv." in key for key in own):
        return state
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for key in state:
        if match := _PARTS_OF_QKV.match(key):
            groups.setdefault((match[1], match[3]), {})[match[2][0]] = key
    found: State = {}
    for key, value in state.items():
        match = _PARTS_OF_QKV.match(key)
        parts = groups.get((match[1], match[3]), {}) if match else {}
        if match and len(parts) == len("qkv"):
            if match[2][0] == "q":
                found[f"{match[1]}.qkv.{match[3]}"] = torch.cat([state[parts[part]] for part in "qkv"])
        else:
            found[key] = value
    return found


def widened_stem(state: State, own: Mapping[str, Tensor], stem: str | None, source: str) -> tuple[State, list[str]]:
    """Widen a first convolution from one channel to three equal ones. It reads their mean, as for a grey image."""
    key = f"{stem}.weight"
    before, now = state.get(key), own.get(key)
    if before is None or now is None or before.ndim != now.ndim or before.shape[1:2] != (1,):
        return state, []
    if now.shape != (before.shape[0], 3, *before.shape[2:]):
        return state, []
    return state | {key: before.expand_as(now) / 3}, [
        f"weights {source}: the first convolution reads grey images: spread over RGB"
    ]
